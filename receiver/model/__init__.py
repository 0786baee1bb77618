"""The incident model: pure functions and values, without I/O, clock or logging."""
