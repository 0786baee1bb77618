"""A long run with faults: does it grow, is it late, does it lose anything?

`python -m bench.soak [--minutes 10] [--rate 200] [--live 5000] [--seed 1]`, or `make soak`. A whole
`receiver run` between mock Slack and PagerDuty, with alerts that come, repeat and go; meanwhile processes
are killed and the mocks fail. What it prints at the end is what `docs/guarantees.md` quotes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from bench.faults import Faults
from bench.lateness import count_paged, find_lateness
from bench.meter import Meter, Reading
from bench.traffic import TEAMS, Traffic, build_routing
from tests.cli.running import Running, wait_until
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack
from tests.rig import KEYS

REST_WITHIN_S = 180.0
LATE_S = 1.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=200.0, help="webhooks a second")
    parser.add_argument("--live", type=int, default=5000, help="incidents open at any time")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    channels = tuple(f"#team-{team}" for team in range(TEAMS))
    with (
        tempfile.TemporaryDirectory(prefix="receiver-soak-") as folder,
        MockSlack(channels=channels) as slack,
        MockPagerDuty() as pagerduty,
    ):
        root = Path(folder)
        (root / "routing.yaml").write_text(build_routing())
        running = Running(
            root,
            "--workers",
            "2",
            SLACK_BOT_TOKEN="xoxb-soak",
            SLACK_API_URL=slack.url,
            PAGERDUTY_EVENTS_URL=pagerduty.url,
            **KEYS,
        )
        try:
            wait_until(running.is_ready, running.log)
            return _soak(asked, running, slack, pagerduty)
        finally:
            running.kill()


def _soak(asked: argparse.Namespace, running: Running, slack: MockSlack, pagerduty: MockPagerDuty) -> int:
    traffic = Traffic(running.address, asked.rate, asked.live, asked.seed)
    _print_line(f"opening {asked.live} incidents …")
    traffic.open_all()
    meter = Meter(running)
    _rest(slack, pagerduty)
    _print_line(f"{asked.minutes:g} minutes of {asked.rate:g} webhooks/s …")
    faults = Faults(running, slack, pagerduty, asked.seed)
    stopped = threading.Event()
    threads = [threading.Thread(target=run, args=(stopped,)) for run in (traffic.run, meter.run, faults.run)]
    for thread in threads:
        thread.start()
    time.sleep(asked.minutes * 60)
    stopped.set()
    for thread in threads:
        thread.join(60)
    slack.heal()
    _rest(slack, pagerduty)
    _print_load(traffic, faults)
    _print_growth(meter.readings)
    return _print_losses(traffic, slack) + _print_lateness(pagerduty, faults)


def _rest(slack: MockSlack, pagerduty: MockPagerDuty) -> None:
    """Wait until nothing came out for a while."""
    ends_at = time.monotonic() + REST_WITHIN_S
    before = -1
    while time.monotonic() < ends_at:
        came = len(slack.calls) + len(pagerduty.requests)
        if came == before:
            return
        before = came
        time.sleep(8)


def _print_load(traffic: Traffic, faults: Faults) -> None:
    waits = statistics.quantiles(traffic.waits, n=100)
    _print_line(
        f"{traffic.posted} webhooks ({traffic.opened} new, {traffic.ended} resolved, the rest repeats), "
        f"{traffic.refused} refused with 5xx or cut and sent again; "
        f"p50 {waits[49] * 1000:.1f} ms, p99 {waits[98] * 1000:.1f} ms"
    )
    _print_line("faults: " + ", ".join(f"{count} × {what}" for what, count in sorted(faults.counts.items())))


def _print_growth(readings: list[Reading]) -> None:
    """Compare the second fifth of the run with the last: the first still warms up."""
    fifth = max(1, len(readings) // 5)
    early, late = readings[fifth : 2 * fifth], readings[-fifth:]
    for name, unit in (("rss", "MiB in all processes"), ("keys", "keys"), ("used", "MiB in Valkey")):
        first, last = (statistics.median(getattr(r, name) for r in part) for part in (early, late))
        _print_line(f"{unit}: {first:.1f} early, {last:.1f} at the end ({(last / first - 1) * 100:+.1f} %)")


def _print_losses(traffic: Traffic, slack: MockSlack) -> int:
    is_open = traffic.ask_open()
    lost = sorted(traffic.live - is_open)
    left = sorted(is_open - traffic.live)
    notified: dict[str, int] = {}
    for parent in slack.parents:
        for name in traffic.find_names(parent.words):
            notified[name] = notified.get(name, 0) + 1
    unnotified = sorted(traffic.ever - set(notified))
    doubled = sum(count - 1 for count in notified.values())
    _print_line(
        f"open: {len(is_open)}; lost {len(lost)} {lost[:3]}; open though resolved {len(left)} {left[:3]}"
    )
    _print_line(
        f"without a message {len(unnotified)} {unnotified[:3]}; messages doubled {doubled} of {len(notified)}"
    )
    return len(lost) + len(left) + len(unnotified) + (doubled > len(notified) / 100)


def _print_lateness(pagerduty: MockPagerDuty, faults: Faults) -> int:
    """Say how late the second step was first tried after the first was notified, and after which fault."""
    steps = find_lateness(pagerduty)
    opened = Counter(incident.dedup_key for incident in pagerduty.opened())
    doubled = sum(count - 1 for count in opened.values())
    late = [step.by_s for step in steps]
    share = statistics.quantiles(late, n=100) if len(late) > 1 else [0.0] * 99
    _print_line(
        f"{count_paged(pagerduty)} incidents paged, {len(late)} escalated, {doubled} PagerDuty incidents "
        f"doubled; second step late by p50 {share[49]:.3f} s, p99 {share[98]:.3f} s (aim < {LATE_S:g} s)"
    )
    why = Counter(faults.find_last(step.tried_at) for step in steps if step.by_s >= LATE_S)
    notified = ", ".join(f"{count} after {what}" for what, count in why.most_common())
    _print_line(f"later than {LATE_S:g} s: {notified or 'none'}")
    return doubled + (share[98] >= LATE_S)


def _print_line(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
