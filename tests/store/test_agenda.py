"""The agenda on a real Valkey: who gets what, when, and what a dead worker leaves behind."""

from __future__ import annotations

import pytest

from receiver.domain.incident import group_id_of
from receiver.domain.merge import RouteSettings, merge
from receiver.domain.ports import IncidentUpdate
from receiver.store.agenda import LEASE_S, RedisAgenda
from receiver.store.connection import Client
from receiver.store.incidents import RedisIncidents
from tests.builders import a_group, an_alert
from tests.moments import HANDED_IN

NOW = 1_795_435_200.0


@pytest.fixture
def agenda(redis_client: Client) -> RedisAgenda:
    return RedisAgenda(redis_client, moments=HANDED_IN)


def test_what_is_due_is_lent_to_one_worker(agenda: RedisAgenda) -> None:
    agenda.put("slack", "a-1", NOW)
    assert agenda.claim("slack", "w1", NOW, 5).incidents == ("a-1",)
    assert agenda.claim("slack", "w2", NOW, 5).incidents == ()


def test_lanes_do_not_hinder_each_other(agenda: RedisAgenda) -> None:
    agenda.put("slack", "a-1", NOW)
    agenda.put("pagerduty", "a-1", NOW)
    assert agenda.claim("slack", "w1", NOW, 5).incidents == ("a-1",)
    assert agenda.claim("pagerduty", "w1", NOW, 5).incidents == ("a-1",)


def test_nothing_is_lent_before_its_time(agenda: RedisAgenda) -> None:
    agenda.put("slack", "a-1", NOW + 10)
    claims = agenda.claim("slack", "w1", NOW, 5)
    assert claims.incidents == ()
    assert claims.look_at == NOW + 10
    assert agenda.claim("slack", "w1", NOW + 10, 5).incidents == ("a-1",)


def test_the_earliest_goes_first_so_new_alerts_wait_behind_due_steps(agenda: RedisAgenda) -> None:
    agenda.put("pagerduty", "new-1", NOW)
    agenda.put("pagerduty", "step-1", NOW - 1)
    assert agenda.claim("pagerduty", "w1", NOW, 1).incidents == ("step-1",)


def has_news(
    redis: Client, name: str, now: float, severity: str = "critical", *, is_news: bool = True
) -> str:
    """Keep a new incident, as intake does for news; return its id."""
    incidents = RedisIncidents(redis, history_s=86400, moments=HANDED_IN)
    group = a_group(an_alert(name, severity=severity))
    loaded = incidents.load_latest([group_id_of(group.source, group.group_key, "r")])[0]
    change = merge(loaded.incident, group, RouteSettings("r", "#a", "", ()), now)
    assert change.incident is not None
    assert incidents.commit([IncidentUpdate(loaded, change, ("slack",), now, is_incoming=is_news)]) == [True]
    return change.incident.id


def test_what_is_due_goes_before_news_that_came_earlier(agenda: RedisAgenda, redis_client: Client) -> None:
    """A step must not wait behind a backlog of new alerts."""
    news = {has_news(redis_client, f"New{n}", NOW) for n in range(500)}
    agenda.put("slack", "step-1", NOW + 5)
    assert agenda.claim("slack", "w1", NOW + 5, 1).incidents == ("step-1",)
    assert set(agenda.claim("slack", "w1", NOW + 5, 500).incidents) == news


def test_news_is_not_overtaken_for_ever(agenda: RedisAgenda, redis_client: Client) -> None:
    news = has_news(redis_client, "New", NOW)
    taken: list[str] = []
    for second in range(60):
        agenda.put("slack", f"retry-{second}", NOW + second)
        taken += agenda.claim("slack", "w1", NOW + second, 1).incidents
        agenda.release("slack", "w1", taken[-1], {"slack": None})
    assert taken.index(news) in (20, 21)


def test_critical_news_goes_before_other_news(agenda: RedisAgenda, redis_client: Client) -> None:
    info = has_news(redis_client, "Info", NOW, "info")
    warning = has_news(redis_client, "Warning", NOW + 1, "warning")
    critical = has_news(redis_client, "Critical", NOW + 2)
    assert agenda.claim("slack", "w1", NOW + 2, 2).incidents == (critical, warning)
    assert agenda.claim("slack", "w1", NOW + 2, 2).incidents == (info,)


def test_an_answer_is_no_news_and_waits_for_none(agenda: RedisAgenda, redis_client: Client) -> None:
    has_news(redis_client, "New", NOW)
    answered = has_news(redis_client, "Answered", NOW + 1, "info", is_news=False)
    assert agenda.claim("slack", "w1", NOW + 1, 1).incidents == (answered,)


def test_news_of_what_is_due_anyway_is_looked_at_once(agenda: RedisAgenda, redis_client: Client) -> None:
    incident = has_news(redis_client, "New", NOW)
    agenda.put("slack", incident, NOW)
    assert agenda.claim("slack", "w1", NOW, 5).incidents == (incident,)
    agenda.release("slack", "w1", incident, {"slack": None})
    assert agenda.claim("slack", "w1", NOW + 1, 5).incidents == ()


def test_news_that_comes_while_it_is_lent_out_is_looked_at_right_after(
    agenda: RedisAgenda, redis_client: Client
) -> None:
    incident = has_news(redis_client, "New", NOW)
    agenda.claim("slack", "w1", NOW, 5)
    redis_client.zadd("rcv:{0}:agenda:slack:critical", {incident: NOW})
    assert agenda.claim("slack", "w2", NOW, 5).incidents == ()
    agenda.release("slack", "w1", incident, {"slack": NOW + 300})
    assert agenda.claim("slack", "w2", NOW, 5).incidents == (incident,)


def test_what_an_older_version_put_on_the_agenda_is_found(agenda: RedisAgenda, redis_client: Client) -> None:
    redis_client.zadd("rcv:{0}:agenda:slack", {"old-1": NOW})
    assert agenda.claim("slack", "w1", NOW, 5).incidents == ("old-1",)


def test_depth_and_lag_count_news_and_what_is_due(agenda: RedisAgenda, redis_client: Client) -> None:
    assert agenda.depth("slack", NOW) == (0, 0.0)
    agenda.put("slack", "later-1", NOW + 100)
    agenda.put("slack", "step-1", NOW + 1)
    has_news(redis_client, "New", NOW)
    has_news(redis_client, "Info", NOW + 2, "info")
    assert agenda.depth("slack", NOW + 3) == (3, 3.0)


def test_a_dead_workers_loan_runs_out(agenda: RedisAgenda) -> None:
    agenda.put("slack", "a-1", NOW)
    agenda.claim("slack", "dead", NOW, 5)
    assert agenda.claim("slack", "w2", NOW + LEASE_S - 0.01, 5).incidents == ()
    assert agenda.claim("slack", "w2", NOW + LEASE_S, 5).incidents == ("a-1",)


def test_a_living_worker_keeps_its_loan(agenda: RedisAgenda) -> None:
    agenda.put("slack", "a-1", NOW)
    agenda.claim("slack", "w1", NOW, 5)
    agenda.renew("slack", "w1", ["a-1"], NOW + 2)
    assert agenda.claim("slack", "w2", NOW + LEASE_S, 5).incidents == ()


def test_a_worker_ends_the_loans_it_does_not_work_on_and_nobody_elses(agenda: RedisAgenda) -> None:
    for name in ("a-1", "b-1", "c-1"):
        agenda.put("slack", name, NOW)
    assert agenda.claim("slack", "w1", NOW, 2).incidents == ("a-1", "b-1")
    assert agenda.claim("slack", "w2", NOW, 1).incidents == ("c-1",)
    agenda.end_loans("slack", "w1", ["b-1"], NOW + 0.5)
    assert agenda.claim("slack", "w1", NOW + 0.4, 5).incidents == ()
    assert agenda.claim("slack", "w1", NOW + 0.5, 5).incidents == ("a-1",)


def test_ending_loans_prolongs_none_and_makes_none(agenda: RedisAgenda) -> None:
    agenda.put("slack", "a-1", NOW)
    agenda.claim("slack", "w1", NOW, 1)
    agenda.end_loans("slack", "w1", [], NOW + 2 * LEASE_S)
    assert agenda.claim("slack", "w2", NOW + LEASE_S, 1).incidents == ("a-1",)
    agenda.release("slack", "w2", "a-1", {})
    agenda.end_loans("slack", "w2", [], NOW)
    assert agenda.claim("slack", "w1", NOW + 10 * LEASE_S, 1).incidents == ()


def test_a_loan_that_ran_out_is_not_renewed(agenda: RedisAgenda) -> None:
    agenda.put("slack", "a-1", NOW)
    agenda.claim("slack", "slow", NOW, 5)
    agenda.claim("slack", "w2", NOW + LEASE_S, 5)
    agenda.renew("slack", "slow", ["a-1"], NOW + LEASE_S)
    assert not agenda.release("slack", "slow", "a-1", {"slack": None})
    assert agenda.release("slack", "w2", "a-1", {"slack": None})


def test_a_loan_from_before_the_clock_was_set_back_holds_nothing_up(agenda: RedisAgenda) -> None:
    """A worker died, and the clock was set back by an hour: its incidents must not stay lent for as long."""
    agenda.put("slack", "a-1", NOW)
    agenda.claim("slack", "dead", NOW + 3600, 5)
    assert agenda.claim("slack", "w2", NOW, 5).incidents == ("a-1",)


def test_a_loan_from_before_the_clock_was_set_back_a_little_stands(agenda: RedisAgenda) -> None:
    agenda.put("slack", "a-1", NOW)
    agenda.claim("slack", "w1", NOW + 1.5, 5)
    assert agenda.claim("slack", "w2", NOW, 5).incidents == ()


def test_a_living_worker_keeps_its_loan_over_a_clock_that_was_set_back(agenda: RedisAgenda) -> None:
    agenda.put("slack", "a-1", NOW)
    agenda.claim("slack", "w1", NOW + 3600, 5)
    agenda.renew("slack", "w1", ["a-1"], NOW)
    assert agenda.claim("slack", "w2", NOW + 1, 5).incidents == ()


def test_a_change_while_it_is_lent_out_is_looked_at_right_after(agenda: RedisAgenda) -> None:
    agenda.put("slack", "a-1", NOW)
    agenda.claim("slack", "w1", NOW, 5)
    agenda.put("slack", "a-1", NOW + 1)
    assert agenda.claim("slack", "w2", NOW + 1, 5).incidents == ()
    agenda.release("slack", "w1", "a-1", {"slack": NOW + 300})
    assert agenda.claim("slack", "w2", NOW + 1, 5).incidents == ("a-1",)


def test_released_without_a_moment_it_is_done(agenda: RedisAgenda) -> None:
    agenda.put("slack", "a-1", NOW)
    agenda.claim("slack", "w1", NOW, 5)
    agenda.release("slack", "w1", "a-1", {"slack": None})
    claims = agenda.claim("slack", "w1", NOW + 1e6, 5)
    assert (claims.incidents, claims.look_at) == ((), None)


def test_releasing_tells_the_other_lane_when_to_look(agenda: RedisAgenda) -> None:
    agenda.put("slack", "a-1", NOW)
    agenda.claim("slack", "w1", NOW, 5)
    agenda.release("slack", "w1", "a-1", {"slack": None, "pagerduty": NOW + 5})
    assert agenda.claim("pagerduty", "w1", NOW + 5, 5).incidents == ("a-1",)


def test_many_busy_incidents_hide_none_that_waits(agenda: RedisAgenda) -> None:
    for n in range(50):
        agenda.put("slack", f"busy-{n}", NOW - 1)
    assert len(agenda.claim("slack", "w1", NOW, 50).incidents) == 50
    for n in range(50):
        agenda.put("slack", f"busy-{n}", NOW - 1)
    agenda.put("slack", "a-1", NOW)
    assert agenda.claim("slack", "w2", NOW, 1).incidents == ("a-1",)


def test_a_worker_gives_signs_of_life_until_it_leaves(agenda: RedisAgenda) -> None:
    agenda.beat("w1", NOW)
    assert agenda.workers(NOW - 3) == ["w1"]
    assert agenda.workers(NOW + 0.1) == []
    agenda.leave("w1")
    assert agenda.workers(NOW - 3) == []


def test_shards_spread_incidents_and_lose_none(redis_client: Client) -> None:
    agenda = RedisAgenda(redis_client, shards=8, moments=HANDED_IN)
    names = {f"slot{n}-1" for n in range(100)}
    for name in names:
        agenda.put("slack", name, NOW)
    taken = agenda.claim("slack", "w1", NOW, 100).incidents
    assert set(taken) == names
    assert len(list(redis_client.scan_iter("rcv:*:claims:slack"))) == 8
