"""How many calls a second one worker makes to vendors that take 200 ms for each."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from bench.load import build_requests, post_all
from bench.servers import receiver_whole
from bench.traffic import UNLIMITED
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack
from tests.rig import KEYS

INCIDENTS = 400
ANSWER_S = 0.2
DELIVERED_WITHIN_S = 120.0
_ANY_NUMBER = 1_000_000
CHANNEL = "#alerts"
ROUTING = f"""
version: 1
responders:
  on-call: {{pagerduty: {{routing_key: "${{PAGERDUTY_ONCALL_KEY}}"}}}}
escalations:
  critical: [{{notify: on-call}}]
{UNLIMITED}
routes:
  - {{match: [], channel: "{CHANNEL}", escalation: critical}}
"""


@dataclass(frozen=True)
class Delivery:
    """Calls to each vendor, and the seconds from the first call to the last page or first message."""

    slack: int
    pagerduty: int
    took_s: float

    @property
    def rate(self) -> float:
        """Calls a second to both vendors together."""
        return (self.slack + self.pagerduty) / self.took_s


def measure(folder: Path) -> Delivery:
    """Open many incidents at once; return how the worker delivers their messages and pages."""
    routing = folder / "routing.yaml"
    routing.write_text(ROUTING)
    with MockSlack(channels=(CHANNEL,)) as slack, MockPagerDuty() as pagerduty:
        slack.hang(seconds=ANSWER_S, times=_ANY_NUMBER)
        pagerduty.hang(ANSWER_S, times=_ANY_NUMBER)
        environ = {
            "SLACK_BOT_TOKEN": "xoxb-bench",
            "SLACK_API_URL": slack.url,
            "PAGERDUTY_EVENTS_URL": pagerduty.url,
            **KEYS,
        }
        with receiver_whole(folder / "receiver", routing, **environ) as port:
            post_all(port, build_requests(1, (f"delivery-{n}" for n in range(INCIDENTS))))
            ends_at = time.monotonic() + DELIVERED_WITHIN_S
            while len(slack.parents) < INCIDENTS or len(pagerduty.requests) < INCIDENTS:
                if time.monotonic() > ends_at:
                    raise RuntimeError(f"{len(slack.parents)} messages, {len(pagerduty.requests)} pages")
                time.sleep(0.05)
            slack_at = [call.at for call in slack.calls]
            pages_at = [request.at for request in pagerduty.requests]
            took_s = max(slack_at + pages_at) - min(slack_at + pages_at)
            return Delivery(len(slack_at), len(pages_at), took_s)
