"""The review: what a route's alerts did since the team last looked at them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from msgspec import Struct

from receiver.model.alert import Severity
from receiver.model.incident import Incident
from receiver.text import one_line

MAX_ITEMS = 50
MAX_IDS = 3
_MAX_NAME = 200
# Whoever takes an incident in may need some seconds to store it. Opened this shortly before the
# end of a review, it is left to the next one, so that each is in one review and none in no review.
STORING_S = 10.0


class ReviewItem(Struct, frozen=True, omit_defaults=True):
    """The alerts of one name: how many, how many of them still fire, and when one last began."""

    alertname: str
    severity: Severity  # the worst
    count: int
    still_firing: int
    last_at: float
    incident_ids: tuple[str, ...] = ()  # the newest few


class Review(Struct, frozen=True, omit_defaults=True):
    """A route's alerts from *since* to *until*, and those from before that still fired then.

    *items* come with what still fires first, then the most frequent; of further names only
    their number, their alerts and how many of these still fire are kept.
    """

    route: str
    channel: str
    since: float
    until: float
    items: tuple[ReviewItem, ...]
    more_names: int = 0
    more_alerts: int = 0
    more_firing: int = 0

    @property
    def count(self) -> int:
        return self.more_alerts + sum(item.count for item in self.items)

    @property
    def still_firing(self) -> int:
        return self.more_firing + sum(item.still_firing for item in self.items)


@dataclass
class _NameCount:
    """What was counted of one name so far."""

    alertname: str
    severity: Severity = Severity.NONE
    count: int = 0
    still_firing: int = 0
    last_at: float = 0.0
    incident_ids: tuple[str, ...] = ()

    def add_incident(self, incident: Incident, count: int, firing: int, until: float) -> None:
        self.severity = max(self.severity, incident.severity, key=lambda severity: severity.rank)
        self.count += count
        self.still_firing += firing
        self.last_at = max(self.last_at, _last_began_at(incident, until))
        self.incident_ids = (*self.incident_ids, incident.id)[:MAX_IDS]

    def build_item(self) -> ReviewItem:
        return ReviewItem(
            self.alertname, self.severity, self.count, self.still_firing, self.last_at, self.incident_ids
        )


def gather_review(
    incidents: Iterable[Incident], route: str, channel: str, since: float, until: float
) -> Review | None:
    """Return what there is to review on *route*; None when there is nothing.

    *incidents* come newest first and may be of any route and any time; they need no alerts and
    no deliveries. Memory is taken by names only.
    """
    name_counts: dict[str, _NameCount] = {}
    group_ids: set[str] = set()
    for incident in incidents:
        if incident.route != route:
            continue
        # What an older incident of the group says of its alerts is not kept up any more.
        firing = 0 if incident.group_id in group_ids else incident.firing
        group_ids.add(incident.group_id)
        is_new = since - STORING_S < _began_at(incident) <= until - STORING_S
        if is_new or (firing and not incident.is_resolved):
            name = one_line(incident.alertname, _MAX_NAME)
            name_count = name_counts.setdefault(name, _NameCount(name))
            name_count.add_incident(incident, incident.total if is_new else firing, firing, until)
    items = sorted((name_count.build_item() for name_count in name_counts.values()), key=_sort_key)
    rest = items[MAX_ITEMS:]
    if not items:
        return None
    return Review(
        route=route,
        channel=channel,
        since=since,
        until=until,
        items=tuple(items[:MAX_ITEMS]),
        more_names=len(rest),
        more_alerts=sum(item.count for item in rest),
        more_firing=sum(item.still_firing for item in rest),
    )


def _began_at(incident: Incident) -> float:
    return max(incident.opened_at, incident.reopened_at)


def _last_began_at(incident: Incident, until: float) -> float:
    """Return when its alerts last began to fire; a sender's clock may be ahead of ours."""
    starts = (min(alert_state.starts_at, until) for alert_state in incident.alert_states.values())
    return max(_began_at(incident), *starts)


def _sort_key(item: ReviewItem) -> tuple[bool, int, int, str]:
    return (not item.still_firing, -item.count, -item.severity.rank, item.alertname)
