"""Redis: connections, keys and Lua scripts; no business rules."""
