"""People in messages: by name, and as a mention where that pings nobody."""

from __future__ import annotations

import re

from receiver.channels.slack.mrkdwn import escape_line

MAX_BY = 40
_USER = re.compile(r"[UW](?=[A-Z]*\d)[A-Z0-9]{3,20}")


def is_user(name: str) -> bool:
    """Tell whether *name* is the ID of a Slack user."""
    return _USER.fullmatch(name) is not None


def render_person(name: str, slack_id: str = "", *, is_edit: bool = False) -> str:
    """Return who did something: by name, or as a link to their profile in an edit.

    An edit notifies nobody; anything newly posted would, so there it is the bare name.
    """
    return f"<@{slack_id}>" if is_edit and is_user(slack_id) else escape_line(name, MAX_BY)
