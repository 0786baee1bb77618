"""All Redis keys: name, type and expiry.

All keys that one script uses have the same hash tag `{n}`, the number of the shard, so they lie on one node
of a Redis Cluster. The shard of a group is a hash of its group ID; a single Redis has one shard. Keys without
expiry hold only what is open or active.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

# The queue of jobs and periodic tasks.
TASKS = "tasks"
# Number of shards in a Redis Cluster. It determines the key names, so it must be the same in all processes
# and never change; more nodes than this stay empty.
CLUSTER_SHARDS = 16
# Repeats of a webhook come within two days at most, nearly all within minutes.
JOB_FOR_S = 2 * 86400
# Messages of simulated channels, for the web page: a list, capped, expires after a week.
SIMULATED = "rcv:simulated"
SIMULATED_LIMIT = 500
SIMULATED_FOR_S = 7 * 86400
# Workers by their last heartbeat (Redis' own clock): a sorted set, expires after an hour without heartbeats.
WORKERS = "rcv:workers"
WORKERS_FOR_S = 3600
# Wake-ups of workers, `QUEUE TIME`: a pub/sub channel, nothing is stored.
WAKE = "rcv:wake"
# Expiry of a route's reviews after the last one; a route in use has one each business day.
REVIEWS_FOR_S = 400 * 86400
# The maintenance: a string, expires a day after its end. The name of the announced maintenance: a string,
# kept longer than any maintenance lasts.
MAINTENANCE = "rcv:maintenance"
MAINTENANCE_FOR_S = 86400
MAINTENANCE_ANNOUNCED = "rcv:maintenance:announced"
MAINTENANCE_ANNOUNCED_FOR_S = 30 * 86400
# The last signal of each heartbeat from each source, and the last signal before a reported miss: hashes,
# expire when no signal has arrived for this long.
HEARTBEATS = "rcv:heartbeats"
HEARTBEATS_MISSED = "rcv:heartbeats:missed"
# A hash: time of the first signal from each source.
HEARTBEATS_FIRST = "rcv:heartbeats:first"
HEARTBEATS_FOR_S = 400 * 86400
# Since when the receiver has been able to receive heartbeats: a hash, written twice a minute.
HEARTBEAT_UPTIME = "rcv:heartbeats:uptime"
HEARTBEAT_UPTIME_FOR_S = 86400
# By how much the clock of each process is ahead of Redis' own: a hash, expires after two minutes.
CLOCKS = "rcv:clocks"
CLOCKS_FOR_S = 120
# The last success and failure of deliveries to each target: a hash, expires after a week without deliveries.
HEALTH = "rcv:health"
HEALTH_FOR_S = 7 * 86400
# Time of the last webhook from each source: a hash, capped, expires when none has arrived for this long.
LAST_WEBHOOKS = "rcv:webhooks"
LAST_WEBHOOKS_FOR_S = 400 * 86400
# Processes that refused a new configuration and run the old one: a hash, expires unless written again.
CONFIG_REFUSED = "rcv:config:refused"
CONFIG_REFUSED_FOR_S = 10
# A posted notice is remembered for this long, so that a retry that fails again posts no second one.
NOTICE_FOR_S = 14 * 86400
# The log of changes is capped, and expires after a day without a change: a reader that finds a gap reads all
# open incidents instead.
CHANGES_LIMIT = 2000
CHANGES_FOR_S = 86400
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
        """A hash: the group ID of each alert's owner, on several shards with the time of the claim. It holds
        alerts that fire or ended a short while ago. Expires `history` after the last write, which happens
        with every change, and with a duplicate every 15 minutes; soon after all its alerts have ended.
        """
        return self._name("alert-owners", group_family)

    def ended_alert_owners(self, group_family: str) -> str:
        """A sorted set: ended alerts by the time when their owners are dropped. Expires with the owners."""
        return self._name("ended-alert-owners", group_family)

    def job(self, name: str) -> str:
        """A string: a pending job, or a marker that it is known. Expires in two days at most."""
        return self._name("job", name)

    def reviews(self, group_id: str) -> str:
        """A hash: the state of a route's reviews. Expires 400 days after the last write."""
        return self._name("reviews", group_id)

    def notice(self, name: str) -> str:
        """A hash: when a notice was last posted, and how many came since. Expires after two weeks."""
        return self._name("notice", name)

    @property
    def notices(self) -> str:
        """A hash: notices to be posted. Expires a day after the last one was added."""
        return self._name("notices")

    @property
    def notice_message(self) -> str:
        """A string: the state of the message with notices. Expires two weeks after the last write."""
        return self._name("notice-message")

    @property
    def probe(self) -> str:
        """A string: written to test that the shard accepts writes. Expires in a minute."""
        return self._name("probe")

    def storm(self, storm_id: str) -> str:
        """A hash: a storm. No expiry until it is resolved, then `history`."""
        return self._name("storm", storm_id)

    def storm_members(self, storm_id: str) -> str:
        """A hash: the incidents that a storm bundles, capped. Expires as its storm does."""
        return self._name("storm-members", storm_id)

    @property
    def active_storms(self) -> str:
        """A hash: the active storm of each target. No expiry: it holds only active storms."""
        return self._name("storms", "active")

    @property
    def unresolved_storms(self) -> str:
        """A sorted set: unresolved storms by start time. No expiry: it holds only unresolved storms."""
        return self._name("storms", "unresolved")

    @property
    def open(self) -> str:
        """A sorted set: open incidents by opening time. No expiry: it holds only open incidents."""
        return self._name("open")

    @property
    def changes(self) -> str:
        """A stream, capped: the IDs of changed incidents. Expires a day after the last change."""
        return self._name("changes")

    @property
    def closed(self) -> str:
        """A sorted set: closed incidents by opening time. Expires `history` after the last one closed."""
        return self._name("closed")

    @property
    def failed(self) -> str:
        """A sorted set: failed deliveries by time of failure. Expires `history` after the last one."""
        return self._name("failed")

    def queue(self, queue: str) -> str:
        """A sorted set: incidents by due time (Redis' own clock). No expiry: it holds pending entries."""
        return self._name("queue", queue)

    def incoming(self, queue: str, severity: str) -> str:
        """A sorted set: incidents with incoming changes, by arrival. No expiry: it holds pending entries."""
        return self._name("queue", queue, severity)

    def leases(self, queue: str) -> str:
        """A sorted set: leased incidents by the end of the lease (Redis' own clock). No expiry: the expired
        leases of a dead worker are found by their score.
        """
        return self._name("leases", queue)

    def lease_owners(self, queue: str) -> str:
        """A hash: the worker that holds the lease of each incident. Fields are removed with the leases."""
        return self._name("lease-owners", queue)


@dataclass(frozen=True)
class TokenBucketKeys:
    """The keys of one token bucket. All expire after some hours without a request."""

    bucket: str

    def _name(self, part: str) -> str:
        return f"rcv:{{{self.bucket}}}:bucket:{part}"

    @property
    def state(self) -> str:
        """A hash: tokens left, when they were counted, and the end of a pause."""
        return self._name("state")

    @property
    def waiters(self) -> str:
        """A sorted set: waiting callers by priority."""
        return self._name("waiters")

    @property
    def waiter_deadlines(self) -> str:
        """A sorted set: waiting callers by the time after which they lose their place."""
        return self._name("waiter-deadlines")

    @property
    def initial_waiters(self) -> str:
        """A sorted set: callers that wait to send an incident's first message or page, by priority."""
        return self._name("initial-waiters")


def shard_of(group_id: str, shards: int) -> int:
    """Return the number of the shard that holds a group; 0 if there is only one shard."""
    return zlib.crc32(group_id.encode()) % shards if shards > 1 else 0
