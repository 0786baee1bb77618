"""The typical messages by name; `messages/NAME.json` holds each as it is sent to Slack.

After an intended change of a text: `python -m tests.integrations.slack.cases` writes the files again, and the
diff shows what changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from receiver.engine.notification import IncidentNotification
from receiver.integrations.slack.blocks import FormattingLevel
from receiver.integrations.slack.incident_message import render_message
from receiver.model.routing import NO_POLICY
from tests.builders import (
    OPENED_AT,
    a_delivery,
    a_notification,
    a_post,
    a_reply,
    an_alert,
    an_excerpt,
    an_incident,
    an_update,
    some_links,
)

FOLDER = Path(__file__).parent / "messages"
EACH_FIRING = tuple(an_alert(instance=f"web-{n}:9100") for n in range(1, 4))
ONE_RESOLVED = (*EACH_FIRING[:2], an_alert(instance="web-3:9100", ends_at=OPENED_AT + 30))
PAGED = {"page:on-call": a_delivery(at=OPENED_AT + 1)}


def firing() -> IncidentNotification:
    description = "The CPU of web-1 is busy.\n\nRequests <slow> & queue up."
    alert = an_alert(
        labels={"job": "node", "team": "web"},
        annotations={"summary": "CPU above 90 %", "description": description},
    )
    incident = an_incident(alert, id="the-incident")
    return a_notification(incident, excerpt=an_excerpt(), links=some_links(incident))


def several_firing() -> IncidentNotification:
    incident = an_incident(*ONE_RESOLVED, id="the-incident", deliveries=PAGED)
    return a_notification(incident, an_update(), links=some_links(incident))


def acknowledged() -> IncidentNotification:
    incident = an_incident(*ONE_RESOLVED, id="the-incident", deliveries=PAGED, acknowledged_by="alice")
    return a_notification(incident, an_update())


def resolved() -> IncidentNotification:
    over = (an_alert(instance=f"web-{n}:9100", ends_at=OPENED_AT + 240) for n in range(1, 3))
    incident = an_incident(*over, id="the-incident", deliveries=PAGED, resolved_at=OPENED_AT + 300)
    return a_notification(incident, an_update(), excerpt=an_excerpt(), links=some_links(incident))


def resolved_by_hand() -> IncidentNotification:
    incident = an_incident(*EACH_FIRING, id="the-incident", deliveries=PAGED, resolved_by="bob")
    return a_notification(incident, an_update())


def simulated_pages() -> IncidentNotification:
    deliveries = {
        "page:on-call": a_delivery(simulated=True),
        "page:team-lead": a_delivery(at=OPENED_AT + 300, received=False, reason="rate_limited"),
    }
    incident = an_incident(id="the-incident", deliveries=deliveries)
    return a_notification(incident, an_update(), now=OPENED_AT + 301)


def no_severity_no_page() -> IncidentNotification:
    alert = an_alert("", severity="sev9", annotations={}, generator_url="")
    return a_notification(
        an_incident(alert, id="the-incident", channel="#alerts-info"),
        a_post("#alerts-info"),
        policy=NO_POLICY,
    )


MESSAGES: dict[str, Callable[[], IncidentNotification]] = {
    case.__name__: case
    for case in (
        firing,
        several_firing,
        acknowledged,
        resolved,
        resolved_by_hand,
        simulated_pages,
        no_severity_no_page,
    )
}
LOWER: dict[str, tuple[Callable[[], IncidentNotification], FormattingLevel]] = {
    "several_firing.compact": (several_firing, FormattingLevel.COMPACT),
    "several_firing.plain": (several_firing, FormattingLevel.PLAIN),
}


def joined() -> IncidentNotification:
    fingerprints = [alert.fingerprint for alert in EACH_FIRING[1:]]
    return a_notification(an_incident(*EACH_FIRING), a_reply("joined", fingerprints=fingerprints))


def rendered(name: str) -> dict[str, Any]:
    """Return the message of a case as it would be sent to Slack."""
    if name == "reply_joined":
        message = render_message(joined())
    elif name in LOWER:
        case, level = LOWER[name]
        message = render_message(case(), level)
    else:
        message = render_message(MESSAGES[name]())
    return {"text": message.text, "blocks": list(message.blocks)}


NAMES = (*MESSAGES, *LOWER, "reply_joined")


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in NAMES:
        text = json.dumps(rendered(name), ensure_ascii=False, sort_keys=True, indent=1)
        (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
