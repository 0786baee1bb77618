"""Who it is that answers on the page."""

from __future__ import annotations

from receiver.web.people.visitor import find_visitor
from receiver.web.questions import Answer

VIA = "page"


def name_reader() -> str:
    """Return the name that a browser signed in with."""
    visitor = find_visitor()
    return (visitor.name if visitor is not None else "") or "somebody on the page"


def answer_of_reader() -> Answer:
    """Return the answer's signature."""
    return Answer(by=name_reader(), via=VIA)
