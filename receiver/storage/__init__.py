"""Redis: connections, keys and scripts; no business rule."""
