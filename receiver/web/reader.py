"""Who it is that answers on the page."""

from __future__ import annotations

from flask import request

from receiver.text import one_line
from receiver.web.questions import Answer

VIA = "page"
_MAX_NAME = 80


def name_reader() -> str:
    """Return the name a browser signed in with."""
    auth = request.authorization
    name = auth.username if auth and auth.type == "basic" else ""
    return one_line(name or "", _MAX_NAME) or "somebody on the page"


def answer_of_reader() -> Answer:
    """Return the answer's signature."""
    return Answer(by=name_reader(), via=VIA)
