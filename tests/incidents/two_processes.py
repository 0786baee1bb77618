"""Two processes that take the same alerts under two receivers at the same moment, again and again."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from typing import Any

from receiver.incidents.ingest import IncidentIngester, IngestResult
from receiver.incidents.store import RedisIncidents
from receiver.model.alert import Alert
from receiver.storage.connection import connect, count_shards
from tests.builders import OPENED_AT, a_group, an_alert
from tests.incidents.test_store_owners import Rules

SLOW_S = 120.0
# By the number of a turn: what a process takes.
Taking = Callable[[int], tuple[Alert, ...]]


def one_alert(n: int) -> tuple[Alert, ...]:
    return (an_alert(f"Alert{n}"),)


def a_hundred_alerts(n: int) -> tuple[Alert, ...]:
    return tuple(an_alert(f"Alert{n}", instance=f"web-{i}") for i in range(100))


def ingest_all_at_once(url: str, take: Taking, times: int) -> list[list[tuple[IngestResult, float]]]:
    """Return for each turn what each of the two was told, and how many seconds that took."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    answers: Any = context.Queue()
    processes = [
        context.Process(target=_take, args=(number, url, [take] * times, start, answers), daemon=True)
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
    return [list(turn) for turn in zip(rows[0], rows[1], strict=True)]


def _take(number: int, url: str, turns: list[Taking], start: Barrier, answers: Any) -> None:
    incidents = RedisIncidents(connect(url), history_s=1000, shards=count_shards(url))
    ingester, told = IncidentIngester(incidents, Rules()), []  # type: ignore[arg-type]
    for n, take in enumerate(turns):
        alerts = take(n)
        way = {"receiver": f"receiver-{number}", "group_key": f"{{}}/{{way{number}}}:{{{n}}}"}
        group = a_group(*(reversed(alerts) if number else alerts), **way)
        start.wait(SLOW_S)
        begun = time.monotonic()
        told.append((ingester.ingest((group,), OPENED_AT), time.monotonic() - begun))
    answers.put((number, told))
