"""Alerts posted as Alertmanager does: repeated after a 503, until they are accepted."""

from __future__ import annotations

from typing import Any

from tests.e2e.deployment import Deployment
from tests.redis_servers import wait_until

Body = dict[str, Any]


def post(deployment: Deployment, alerts: Body) -> tuple[int, dict[str, Any]]:
    return deployment.ask("POST", "/webhooks/alertmanager", alerts)


def post_until_accepted(deployment: Deployment, alerts: Body) -> None:
    """Post again after every 503; any status but 200 and 503 loses the alert and fails."""
    statuses: list[int] = []

    def is_accepted() -> bool:
        statuses.append(post(deployment, alerts)[0])
        assert statuses[-1] in (200, 503)
        return statuses[-1] == 200

    wait_until(is_accepted, deployment.describe)


def pages(deployment: Deployment, alerts: Body) -> int:
    """Return the number of incidents that PagerDuty opened for an alert, each of which paged a person.

    A page that was sent twice, because its receipt was lost with a master, joins the open incident.
    """
    name = alerts["groupLabels"]["alertname"]
    return sum(1 for incident in deployment.pagerduty.opened() if f"{name} " in f"{incident.summary} ")


def has_paged_once(deployment: Deployment, alerts: Body) -> bool:
    found = pages(deployment, alerts)
    assert found <= 1, deployment.describe()
    return found == 1
