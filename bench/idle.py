"""How long a webhook takes to become a request to Slack while nothing else is going on."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

from bench.load import build_requests, post
from bench.servers import ROUTING, receiver_whole
from bench.traffic import UNLIMITED
from tests.mocks.slack import MockSlack

SAMPLES = 200
PAUSE_S = (0.02, 0.05)
BUDGET_S = 30.0
ARRIVES_WITHIN_S = 10.0


def measure(folder: Path) -> list[float]:
    """Return the seconds from posting a new group to the arrival of its chat.postMessage at a mock Slack.

    One webhook after the other, until there are enough or the time is over.
    """
    routing = folder / "routing.yaml"
    routing.write_text(
        ROUTING.read_text().replace("[runbooks/]", f"[{ROUTING.parent / 'runbooks'}]") + f"\n{UNLIMITED}\n"
    )
    pauses = random.Random(1)
    with (
        MockSlack() as slack,
        receiver_whole(
            folder / "receiver", routing, SLACK_BOT_TOKEN="xoxb-bench", SLACK_API_URL=slack.url
        ) as port,
    ):
        requests = build_requests(1, (f"idle-{n}" for n in range(SAMPLES + 1)))
        _arrival(slack, port, requests[0])  # the first one opens the lines
        waits: list[float] = []
        ends_at = time.monotonic() + BUDGET_S
        for request in requests[1:]:
            if time.monotonic() > ends_at:
                break
            time.sleep(pauses.uniform(*PAUSE_S))
            waits.append(_arrival(slack, port, request))
    return waits


def _arrival(slack: MockSlack, port: int, request: bytes) -> float:
    """Post one new group; return after how many seconds the mock got its message."""
    posted_at = time.time()
    [incident_id] = json.loads(post(port, request))["incidents"]
    found: list[float] = []

    def is_there() -> bool:
        found.extend(
            call.at
            for call in slack.calls[-10:]
            if call.method == "chat.postMessage"
            and not call.arguments.get("thread_ts")
            and incident_id in json.dumps(call.arguments)
        )
        return bool(found)

    if not slack.wait_for(is_there, ARRIVES_WITHIN_S):
        raise RuntimeError(f"no message for {incident_id} within {ARRIVES_WITHIN_S:g} s")
    return found[0] - posted_at
