"""Whom a message calls: responders by their Slack address, and whoever is on call for them."""

from __future__ import annotations

import re

from receiver.channels.slack.mrkdwn import disable_mentions, escape_line, format_timestamp
from receiver.channels.slack.people import MAX_BY, is_user
from receiver.model.incident import OnCallPerson

_MAX_ON_CALL = 5
_USERGROUP = re.compile(r"S(?=[A-Z]*\d)[A-Z0-9]{3,20}")


def mention(address: str) -> str:
    """Return a Slack address as it is mentioned: a name as @name, an ID as the token Slack knows."""
    name = address.strip("<@!> ").removeprefix("subteam^").lstrip("@")
    if is_user(name):
        return f"<@{name}>"
    if _USERGROUP.fullmatch(name):
        return f"<!subteam^{name}>"
    return f"@{escape_line(name, 80)}" if name else ""


def mention_on_call(people: tuple[OnCallPerson, ...]) -> str:
    """Return who stands for the responder: mentioned where Slack knows them, else by name."""
    names = [
        f"<@{person.slack_id}>"
        if is_user(person.slack_id)
        else disable_mentions(escape_line(person.name, MAX_BY))
        for person in people[:_MAX_ON_CALL]
    ]
    as_of = max((person.as_of for person in people), default=0.0)
    return ", ".join(names) + (f" (on call as of {format_timestamp(as_of)})" if as_of else "")
