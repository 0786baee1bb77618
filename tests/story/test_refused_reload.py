"""A refused configuration is reported by every process, whichever of them refused it."""

from __future__ import annotations

import re

from prometheus_client import REGISTRY

from receiver.app.services import Services, build_services
from receiver.config_state import ConfigState
from receiver.errors import Problem, StoreError
from receiver.storage.keys import CONFIG_REFUSED, CONFIG_REFUSED_FOR_S
from receiver.web.app import create_app
from tests.rig import ROUTING, START, Rig

FAULT = Problem("routing.yaml", 4, "unknown key 'colour'", "'routes'")
SAID = "routing.yaml:4: unknown key 'colour', expected 'routes'"


class Process:
    """Another process that uses the same Redis."""

    def __init__(self, rig: Rig, name: str) -> None:
        self.state = ConfigState(rig.clock())
        self.parts: Services = build_services(
            rig.services.settings,
            rig.services.routing,
            rig.clock,
            process=name,
            find_config_state=lambda: self.state,
        )

    def refuses(self, now: float, *problems: Problem) -> None:
        self.state = self.state.with_refusal(problems or [FAULT], now)
        self.parts.config.publish_state()

    def loads(self, now: float) -> None:
        self.state = ConfigState(now)
        self.parts.config.publish_state()


def status(rig: Rig) -> dict[str, str | None]:
    return dict(rig.client.get("/api/v1/status").json["config"])


def gauge(rig: Rig, name: str) -> float | None:
    assert rig.client.get("/metrics").status_code == 200
    return REGISTRY.get_sample_value(f"receiver_config_last_reload_{name}")


def banners(rig: Rig, path: str) -> list[str]:
    rig.services.work_queue.record_heartbeat("worker", rig.clock())
    return re.findall(r'<div class="banner alarm"><p><strong>([^<]+)</strong>', rig.client.get(path).text)


def test_without_a_refusal_nothing_is_reported(rig: Rig) -> None:
    assert status(rig) == {"loaded_at": "2026-11-23T12:00:00.000Z", "error": None}
    assert gauge(rig, "successful") == 1
    assert gauge(rig, "timestamp_seconds") == START
    assert banners(rig, "/") == []


def test_a_process_reports_the_refusal_of_another(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    worker = Process(rig, "worker on host-1 (process 7)")
    rig.clock.moment += 60
    worker.refuses(rig.clock())

    assert status(rig)["error"] == f"{SAID} [worker on host-1 (process 7)]"
    assert status(rig)["loaded_at"] == "2026-11-23T12:00:00.000Z"
    assert gauge(rig, "successful") == 0
    for path in ("/", f"/incidents/{incident}"):
        assert banners(rig, path) == ["A new configuration was refused."]
    page = rig.client.get("/").text
    assert "unknown key &#39;colour&#39;" in page
    assert "The old one stays in force" in page
    assert "2026-11-23 12:01:00 UTC" in page

    worker.loads(rig.clock())
    assert status(rig)["error"] is None
    assert gauge(rig, "successful") == 1
    assert banners(rig, "/") == []


def test_a_process_reports_its_own_refusal_at_once(rig: Rig) -> None:
    web = Process(rig, "web on host-1 (process 8)")
    rig.client = create_app(web.parts, rate_limits=None).test_client()
    web.state = web.state.with_refusal([FAULT], rig.clock())  # not saved yet
    assert status(rig)["error"] == f"{SAID} [web on host-1 (process 8)]"


def test_the_same_reason_of_several_processes_is_reported_once(rig: Rig) -> None:
    for name in ("web on a", "worker on a", "worker on b"):
        Process(rig, name).refuses(rig.clock())
    Process(rig, "worker on c").refuses(rig.clock(), Problem("routing.yaml", 1, "no routes"), FAULT)
    assert status(rig)["error"] == (
        f"{SAID} [web on a, worker on a, worker on b]; routing.yaml:1: no routes (and 1 more fault) [worker on c]"
    )


def test_the_refusal_of_a_killed_process_expires(rig: Rig) -> None:
    """By the TTL of its key: a running process saves it again long before."""
    worker = Process(rig, "worker on a")
    worker.refuses(rig.clock())
    client = rig.services.work_queue._redis
    assert 0 < client.ttl(CONFIG_REFUSED) <= CONFIG_REFUSED_FOR_S
    client.pexpire(CONFIG_REFUSED, 100)
    worker.parts.config.publish_state()
    assert client.pttl(CONFIG_REFUSED) > 1000
    client.delete(CONFIG_REFUSED)
    assert status(rig)["error"] is None


def test_a_process_that_starts_deletes_the_refusal_under_its_name(rig: Rig) -> None:
    """The processes of a container have the same names after each restart."""
    Process(rig, "web on pod-1 (process 1)").refuses(rig.clock())
    Process(rig, "web on pod-1 (process 1)").loads(rig.clock())
    assert status(rig)["error"] is None


def test_a_refusal_is_saved_when_redis_is_available_again(rig: Rig) -> None:
    worker = Process(rig, "worker on a")
    rig.services.work_queue._redis.config_set("maxmemory", 1)
    try:
        worker.refuses(rig.clock())
    except StoreError:
        pass
    else:
        raise AssertionError("it was no fault")
    finally:
        rig.services.work_queue._redis.config_set("maxmemory", 0)
    assert status(rig)["error"] is None
    worker.parts.config.publish_state()
    assert status(rig)["error"] == f"{SAID} [worker on a]"


def test_after_a_reload_the_time_is_that_of_the_new_refusal(rig: Rig) -> None:
    rig.clock.moment += 90
    rig.configure(ROUTING)
    assert status(rig)["loaded_at"] == "2026-11-23T12:01:30.000Z"
    assert gauge(rig, "timestamp_seconds") == START + 90


def test_hostile_texts_of_a_fault_are_escaped(rig: Rig) -> None:
    Process(rig, "web on <b>").refuses(rig.clock(), Problem("r.yaml", 1, "<script>\x1b[2J" + "x" * 10_000))
    page = rig.client.get("/").text
    assert "<script>" not in page.replace('<script src="/static', "")
    assert "\x1b" not in page
    assert len(str(status(rig)["error"])) < 600
