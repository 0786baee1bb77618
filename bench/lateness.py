"""How late steps came, as PagerDuty's own clock saw it, and after which fault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.faults import LIMITED_WAIT_S
from bench.traffic import PAGED_AFTER_S
from receiver.model.incident import parse_dedup_key
from tests.mocks.pagerduty import MockPagerDuty, Request
from tests.rig import NAMES


@dataclass(frozen=True)
class Lateness:
    """A second step: when it was first tried, and how many seconds after it was due."""

    tried_at: float
    by_s: float


def count_paged(pagerduty: MockPagerDuty) -> int:
    return len(_find_notified(pagerduty.requests))


def find_lateness(pagerduty: MockPagerDuty) -> list[Lateness]:
    """Return how late each second step was after the first was notified. One that fell due while a 429 bade
    us wait was due at the end of that.
    """
    notified = _find_notified(pagerduty.requests)
    tried: dict[str, float] = {}
    for request in pagerduty.requests:
        if _is_trigger(request) and _responder_of(request) == "team-lead":
            tried.setdefault(_group_id_of(request), request.at)
    limited = [r.at for r in pagerduty.requests if r.status == 429 and _responder_of(r) == "team-lead"]
    return [
        Lateness(at, at - _bidden_until(notified[group_id] + PAGED_AFTER_S, limited))
        for group_id, at in tried.items()
        if group_id in notified
    ]


def _find_notified(requests: Sequence[Request]) -> dict[str, float]:
    notified: dict[str, float] = {}
    for request in requests:
        if _is_trigger(request) and request.status == 202 and _responder_of(request) != "team-lead":
            notified.setdefault(_group_id_of(request), request.at)
    return notified


def _bidden_until(due_at: float, limited: Sequence[float]) -> float:
    for at in limited:
        if at <= due_at < at + LIMITED_WAIT_S:
            due_at = at + LIMITED_WAIT_S
    return due_at


def _is_trigger(request: Request) -> bool:
    return bool(request.body.get("event_action") == "trigger")


def _responder_of(request: Request) -> str:
    return NAMES.get(str(request.body.get("routing_key")), "")


def _group_id_of(request: Request) -> str:
    return (parse_dedup_key(str(request.body.get("dedup_key"))) or ("", ""))[0]
