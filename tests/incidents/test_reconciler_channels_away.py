"""An unavailable channel is logged once for its queue, however many incidents wait for it."""

from __future__ import annotations

import json

from tests.rig import Rig
from tests.support.log_lines import written_log


def failures(text: str) -> list[tuple[str, str]]:
    """Return channel and reason of each failed delivery in the log."""
    lines = [json.loads(line) for line in text.splitlines()]
    failed = [line for line in lines if line["event"] == "not delivered"]
    return sorted((line["target"].partition(":")[0], line["reason"]) for line in failed)


def test_an_outage_of_slack_and_pagerduty_is_one_log_line_each(rig: Rig) -> None:
    with written_log() as log:
        rig.slack.fail_next("chat.postMessage", status=503, times=100)
        rig.pagerduty.fail_next(status=503, times=100)
        for n in range(5):
            rig.fires(f"Disk{n}", severity="critical")
        rig.passes("30s")
    assert failures(log.getvalue()) == [("pagerduty", "server_error"), ("slack", "internal_error")]


def test_a_permanent_failure_is_always_logged(rig: Rig) -> None:
    with written_log() as log:
        rig.pagerduty.fail_next(status=400, times=100)
        for n in range(3):
            rig.fires(f"Disk{n}", severity="critical")
    assert len(failures(log.getvalue())) == 3
