"""The page of what is on fire now."""

from __future__ import annotations

from flask import Blueprint, render_template, request, url_for
from msgspec.structs import asdict

from receiver.web.board import BoardQuery, build_board
from receiver.web.questions import read_query
from receiver.web.status import list_heartbeats
from receiver.web.troubles import find_troubles
from receiver.wiring import Parts


def add_now(pages: Blueprint, parts: Parts) -> None:
    """Add the page to the blueprint."""

    @pages.get("/")
    def now() -> str:
        """Show what is open, most urgent first; a look by script gets the living part alone."""
        asked = read_query(BoardQuery, request.args)
        board = build_board(parts, asked)

        def turn(page: int) -> str:
            return url_for("pages.now", **{**{k: v for k, v in asdict(asked).items() if v}, "page": page})

        return render_template(
            "now.html",
            asked=asked,
            board=board,
            routes=[route.name for route in parts.routing.routes],
            troubles=find_troubles(parts),
            heartbeats=list_heartbeats(parts),
            turn=turn,
        )
