"""The page of what is on fire now."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from receiver.web.board import BoardQuery, build_board
from receiver.web.maintenance import show_maintenance
from receiver.web.misaddressed import find_hook_url
from receiver.web.questions import read_query
from receiver.web.relative import url_for
from receiver.web.stamp import answer_living
from receiver.web.status import list_heartbeats
from receiver.web.troubles import find_troubles
from receiver.web.webhook_rows import list_webhooks
from receiver.wiring import Parts


def add_now(pages: Blueprint, parts: Parts) -> None:
    """Add the page to the blueprint."""

    @pages.get("/")
    def now() -> Response:
        """Show what is open, most urgent first."""
        asked = read_query(BoardQuery, request.args)
        board, counts = build_board(parts, asked)
        troubles, heartbeats = find_troubles(parts, counts.stale, counts.alarms), list_heartbeats(parts)
        maintenance, webhooks = show_maintenance(parts), list_webhooks(parts)
        answer = answer_living(
            "now.html",
            # When the last webhook came changes all the time: a header says it to who has the page.
            (
                replace(board, at=""),
                counts,
                troubles,
                heartbeats,
                maintenance,
                [row.source for row in webhooks],
            ),
            asked=asked,
            board=board,
            counts=counts,
            routes=[route.name for route in parts.routing.routes],
            troubles=troubles,
            heartbeats=heartbeats,
            maintenance=maintenance,
            zone=parts.routing.zone,
            webhooks=webhooks,
            hook_url=find_hook_url(parts.settings.public_url),
            has_hook_token=bool(parts.settings.webhook_tokens),
            back=f"now?{urlencode(asked.list_fields())}",
            turn=lambda page: url_for("pages.now", **asked.list_fields(page)),
        )
        answer.headers["X-Receiver-Webhooks"] = ",".join(row.at for row in webhooks)
        return answer
