"""Alerts posted as Alertmanager does it: again after 503, until they are taken."""

from __future__ import annotations

from typing import Any

from tests.e2e.outside import Outside
from tests.redis_servers import wait_until

Body = dict[str, Any]


def post(outside: Outside, alerts: Body) -> tuple[int, dict[str, Any]]:
    return outside.ask("POST", "/webhooks/alertmanager", alerts)


def post_until_taken(outside: Outside, alerts: Body) -> None:
    """Post again after every 503; anything else but 200 is a lost alert."""
    statuses: list[int] = []

    def is_taken() -> bool:
        statuses.append(post(outside, alerts)[0])
        assert statuses[-1] in (200, 503)
        return statuses[-1] == 200

    wait_until(is_taken, outside.describe)


def pages(outside: Outside, alerts: Body) -> int:
    """Return how many incidents PagerDuty opened about it: each woke somebody. A page that went twice,
    since its receipt was lost with a master, joins the one that is open.
    """
    name = alerts["groupLabels"]["alertname"]
    return sum(1 for incident in outside.pagerduty.opened() if f"{name} " in f"{incident.summary} ")


def has_paged_once(outside: Outside, alerts: Body) -> bool:
    found = pages(outside, alerts)
    assert found <= 1, outside.describe()
    return found == 1
