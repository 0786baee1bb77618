"""Reviews: the summary of a route's incidents at the next business day."""
