"""Alerts that come, repeat and go, posted as Alertmanager does: again after a 5xx, each group in order."""

from __future__ import annotations

import http.client
import json
import random
import re
import threading
import time
from urllib.parse import urlsplit

TEAMS = 20
THREADS = 8
CRITICAL_SHARE = 0.1
# Of a hundred webhooks so many open something, as many resolve something, the rest repeats.
TURNOVER_SHARE = 0.02
PAGED_AFTER_S = 10.0
AGAIN_AFTER_S = 0.5
# So that nothing waits for the limits of Slack and PagerDuty.
UNLIMITED = "limits: {slack_posts: 10000/s, slack_updates: 10000/s, pagerduty: 10000/s}"
_NAME = re.compile(r"\bsoak-\d+-\d+\b")


def build_routing() -> str:
    """Return a routing.yaml with a channel for each team, quick steps and limits that don't bind."""
    routes = "\n".join(
        f'  - {{match: [\'team="{team}"\', \'severity="critical"\'], channel: "#team-{team}", '
        f'escalation: critical}}\n  - {{match: [\'team="{team}"\'], channel: "#team-{team}"}}'
        for team in range(TEAMS)
    )
    after = f"{PAGED_AFTER_S:g}s"
    return f"""
version: 1
responders:
  on-call:   {{pagerduty: {{routing_key: "${{PAGERDUTY_ONCALL_KEY}}"}}}}
  team-lead: {{pagerduty: {{routing_key: "${{PAGERDUTY_TEAM_LEAD_KEY}}"}}}}
escalations:
  critical: [{{notify: on-call}}, {{notify: team-lead, after: {after}}}]
{UNLIMITED}
history: 1m
flap_window: 10s
routes:
{routes}
  - {{match: [], channel: "#team-0"}}
"""


class Traffic:
    """Keeps *live* incidents open and posts *rate* webhooks a second."""

    def __init__(self, address: str, rate: float, live: int, seed: int) -> None:
        self._address = address
        self._rate = rate
        self._shards = [_Shard(n, address, live // THREADS, seed) for n in range(THREADS)]

    def open_all(self) -> None:
        self._each(lambda shard: [shard.opens() for _ in range(shard.size)])

    def run(self, stopped: threading.Event) -> None:
        """Post until *stopped*, at the rate; what a fault held up is made up for."""
        self._each(lambda shard: shard.runs(self._rate / THREADS, stopped))

    def _each(self, does: object) -> None:
        threads = [threading.Thread(target=does, args=(shard,)) for shard in self._shards]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _sum(self, name: str) -> int:
        return sum(getattr(shard, name) for shard in self._shards)

    @property
    def posted(self) -> int:
        return self._sum("posted")

    @property
    def refused(self) -> int:
        return self._sum("refused")

    @property
    def opened(self) -> int:
        return self._sum("opened")

    @property
    def ended(self) -> int:
        return self._sum("ended")

    @property
    def waits(self) -> list[float]:
        return [wait for shard in self._shards for wait in shard.waits]

    @property
    def live(self) -> set[str]:
        return {name for shard in self._shards for name in shard.live}

    @property
    def ever(self) -> set[str]:
        return {name for shard in self._shards for name in shard.ever}

    @staticmethod
    def find_names(words: str) -> set[str]:
        """Return the alerts that a message names."""
        return set(_NAME.findall(words))

    def ask_open(self) -> set[str]:
        """Return the alerts whose incidents the receiver says are open."""
        line = http.client.HTTPConnection(urlsplit(self._address).netloc, timeout=30)
        names: set[str] = set()
        cursor = ""
        while True:
            line.request("GET", f"/api/v1/incidents?state=open&limit=200{cursor}")
            answer = json.loads(line.getresponse().read())
            names.update(row["group_labels"]["alertname"] for row in answer["incidents"])
            if not answer["next_cursor"]:
                return names
            cursor = f"&cursor={answer['next_cursor']}"


class _Shard:
    """The groups of one thread; their webhooks go one after the other."""

    def __init__(self, number: int, address: str, size: int, seed: int) -> None:
        self.size = size
        self.live: dict[str, dict[str, object]] = {}
        self.ever: set[str] = set()
        self.waits: list[float] = []
        self.posted = self.refused = self.opened = self.ended = 0
        self._number = number
        self._random = random.Random(f"{seed}/{number}")
        self._netloc = urlsplit(address).netloc
        self._line: http.client.HTTPConnection | None = None

    def runs(self, rate: float, stopped: threading.Event) -> None:
        next_at = time.monotonic()
        while not stopped.is_set():
            next_at += 1 / rate
            time.sleep(max(0.0, next_at - time.monotonic()))
            dice = self._random.random()
            if dice < TURNOVER_SHARE:
                self.opens()
            elif dice < 2 * TURNOVER_SHARE and len(self.live) >= self.size:
                self.ends(next(iter(self.live)))  # the oldest
            else:
                self._post(self._random.choice(list(self.live.values())))

    def opens(self) -> None:
        name = f"soak-{self._number}-{len(self.ever)}"
        severity = "critical" if self._random.random() < CRITICAL_SHARE else "warning"
        team = str(self._random.randrange(TEAMS))
        alert = _alert({"alertname": name, "severity": severity, "team": team})
        self.ever.add(name)
        self.live[name] = alert
        self.opened += 1
        self._post(alert)

    def ends(self, name: str) -> None:
        alert = self.live.pop(name)
        self.ended += 1
        self._post({**alert, "status": "resolved", "endsAt": _now()})

    def _post(self, alert: dict[str, object]) -> None:
        """Post one alert's group until it is taken."""
        body = json.dumps(_group(alert))
        while True:
            begun = time.monotonic()
            if self._is_taken(body):
                self.waits.append(time.monotonic() - begun)
                self.posted += 1
                return
            self.refused += 1
            time.sleep(AGAIN_AFTER_S)

    def _is_taken(self, body: str) -> bool:
        try:
            if self._line is None:
                self._line = http.client.HTTPConnection(self._netloc, timeout=10)
            self._line.request("POST", "/webhooks/alertmanager", body, {"Content-Type": "application/json"})
            answer = self._line.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self._line = None
            return False
        return answer.status == 200


def _alert(labels: dict[str, str]) -> dict[str, object]:
    return {
        "status": "firing",
        "labels": labels,
        "annotations": {"summary": f"{labels['alertname']} is bad"},
        "startsAt": _now(),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph?g0.expr=up",
    }


def _group(alert: dict[str, object]) -> dict[str, object]:
    labels = alert["labels"]
    assert isinstance(labels, dict)
    name = labels["alertname"]
    return {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{name}"}}',
        "truncatedAlerts": 0,
        "receiver": "soak",
        "status": alert["status"],
        "alerts": [alert],
        "groupLabels": {"alertname": name},
        "commonLabels": labels,
        "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
    }


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
