"""The whole receiver in one thread: real Valkey, mock Slack and PagerDuty, and a clock that the test sets.

    rig.fires("DiskFull", severity="critical")
    assert rig.paged() == ["on-call"]
    rig.passes("5m")
    assert rig.paged() == ["on-call", "team-lead"]

Each webhook is processed at once. `rig.posts(...)` only posts it; `rig.works()` lets the worker process
everything that is due.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from receiver.app.channels import list_threads
from receiver.app.services import Services, build_services
from receiver.app.worker import build_reconcilers
from receiver.clock import parse_duration
from receiver.config.model import Routing
from receiver.config.routing_loader import load_routing
from receiver.config.settings import Settings, load_settings
from receiver.engine.reconcilers import Reconcilers
from receiver.integrations.pagerduty.routing_keys import RoutingKeys
from receiver.model.alert import fingerprint
from receiver.storage.keys import Keys
from receiver.storms.service import MAX_INITIAL_WAIT_S
from receiver.web.app import create_app
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack
from tests.mocks.slack_workspace import SlackMessage
from tests.script_clocks import SHARED_CLOCK

QUEUES = tuple(list_threads())
START = 1_795_435_200.0  # 2026-11-23 12:00:00 UTC, a Monday

KEYS = {
    "PAGERDUTY_ONCALL_KEY": "0" * 31 + "a",
    "PAGERDUTY_TEAM_LEAD_KEY": "0" * 31 + "b",
    "PAGERDUTY_MANAGER_KEY": "0" * 31 + "c",
}
NAMES = dict(zip(KEYS.values(), ("on-call", "team-lead", "manager"), strict=True))

ROUTING = """
version: 1
runbooks: [runbooks/]
slack: {token: "${SLACK_BOT_TOKEN}"}
responders:
  on-call:   {pagerduty: {routing_key: "${PAGERDUTY_ONCALL_KEY}"}}
  team-lead: {slack: "@team-lead", pagerduty: {routing_key: "${PAGERDUTY_TEAM_LEAD_KEY}"}}
  manager:   {slack: "@manager",   pagerduty: {routing_key: "${PAGERDUTY_MANAGER_KEY}"}}
escalations:
  critical: [{notify: on-call}, {notify: team-lead, after: 5m}, {notify: manager, after: 5m}]
  warning:  [{notify: on-call}, {notify: team-lead, after: 30m}]
routes:
  - {match: ['severity="critical"'], channel: "#alerts-critical", escalation: critical}
  - {match: ['severity="warning"'],  channel: "#alerts-warning",  escalation: warning}
  - {match: [],                      channel: "#alerts-info"}
"""

# The clock stands still while work is processed, so a rate limit would delay everything above its burst.
# Tests that are not about rate limits therefore switch them off.
UNLIMITED = "\nlimits: {slack_posts: 10000/s, slack_updates: 10000/s, pagerduty: 10000/s}\n"


class Clock:
    """A clock that stands still until the test sets it."""

    def __init__(self, moment: float = START) -> None:
        self.moment = moment

    def __call__(self) -> float:
        return self.moment


class Rig:
    """The receiver, the mock vendors and the clock."""

    def __init__(
        self,
        folder: Path,
        valkey_url: str,
        slack: MockSlack,
        pagerduty: MockPagerDuty,
        clock: Clock,
        **environ: str,
    ) -> None:
        self.folder = folder
        self.slack = slack
        self.pagerduty = pagerduty
        self.clock = clock
        self.storms_after_s = MAX_INITIAL_WAIT_S
        self.keys = RoutingKeys()  # a worker keeps them until it ends
        (folder / "runbooks").mkdir(exist_ok=True)
        self.environ = {
            "REDIS_URL": valkey_url,
            "SLACK_BOT_TOKEN": "xoxb-test",
            "SLACK_API_URL": slack.url,
            "PAGERDUTY_EVENTS_URL": pagerduty.url,
            **KEYS,
            **environ,
        }
        self.configure(ROUTING)

    # --- the receiver ---

    def configure(self, text: str) -> None:
        """Apply another routing.yaml, as after SIGHUP; without `limits` there are no rate limits."""
        (self.folder / "routing.yaml").write_text(text if "limits:" in text else text + UNLIMITED)
        settings: Settings = load_settings(self.environ)
        routing: Routing = load_routing(self.folder / "routing.yaml", self.environ)
        self.services: Services = build_services(
            settings, routing, self.clock, script_clock=SHARED_CLOCK, storms_after_s=self.storms_after_s
        )
        self._web_services = self.services
        self.__dict__.pop("client", None)
        self.reconcilers: Reconcilers = build_reconcilers(self.services, keys=self.keys)

    @functools.cached_property
    def client(self) -> FlaskClient:
        """A client of the application with the last configuration; tests may give a worker other services."""
        return create_app(self._web_services, rate_limits=None).test_client()

    def works(self, queues: tuple[str, ...] = QUEUES) -> float | None:
        """Let the worker process everything that is due in *queues*; return when the next entry is due."""
        for _ in range(1000):
            due_times = self._find_dues(queues)
            was_idle = True
            for queue in queues:
                if due_times[queue] > self.clock():
                    continue
                for incident_id in self.services.work_queue.claim(queue, "rig", self.clock(), 1).entries:
                    was_idle = False
                    dues = self.reconcilers.reconcile(incident_id, queue, "rig")
                    self.services.work_queue.release(queue, "rig", incident_id, dues)
            if was_idle:
                due = min(due_times.values(), default=math.inf)
                return due if due < math.inf else None
        raise AssertionError("the work queue never becomes idle")

    def _find_dues(self, queues: tuple[str, ...]) -> dict[str, float]:
        """Return the next due time of each queue in one round trip; claiming would take one per queue."""
        work_queue, now = self.services.work_queue, self.clock()
        texts = work_queue._scripts.run_each(
            [work_queue._build_next_due_call(Keys(0), queue, now) for queue in queues]
        )
        return {
            queue: work_queue._script_clock.parse_time(text, now) if text else math.inf
            for queue, text in zip(queues, texts, strict=True)
        }

    def passes(self, duration: str, *, every: str = "0") -> None:
        """Advance the clock, processing each queue entry when it is due.

        *every* is the shortest interval between two runs of the worker: for long times with only periodic
        tasks, or with a storm, which is checked every second.
        """
        end, pause = self.clock() + parse_duration(duration), max(parse_duration(every), 0.001)
        while True:
            due = self.works()
            if due is None or max(self.clock() + pause, due) > end:
                break
            self.clock.moment = max(self.clock.moment + pause, due)
        self.clock.moment = end
        self.works()

    # --- Alertmanager ---

    def posts(
        self, *alerts: dict[str, Any], group: Mapping[str, str] | None = None, **fields: Any
    ) -> dict[str, Any]:
        """Post alerts as one group; return the receiver's response."""
        source = fields.pop("source", "")
        answer = self.client.post(
            "/webhooks/alertmanager" + (f"?source={source}" if source else ""),
            json=self.payload(*alerts, group=group, **fields),
        )
        assert answer.status_code == 200, answer.text
        return dict(answer.json)

    def payload(
        self, *alerts: dict[str, Any], group: Mapping[str, str] | None = None, **fields: Any
    ) -> dict[str, Any]:
        """Return a webhook body as Alertmanager posts it."""
        labels = (
            {"alertname": alerts[0]["labels"]["alertname"]} if group is None and alerts else dict(group or {})
        )
        key = "{}:{" + ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items())) + "}"
        is_firing = any(alert["status"] == "firing" for alert in alerts)
        return {
            "version": "4",
            "groupKey": key,
            "truncatedAlerts": 0,
            "receiver": "slack-and-pagerduty",
            "status": "firing" if is_firing else "resolved",
            "alerts": list(alerts),
            "groupLabels": labels,
            "commonLabels": {},
            "commonAnnotations": {},
            "externalURL": "http://alertmanager-1:9093",
            **fields,
        }

    def alert(
        self,
        name: str,
        severity: str = "critical",
        *,
        at: float | None = None,
        ended: bool = False,
        **labels: str,
    ) -> dict[str, Any]:
        """Return one alert in the form of a webhook payload; *at* is when it started."""
        everything = {"alertname": name, "severity": severity, **labels}
        return {
            "status": "resolved" if ended else "firing",
            "labels": everything,
            "annotations": {"summary": f"{name} is bad"},
            "startsAt": _rfc3339(self.clock() if at is None else at),
            "endsAt": _rfc3339(self.clock()) if ended else "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus:9090/graph?g0.expr=up",
            "fingerprint": fingerprint(everything),
        }

    def fires(self, name: str, severity: str = "critical", **labels: str) -> str:
        """Fire one alert in a group of its own name, let the worker process it, and return the incident's ID."""
        answer = self.posts(self.alert(name, severity, **labels))
        self.works()
        return str(answer["incidents"][0])

    def ends(self, name: str, severity: str = "critical", **labels: str) -> dict[str, Any]:
        """Resolve that alert and let the worker process it."""
        answer = self.posts(self.alert(name, severity, ended=True, at=self.clock() - 1, **labels))
        self.works()
        return answer

    # --- people and API clients ---

    def answers(self, incident_id: str, answer: str, by: str = "alice") -> dict[str, Any]:
        """Acknowledge, unacknowledge or resolve over the API, and let the worker process it."""
        reply = self.client.post(f"/api/v1/incidents/{incident_id}/{answer}", json={"by": by})
        assert reply.status_code == 200, reply.text
        self.works()
        return dict(reply.json)

    def submits(self, path: str, *, auth: tuple[str, str] | None = None, **fields: str) -> TestResponse:
        """Submit a form of the dashboard as a browser does, with the page's CSRF token."""
        token = re.search(r'name="csrf_token" value="([0-9a-f]+)"', self.client.get("/").text)
        assert token is not None
        answer = self.client.post(path, data={"csrf_token": token[1], **fields}, auth=auth)
        self.works()
        return answer

    def shows(self, incident_id: str) -> dict[str, Any]:
        reply = self.client.get(f"/api/v1/incidents/{incident_id}")
        assert reply.status_code == 200, reply.text
        return dict(reply.json)

    def state(self, incident_id: str) -> str:
        return str(self.shows(incident_id)["state"])

    # --- results ---

    def parents(self) -> list[SlackMessage]:
        """Return the Slack messages that are not replies, in their current version."""
        return self.slack.parents

    def replies(self) -> list[str]:
        """Return the texts of all thread replies, in order."""
        return [reply.words for reply in self.slack.replies()]

    def visible_output(self) -> tuple[object, object]:
        """Return everything that is visible in Slack and PagerDuty, to check that nothing changed there."""
        return [(m.words, m.edits) for m in self.slack.messages], [e.body for e in self.pagerduty.events]

    def refuses(self, responder: str) -> None:
        """Let PagerDuty refuse the responder's routing key from now on."""
        self.pagerduty.routing_keys = [key for key, name in NAMES.items() if name != responder]

    def paged(self) -> list[str]:
        """Return the responders whom PagerDuty paged, in order: once for each incident it opened."""
        return [NAMES[incident.routing_key] for incident in self.pagerduty.opened()]

    def triggered(self) -> list[str]:
        """Return the responders of all trigger events, also of those that joined an open incident."""
        return [NAMES[event.routing_key] for event in self.pagerduty.triggers()]

    def events(self, responder: str = "on-call") -> list[str]:
        """Return the actions of the events PagerDuty received for a responder, in order."""
        return [e.action for e in self.pagerduty.events if NAMES[e.routing_key] == responder]


def _rfc3339(moment: float) -> str:
    return dt.datetime.fromtimestamp(moment, dt.UTC).isoformat().replace("+00:00", "Z")
