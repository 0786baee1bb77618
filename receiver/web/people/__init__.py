"""Who comes to the pages and the API, by which way, and what they may do. `doors` asks them."""
