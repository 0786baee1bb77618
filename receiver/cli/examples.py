"""The examples at the end of a command's `--help`."""

from __future__ import annotations


def show_examples(*lines: str) -> str:
    """Return an epilog for click that keeps each line as it is."""
    title = "Example:" if len(lines) == 1 else "Examples:"
    return "\n".join(["\b", title, *(f"  {line}" for line in lines)])
