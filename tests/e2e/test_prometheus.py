"""A real Prometheus that sends its alerts straight to the receiver, without an Alertmanager."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.deployment import Deployment, free_port
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack

PROMETHEUS = shutil.which("prometheus")
pytestmark = [
    pytest.mark.needs_prometheus,
    pytest.mark.skipif(PROMETHEUS is None, reason="no prometheus on the path"),
]
# Prometheus lets an alert end four times its longest interval after it was sent, unless it is sent again.
RESEND_S = 1
RULES = """
groups:
  - name: straight
    interval: 1s
    rules:
      - alert: TargetDown
        expr: vector(1)
        labels: {severity: critical, instance: db-1}
        annotations: {summary: The target is down}
"""


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        deployment = Deployment(tmp_path, slack, pagerduty)
        yield deployment
        deployment.kill_everything()


@contextmanager
def running_prometheus(folder: Path, receiver_port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Prometheus that sends the alert of `rules.yml` to the receiver."""
    assert PROMETHEUS is not None
    (folder / "rules.yml").write_text(RULES)
    (folder / "prometheus.yml").write_text(
        "global: {evaluation_interval: 1s}\n"
        "rule_files: [rules.yml]\n"
        "alerting:\n"
        f"  alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{receiver_port}']}}]}}]\n"
    )
    process = subprocess.Popen(
        [
            PROMETHEUS,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{free_port()}",
            f"--rules.alert.resend-delay={RESEND_S}s",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def actions(deployment: Deployment) -> list[str]:
    return [event.action for event in deployment.pagerduty.events]


def test_an_alert_of_prometheus_fires_as_long_as_it_is_renewed_and_ends_without(
    tmp_path: Path, deployment: Deployment
) -> None:
    with running_prometheus(tmp_path, deployment.port):
        deployment.wait_for(lambda: actions(deployment) == ["trigger"], within_s=40)
        (message,) = deployment.slack.parents
        assert "TargetDown" in message.text
        time.sleep(6 * RESEND_S)  # it is renewed beyond the first end
        assert actions(deployment) == ["trigger"]
    deployment.wait_for(lambda: actions(deployment) == ["trigger", "resolve"], within_s=40)
