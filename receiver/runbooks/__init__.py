"""Markdown runbooks: found on disk, parsed, and cut to what a message can hold."""
