"""Alert storms: many new incidents bundled into one message or one page."""
