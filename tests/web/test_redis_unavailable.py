"""While Redis is unavailable every request is answered with 503, and this is logged once."""

from __future__ import annotations

from pathlib import Path

from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack
from tests.rig import Clock, Rig
from tests.support.log_lines import count_lines, written_log
from tests.support.ports import free_port

WEBHOOK = {"version": "4", "alerts": [{"status": "firing", "labels": {"alertname": "DiskFull"}}]}


def test_an_unavailable_redis_is_logged_once_however_many_requests_fail(tmp_path: Path) -> None:
    closed_port = f"redis://127.0.0.1:{free_port()}/0"
    with MockSlack() as slack, MockPagerDuty() as pagerduty, written_log() as log:
        client = Rig(tmp_path, closed_port, slack, pagerduty, Clock()).client
        for _ in range(5):
            assert client.post("/webhooks/alertmanager", json=WEBHOOK).status_code == 503
            assert client.get("/api/v1/incidents").status_code == 503
            assert client.get("/readyz").status_code == 503
    assert count_lines(log) == {("redis unavailable", ""): 1, ("not ready", ""): 1}
