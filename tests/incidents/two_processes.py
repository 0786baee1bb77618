"""Two processes that repeatedly ingest the same alerts of two receivers at the same instant."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from typing import Any

from receiver.incidents.ingest import IngestResult
from receiver.incidents.store import RedisIncidents
from receiver.model.alert import Alert
from receiver.storage.connection import connect, count_shards
from tests.builders import OPENED_AT, a_group, an_alert
from tests.incidents.test_store_owners import Rules
from tests.ingesting import build_ingester

SLOW_S = 120.0
# Returns the alerts that a process ingests in round *n*.
AlertsOf = Callable[[int], tuple[Alert, ...]]


def one_alert(n: int) -> tuple[Alert, ...]:
    return (an_alert(f"Alert{n}"),)


def a_hundred_alerts(n: int) -> tuple[Alert, ...]:
    return tuple(an_alert(f"Alert{n}", instance=f"web-{i}") for i in range(100))


def ingest_all_at_once(url: str, alerts_of: AlertsOf, times: int) -> list[list[tuple[IngestResult, float]]]:
    """Return for each round the result of each process and the seconds it took."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    answers: Any = context.Queue()
    processes = [
        context.Process(target=_ingest, args=(number, url, [alerts_of] * times, start, answers), daemon=True)
        for number in range(2)
    ]
    for process in processes:
        process.start()
    try:
        rows = dict(answers.get(timeout=SLOW_S) for _ in processes)
    finally:
        for process in processes:
            process.join(10)
            process.kill()
    return [list(pair) for pair in zip(rows[0], rows[1], strict=True)]


def _ingest(number: int, url: str, rounds: list[AlertsOf], start: Barrier, answers: Any) -> None:
    incidents = RedisIncidents(connect(url), history_s=1000, shards=count_shards(url))
    ingester, results = build_ingester(incidents, Rules()), []
    for n, alerts_of in enumerate(rounds):
        alerts = alerts_of(n)
        source = {"receiver": f"receiver-{number}", "group_key": f"{{}}/{{way{number}}}:{{{n}}}"}
        group = a_group(*(reversed(alerts) if number else alerts), **source)
        start.wait(SLOW_S)
        started_at = time.monotonic()
        results.append((ingester.ingest((group,), OPENED_AT), time.monotonic() - started_at))
    answers.put((number, results))
