"""Budgets: how fast a vendor lets itself be called, and who goes first when more is wanted than that.

A budget is a token bucket: each call takes a token. Whoever finds none left waits in a queue by
*rank*, a moment: when it was first wanted, plus a handicap for what matters less. As time goes on
everybody's place comes, so nothing starves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from receiver.model.actions import AcknowledgePage, Action, Page, Post, Reply, ResolvePage, Update
from receiver.model.alert import Severity
from receiver.model.incident import Incident
from receiver.model.routing import SLACK

# Slack takes one message a second in a channel, and "short bursts": three is one incident with its replies.
# https://docs.slack.dev/apis/web-api/rate-limits
_POST_BURST = 3
# A limit for any minute allows what may go at once plus what comes in during that minute; so the part
# that may go at once is taken off the rest. Edits come in clusters, pages must go on coming.
_UPDATES_AT_ONCE = 1 / 5
_EVENTS_AT_ONCE = 1 / 10

# Handicaps, in seconds. Steps that are due go before all that is new, whatever its severity.
_DUE_STEP_S = -30.0
_PAGE_S = 0.0
_POST_S = 2.0
_ACKNOWLEDGE_PAGE_S = 10.0
_RESOLVE_PAGE_S = 15.0
# Beyond the first messages of every severity.
_RESOLVED_REPLY_S = 65.0
_REPLY_S = 70.0
_EDIT_S = 80.0
# Reviews and notices: behind all that is first said of an incident, and behind resolves.
LOW_PRIORITY_OFFSET_S = _REPLY_S
_SEVERITY_S = {
    Severity.CRITICAL: 0.0,
    Severity.ERROR: 10.0,
    Severity.WARNING: 30.0,
    Severity.INFO: 60.0,
    Severity.NONE: 60.0,
}


class CallRate(Protocol):
    """At most *count* calls in any *per_s* seconds."""

    @property
    def count(self) -> int: ...
    @property
    def per_s(self) -> float: ...


class VendorLimits(Protocol):
    """What the configuration says a vendor takes."""

    @property
    def slack_posts(self) -> CallRate: ...
    @property
    def slack_updates(self) -> CallRate: ...
    @property
    def pagerduty(self) -> CallRate: ...


@dataclass(frozen=True)
class TokenBucket:
    """One thing that is limited: *burst* tokens at most, *rate* new ones a second."""

    name: str
    burst: int
    rate: float


def find_bucket(action: Action, limits: VendorLimits) -> TokenBucket | None:
    """Return the bucket that *action* takes a token of; None for what nobody limits."""
    match action:
        case Update():
            return build_update_bucket(limits)
        case Post() | Reply():
            return build_post_bucket(action.target.address, limits)
        case Page(key_digest=key) | AcknowledgePage(key_digest=key) | ResolvePage(key_digest=key) if key:
            return _build_window_bucket(f"pagerduty:{key}", limits.pagerduty, _EVENTS_AT_ONCE)
    return None


def build_post_bucket(channel: str, limits: VendorLimits) -> TokenBucket:
    """Return the bucket of all new messages in a Slack channel, replies too."""
    rate = limits.slack_posts.count / limits.slack_posts.per_s
    return TokenBucket(f"slack:post:{channel}", max(_POST_BURST, int(rate)), rate)


def build_update_bucket(limits: VendorLimits) -> TokenBucket:
    """Return the bucket of all edits in the Slack workspace."""
    return _build_window_bucket("slack:update", limits.slack_updates, _UPDATES_AT_ONCE)


def _build_window_bucket(name: str, rate: CallRate, at_once: float) -> TokenBucket:
    """Return a bucket that gives no more than *rate* in any window, wherever that begins."""
    burst = max(1, int(rate.count * at_once))
    return TokenBucket(name, burst, max(1, rate.count - burst) / rate.per_s)


def priority_at(action: Action, incident: Incident, now: float) -> float:
    """Return the place in the queue, as a moment: the least goes first.

    It is when the action was first wanted (never later than *now*, lest a clock that was ahead makes
    it wait) plus its handicap. It follows from how the incident stands, so whoever comes again, late or
    from another worker, gets the same place.
    """
    wanted_at, priority_offset = _find_origin_and_offset(action, incident)
    return min(wanted_at, now) + priority_offset


def _find_origin_and_offset(action: Action, incident: Incident) -> tuple[float, float]:
    """Return when *action* was first wanted, and its handicap."""
    severity_offset = _SEVERITY_S[incident.severity]
    wanted_at, priority_offset = _changed_at(incident), _EDIT_S + severity_offset
    match action:
        case Page(step=step) | Reply(step=step) if step is not None:
            wanted_at, priority_offset = incident.run.started_at, _DUE_STEP_S
            if action.instance == "1" and step.after == 0:
                # Where nobody is mentioned, the reply only says that somebody was paged.
                wakes = isinstance(action, Page) or step.responder.find_target(SLACK)
                priority_offset = _PAGE_S + severity_offset if wakes else _REPLY_S
        case ResolvePage() if not incident.is_resolved:  # a step that is told anew waits for it
            wanted_at, priority_offset = incident.run.started_at, _DUE_STEP_S
        case ResolvePage():
            wanted_at, priority_offset = incident.resolved_at, _RESOLVE_PAGE_S
        case AcknowledgePage():
            wanted_at, priority_offset = incident.acknowledged_at, _ACKNOWLEDGE_PAGE_S
        case Post():
            wanted_at, priority_offset = incident.opened_at, _POST_S + severity_offset
        case Reply(reply_kind="resolved"):
            wanted_at, priority_offset = incident.resolved_at, _RESOLVED_REPLY_S
        case Reply():
            priority_offset = _REPLY_S
    return wanted_at, priority_offset


def is_initial(action: Action) -> bool:
    """Tell whether *action* is an incident's first message in its channel, or its first page."""
    if isinstance(action, Page):
        return action.instance == "1" and action.step.after == 0
    return isinstance(action, Post) and not action.replaces


def _changed_at(incident: Incident) -> float:
    """Return when the incident last became something that its message doesn't show yet, at the latest."""
    sent_at = (d.receipt.at for key, d in incident.deliveries.items() if d.receipt and key != "update")
    return max(incident.updated_at, max(sent_at, default=0.0))
