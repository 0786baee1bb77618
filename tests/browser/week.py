"""A simulated week of a small team, the same each time, so that the pages have content."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from werkzeug.serving import make_server

from receiver.storage.connection import connect
from receiver.web.app import create_app
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack
from tests.rig import NAMES, START, Clock, Rig

HOME = Path(__file__).parents[2]
NIGHT = START - 9 * 3600 + 12 * 60  # 03:12 of that Monday
HOUR = 3600.0
# Alert, severity, and how often in the week.
USUAL = (
    ("HighCPUUsage", "warning", 14),
    ("HighMemoryUsage", "warning", 5),
    ("DatabaseDown", "critical", 2),
    ("APIRateLimitExceeded", "critical", 4),
    ("BackupMissed", "info", 6),
    ("CertificateExpiresSoon", "info", 3),
)
PEOPLE = ("priya", "tom", "ana")


@contextmanager
def play_week(folder: Path, valkey_url: str) -> Iterator[Rig]:
    """Yield the rig at 03:10 of the night after the week, with some alerts firing."""
    store = connect(valkey_url)
    store.flushall()  # removes the data of other tests
    store.close()
    clock = Clock(NIGHT - 7 * 24 * HOUR)
    with MockSlack(clock=clock) as slack, MockPagerDuty(clock=clock) as pagerduty:
        rig = Rig(folder, valkey_url, slack, pagerduty, clock)
        rig.environ["PAGERDUTY_MANAGER_KEY"] = ""
        rig.configure((HOME / "routing.yaml").read_text().replace("runbooks/]", f"{HOME}/runbooks/]"))
        _play_past(rig)
        _play_night(rig)
        yield rig


@contextmanager
def serve(rig: Rig) -> Iterator[str]:
    """Yield the URL at which the pages of the rig are served."""
    server = make_server("127.0.0.1", 0, create_app(rig.services, rate_limits=None), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def list_paths(rig: Rig) -> dict[str, str]:
    """Return the path of each page, with the parameters that show most."""
    rows = rig.client.get("/api/v1/incidents?state=open").json["incidents"]
    worst = next(row["id"] for row in rows if row["alertname"] == "DeepSeekAPIDown")
    return {
        "now": "/",
        "incident": f"/incidents/{worst}",
        "history": "/history",
        "runbooks": "/runbooks",
        "runbook": "/runbooks/DeepSeekAPIDown",
        "routing": "/routing?labels=alertname%3DDeepSeekAPIDown+severity%3Dcritical",
    }


def _play_past(rig: Rig) -> None:
    chance = random.Random(7)
    begin, end = rig.clock(), NIGHT - 3 * HOUR
    story = sorted(
        (chance.uniform(begin, end), name, severity, n)
        for name, severity, times in USUAL
        for n in range(times)
    )
    for at, name, severity, n in story:
        rig.clock.moment = max(rig.clock(), at)
        rig.works()
        rig.posts(rig.alert(name, severity, instance=f"web-{n}"), group={"alertname": name, "n": str(n)})
        rig.works()
        lasts = chance.choice((2, 3, 4, 25, 70) if name != "HighCPUUsage" else (1, 2, 3, 4))
        if severity != "info" and lasts > 4:
            rig.passes(f"{chance.randint(1, 9)}m")
            newest = rig.client.get("/api/v1/incidents?limit=1").json["incidents"][0]["id"]
            rig.answers(newest, "acknowledge", chance.choice(PEOPLE))
        rig.passes(f"{lasts}m")
        over = rig.alert(name, severity, ended=True, at=rig.clock() - 1, instance=f"web-{n}")
        rig.posts(over, group={"alertname": name, "n": str(n)})
        rig.works()


def _play_night(rig: Rig) -> None:
    rig.clock.moment = NIGHT - 3 * HOUR
    rig.works()
    rig.fires("BackupMissed", "info", job="nightly")
    rig.passes("2h")
    taken = rig.fires("HighMemoryUsage", "warning", instance="worker-2")
    rig.passes("11m")
    rig.answers(taken, "acknowledge", "priya")
    rig.passes("30m")
    flapping = ("QueueBacklog", "warning")
    for _ in range(3):
        rig.fires(*flapping, queue="mail")
        rig.passes("1m")
        rig.ends(*flapping, queue="mail")
        rig.passes("1m")
    rig.fires(*flapping, queue="mail")
    rig.clock.moment = max(rig.clock(), NIGHT - 7 * 60)
    rig.works()
    rig.refuses("team-lead")
    calls = [rig.alert("DeepSeekAPIDown", provider="deepseek", instance=f"web-{n}") for n in (1, 2)]
    for alert in calls:
        alert["annotations"] = {
            "summary": "Every call to DeepSeek fails on web-1 and web-2",
            "description": "No answer for 5 minutes.\nThe last one was HTTP 503.",
            "dashboard": "https://grafana.example.org/d/apis",
        }
    rig.posts(*calls)
    rig.passes("5m30s")
    rig.pagerduty.routing_keys = list(NAMES)
    rig.fires("DatabaseDown", instance="db-1")
    rig.posts(rig.alert("Watchdog", "none"))
    rig.clock.moment = NIGHT
    rig.works()
    rig.services.work_queue.record_heartbeat("worker", rig.clock())


def break_out(rig: Rig, count: int = 60) -> str:
    """Fire more alerts at once than can be sent one by one; return the ID of the storm."""
    rig.configure((rig.folder / "routing.yaml").read_text().partition("\nlimits:")[0] + "\nlimits: {}\n")
    for n in range(count):
        name = ("PodCrashLooping", "HighLatency", "InstanceDown")[n % 3]
        rig.posts(rig.alert(name, host=f"node-{n}"), group={"host": f"node-{n}"})
    rig.passes("20s")
    rig.services.work_queue.record_heartbeat("worker", rig.clock())
    return str(rig.client.get("/api/v1/storms").json["storms"][0]["id"])
