"""What a message says while maintenance keeps everybody from being paged."""

from __future__ import annotations

from receiver.channels.slack.mrkdwn import moment
from receiver.domain.escalation import Progress
from receiver.domain.incident import Incident
from receiver.domain.messages import is_paused


def render_maintenance(incident: Incident, progress: Progress) -> str:
    """Return until when nobody is paged; empty where nobody would be."""
    if not is_paused(incident, progress):
        return ""
    return f"🔧 Maintenance until {moment(progress.paused_until)}: nobody is paged"
