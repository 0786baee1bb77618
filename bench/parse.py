"""How long a body takes from bytes to alerts, in µs, the best of several rounds: `python bench/parse.py`."""

from __future__ import annotations

import json
import timeit
from collections.abc import Callable

from receiver.integrations.alertmanager.lenient import parse_leniently
from receiver.integrations.alertmanager.webhook import parse_webhook

NOW = 1_795_435_200.0
ROUNDS = 7


def a_body(alerts: int) -> bytes:
    """Return a body as Alertmanager writes it, with labels and annotations of a usual size."""
    return json.dumps(
        {
            "receiver": "on-call",
            "status": "firing",
            "alerts": [
                {
                    "status": "firing",
                    "labels": {
                        "alertname": "DiskFull",
                        "instance": f"10.0.{n // 250}.{n % 250}:9100",
                        "job": "node",
                        "namespace": f"shop-{n}",
                        "prometheus": "monitoring/k8s",
                        "severity": "critical",
                    },
                    "annotations": {
                        "description": f"/var on node {n} has 3.1% of its space left and fills up soon.",
                        "runbook_url": "https://runbooks.shop.example/DiskFull",
                        "summary": "The disk is nearly full",
                    },
                    "startsAt": "2026-11-23T09:14:05.118420951Z",
                    "endsAt": "0001-01-01T00:00:00Z",
                    "generatorURL": "http://prometheus:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1",
                    "fingerprint": f"{n:016x}",
                }
                for n in range(alerts)
            ],
            "groupLabels": {"alertname": "DiskFull"},
            "commonLabels": {"alertname": "DiskFull", "severity": "critical"},
            "commonAnnotations": {},
            "externalURL": "http://alertmanager:9093",
            "version": "4",
            "groupKey": '{}:{alertname="DiskFull"}',
            "truncatedAlerts": 0,
        },
        separators=(",", ":"),
    ).encode()


def microseconds(call: Callable[[], object]) -> float:
    timer = timeit.Timer(call)
    loops, _ = timer.autorange()
    return min(timer.repeat(ROUNDS, loops)) / loops * 1e6


def main() -> None:
    for alerts in (1, 100):
        body = a_body(alerts)
        fast = microseconds(lambda body=body: parse_webhook(body, "", NOW))
        slow = microseconds(lambda body=body: parse_leniently(body, "", NOW))
        print(f"{alerts:4} alerts, {len(body):6} bytes: parse {fast:7.1f} µs, repair {slow:7.1f} µs")


if __name__ == "__main__":
    main()
