"""Helpers of the stories about deliveries that fail."""

from __future__ import annotations

from typing import Any

from tests.mocks.slack_workspace import SlackMessage
from tests.rig import ROUTING, Rig

_LINES = {
    "critical": 'channel: "#alerts-critical", escalation: critical',
    "warning": 'channel: "#alerts-warning",  escalation: warning',
    "info": 'channel: "#alerts-info"',
}
NOTICES = 'notices: {channel: "#monitoring"}\n'


def with_fallback(fallback: str, *, of: str = "critical") -> str:
    """Return the routing with a fallback on one route."""
    line = _LINES[of]
    assert line in ROUTING
    return ROUTING.replace(line, f'{line}, fallback: "{fallback}"')


def in_channel(rig: Rig, channel: str) -> list[SlackMessage]:
    """Return the messages in a channel that are not replies."""
    return [message for message in rig.parents() if message.channel == channel]


def custom_details(rig: Rig, n: int = 0) -> dict[str, Any]:
    """Return the custom details of the n-th event that PagerDuty accepted."""
    return dict(rig.pagerduty.events[n].body["payload"]["custom_details"])
