"""Alert storms: many incidents bundled into one message and one page."""
