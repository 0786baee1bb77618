"""What a message says while maintenance keeps everybody from being paged."""

from __future__ import annotations

from receiver.channels.slack.mrkdwn import format_timestamp
from receiver.model.escalation import EscalationState
from receiver.model.incident import Incident
from receiver.model.messages import is_in_maintenance


def render_maintenance(incident: Incident, escalation: EscalationState) -> str:
    """Return until when nobody is paged; empty where nobody would be."""
    if not is_in_maintenance(incident, escalation):
        return ""
    return f"🔧 Maintenance until {format_timestamp(escalation.paused_until)}: nobody is paged"
