"""Every Redis key: its name, its type, and when it goes.

All keys that one atomic step touches carry the same hash tag `{n}`, the shard's number, so they
lie on one node of a Redis Cluster. A group's shard follows from its slot; a single Redis has
one shard. What is kept for ever is what is still open, and bounded by it.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

# What is done once, or again and again, for no single incident.
TASKS = "tasks"
QUEUES = ("slack", "pagerduty", "alertmanager", TASKS)
# Over so many shards a cluster spreads what it keeps. What is kept is found by this number, so it is the
# same in all processes and versions, for ever; nodes beyond it stay empty.
CLUSTER_SHARDS = 16
# Repeats of a webhook come within two days at most, nearly all within minutes.
JOB_FOR_S = 2 * 86400
# Deliveries of simulated channels, for the page: a list, capped, gone after a week.
SIMULATED = "rcv:simulated"
SIMULATED_LIMIT = 500
SIMULATED_FOR_S = 7 * 86400
# Workers by their last beat, by Redis' own clock: a sorted set, gone when all have been silent for an hour.
WORKERS = "rcv:workers"
WORKERS_FOR_S = 3600
# Where workers are told `QUEUE MOMENT`: a channel of publish and subscribe, nothing is kept.
WAKE = "rcv:wake"
# A route's reviews are kept this long after the last one; a route that is in use has one each business day.
REVIEWS_FOR_S = 400 * 86400
# The maintenance switch: a string, gone a day after its end; and under which name that was told: a string,
# kept longer than any maintenance lasts.
MAINTENANCE = "rcv:maintenance"
MAINTENANCE_FOR_S = 86400
MAINTENANCE_ANNOUNCED = "rcv:maintenance:announced"
MAINTENANCE_ANNOUNCED_FOR_S = 30 * 86400
# The last beat of each heartbeat from each source, and after which of them the next was missing: hashes,
# gone when no beat has come for so long.
HEARTBEATS = "rcv:heartbeats"
HEARTBEATS_MISSED = "rcv:heartbeats:missed"
# A hash: when each source's first beat came.
HEARTBEATS_FIRST = "rcv:heartbeats:first"
HEARTBEATS_FOR_S = 400 * 86400
# Since when we have listened for beats: a hash, written twice a minute.
HEARTBEAT_UPTIME = "rcv:heartbeats:uptime"
HEARTBEAT_UPTIME_FOR_S = 86400
# By how much the clock of each process is ahead of Redis' own: a hash, gone two minutes after the last note.
CLOCKS = "rcv:clocks"
CLOCKS_FOR_S = 120
# When something last arrived at each place, and when it did not: a hash, gone after a week without either.
HEALTH = "rcv:health"
HEALTH_FOR_S = 7 * 86400
# When the last webhook of each source came: a hash, capped, gone when none has come for so long.
LAST_WEBHOOKS = "rcv:webhooks"
LAST_WEBHOOKS_FOR_S = 400 * 86400
# Processes that go on with an old configuration, as they refused a new one: a hash, gone unless saved again.
CONFIG_REFUSED = "rcv:config:refused"
CONFIG_REFUSED_FOR_S = 10
# That a trouble was said is remembered for so long; a retry that fails again says nothing new.
NOTICE_FOR_S = 14 * 86400
# Each timeline is capped: an incident that flaps for a month must not fill the memory.
TIMELINE_LIMIT = 500


@dataclass(frozen=True)
class Keys:
    """The keys of one shard."""

    shard: int

    def _name(self, *parts: str) -> str:
        return ":".join((f"rcv:{{{self.shard}}}", *parts))

    def incident(self, group_id: str) -> str:
        """A hash: the group's latest incident. No expiry while open, `history` once closed."""
        return self._name("incident", group_id)

    def past_incident(self, incident_id: str) -> str:
        """A hash: an incident whose group has a newer one. Expires after `history`."""
        return self._name("past-incident", incident_id)

    def timeline(self, incident_id: str) -> str:
        """A list of packed events, capped. Expires as its incident does."""
        return self._name("timeline", incident_id)

    def alert_owners(self, group_family: str) -> str:
        """A hash: the slot that has each alert, and on several shards when it was claimed. It holds what
        fires, and what ended a short while ago. Expires `history` after it was last written, as it is with
        every change, and with a repeat each quarter of an hour; soon after the end of all that was in it.
        """
        return self._name("alert-owners", group_family)

    def ended_alert_owners(self, group_family: str) -> str:
        """A sorted set: alerts that ended, by when their homes are forgotten. Expires as the homes do."""
        return self._name("ended-alert-owners", group_family)

    def job(self, name: str) -> str:
        """A string: what came in and is to be worked on, or that it came. Expires in two days at most."""
        return self._name("job", name)

    def reviews(self, group_id: str) -> str:
        """A hash: how a route's reviews stand. Expires 400 days after it was last written."""
        return self._name("reviews", group_id)

    def notice(self, name: str) -> str:
        """A hash: when a notice was said last, and how many came since. Expires after two weeks."""
        return self._name("notice", name)

    @property
    def notices(self) -> str:
        """A hash: notices that are to be posted. Expires a day after the last was put."""
        return self._name("notices")

    @property
    def notice_message(self) -> str:
        """A string: how the message with notices stands. Expires two weeks after it was written."""
        return self._name("notice-message")

    @property
    def probe(self) -> str:
        """A string: shows that the shard takes writes. Expires in a minute."""
        return self._name("probe")

    def storm(self, storm_id: str) -> str:
        """A hash: a storm. No expiry until it is resolved, `history` from then on."""
        return self._name("storm", storm_id)

    def storm_members(self, storm_id: str) -> str:
        """A hash: the incidents that a storm speaks for, capped. Expires as its storm does."""
        return self._name("storm-members", storm_id)

    @property
    def active_storms(self) -> str:
        """A hash: the storm that is on at each place. No expiry: it holds what is on."""
        return self._name("storms", "active")

    @property
    def unresolved_storms(self) -> str:
        """A sorted set: unresolved storms by when they began. No expiry: it holds what is open."""
        return self._name("storms", "unresolved")

    @property
    def open(self) -> str:
        """A sorted set: open incidents by when they opened. No expiry: it holds what is open."""
        return self._name("open")

    @property
    def closed(self) -> str:
        """A sorted set: closed incidents by when they opened. Expires `history` after the last closing."""
        return self._name("closed")

    @property
    def failed(self) -> str:
        """A sorted set: deliveries given up, by when. Expires `history` after the last of them."""
        return self._name("failed")

    def queue(self, queue: str) -> str:
        """A sorted set: incidents by the moment to look at them, by Redis' own clock. No expiry: it holds
        what is due.
        """
        return self._name("queue", queue)

    def incoming(self, queue: str, severity: str) -> str:
        """A sorted set: incidents that news came of, by when. No expiry: it holds what is due."""
        return self._name("queue", queue, severity)

    def leases(self, queue: str) -> str:
        """A sorted set: incidents lent to a worker, by when the loan ends by Redis' own clock. No expiry: a
        dead worker's loans are found by their moment.
        """
        return self._name("leases", queue)

    def lease_owners(self, queue: str) -> str:
        """A hash: which worker each lent incident is lent to. Goes with the claims."""
        return self._name("lease-owners", queue)


@dataclass(frozen=True)
class TokenBucketKeys:
    """The keys of one budget. All expire when nobody asked for hours."""

    bucket: str

    def _name(self, part: str) -> str:
        return f"rcv:{{{self.bucket}}}:bucket:{part}"

    @property
    def state(self) -> str:
        """A hash: tokens left, when that was counted, and until when nobody goes."""
        return self._name("state")

    @property
    def waiters(self) -> str:
        """A sorted set: who waits, by rank."""
        return self._name("waiters")

    @property
    def waiter_deadlines(self) -> str:
        """A sorted set: who waits, by the moment after which nobody waits for them."""
        return self._name("waiter-deadlines")

    @property
    def initial_waiters(self) -> str:
        """A sorted set: who waits for an incident's first message or page, by rank."""
        return self._name("initial-waiters")


def shard_of(group_id: str, shards: int) -> int:
    """Return the shard on which a group lies."""
    return zlib.crc32(group_id.encode()) % shards if shards > 1 else 0
