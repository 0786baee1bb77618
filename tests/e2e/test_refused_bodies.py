"""2,200 connections of attackers, each with a body that does not end: valid webhooks are still accepted."""

from __future__ import annotations

import http.client
import json
import resource
import socket
import time
from collections.abc import Iterator

import pytest

from tests.e2e.bodies import a_body
from tests.e2e.deployment import Deployment
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack
from tests.sampling import is_exhaustive, sample

pytestmark = pytest.mark.alone

CROWD = 2200
RIGHT = 112
SAMPLED = 2
TOKEN = "a-token-of-the-webhook"
_NOW = b"X-Slack-Request-Timestamp: 1795435200\r\n"
# What an attacker requests; none of these has a valid signature.
ASKED = {
    "no token": (b"POST /webhooks/alertmanager", b""),
    "a wrong token": (b"POST /webhooks/alertmanager", b"Authorization: Bearer nonsense\r\n"),
    "the API": (b"POST /api/v1/incidents/x/acknowledge", b""),
    "the page": (b"GET /", b""),
    "nothing that is there": (b"POST /nothing", b""),
    "what is open to all": (b"GET /healthz", b""),
    "a wrong signature of Slack": (
        b"POST /webhooks/slack/interactions",
        b"X-Slack-Signature: v0=0\r\n" + _NOW,
    ),
    "a wrong signature of PagerDuty": (b"POST /webhooks/pagerduty", b"X-PagerDuty-Signature: v1=00\r\n"),
}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        tokens = {"RECEIVER_WEBHOOK_TOKEN": TOKEN, "RECEIVER_API_TOKEN": "a-token-of-the-api"}
        deployment = Deployment(tmp_path_factory.mktemp("outside"), slack, pagerduty, workers=2, **tokens)
        yield deployment
        deployment.kill_everything()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def post_valid(deployment: Deployment) -> tuple[int, float]:
    """Post a webhook with its token; return the status and the seconds it took."""
    started = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", deployment.port, timeout=10)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
    try:
        connection.request("POST", "/webhooks/alertmanager", json.dumps(a_body("DiskFull")), headers)
        return connection.getresponse().status, time.monotonic() - started
    finally:
        connection.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Test some of the kinds, chosen by the commit, or all of them in an exhaustive run."""
    if "kind" in metafunc.fixturenames:
        kinds = list(ASKED)
        metafunc.parametrize("kind", kinds if is_exhaustive() else sample(kinds, SAMPLED, "refused bodies"))


def test_unauthenticated_bodies_that_do_not_end_block_no_valid_webhook(
    deployment: Deployment, kind: str
) -> None:
    line, header = ASKED[kind]
    head = line + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n" + header + b"\r\nx"
    crowd = []
    try:
        for _ in range(CROWD):
            client = socket.create_connection(("127.0.0.1", deployment.port), timeout=10)
            crowd.append(client)
            client.sendall(head)
        answers = [post_valid(deployment) for _ in range(RIGHT)]
    finally:
        for client in crowd:
            client.close()
    assert [status for status, _ in answers] == [200] * RIGHT
    assert sorted(duration_s for _, duration_s in answers)[-1 - RIGHT // 20] < 1.0
