"""How a message is known: by its channel's ID and its timestamp, in one text."""

from __future__ import annotations

import re
from dataclasses import dataclass

_REFERENCE = re.compile(r"(?P<channel>[A-Z][A-Z0-9]+):(?P<ts>\d+\.\d+)")
_CHANNEL_ID = re.compile(r"[CGD](?=[A-Z]*\d)[A-Z0-9]{7,20}")


@dataclass(frozen=True)
class Reference:
    """A message in Slack: `C024BE91L:1503435956.000247`."""

    channel: str
    ts: str

    def __str__(self) -> str:
        return f"{self.channel}:{self.ts}"


def parse_reference(text: str) -> Reference | None:
    """Return the reference in *text*; None where it is none of Slack's (a simulated one)."""
    found = _REFERENCE.fullmatch(text)
    return Reference(found["channel"], found["ts"]) if found else None


def is_channel_id(address: str) -> bool:
    """Tell whether *address* is a channel's ID rather than its name."""
    return _CHANNEL_ID.fullmatch(address) is not None


def permalink(team_url: str, reference: Reference, thread_ts: str = "") -> str:
    """Return where a person sees the message; empty where the team's address is not known."""
    if not team_url:
        return ""
    url = f"{team_url.rstrip('/')}/archives/{reference.channel}/p{reference.ts.replace('.', '')}"
    return f"{url}?thread_ts={thread_ts}&cid={reference.channel}" if thread_ts else url
