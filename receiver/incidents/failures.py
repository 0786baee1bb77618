"""Deliveries that failed permanently: their IDs, their list in Redis, and sending them again.

They are sent again by request, or by the periodic task `refused` after their credentials were changed.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from receiver.errors import NotFound, RefusalKind
from receiver.incidents import codec
from receiver.incidents.codec import DELIVERY
from receiver.incidents.queries import Entry, list_entries
from receiver.incidents.store import RedisIncidents
from receiver.model.delivery import Delivery
from receiver.model.incident import Incident, Person, TimelineEvent
from receiver.model.routing import PAGERDUTY, find_digest
from receiver.storage.connection import Client, Scripts, store_errors
from receiver.storage.keys import TIMELINE_LIMIT, WAKE, Keys

logger = logging.getLogger(__name__)
TASK_NAME = "refused"
# A reload runs the task at once. It may run on a host that has not reloaded yet, so it is repeated.
_EVERY_S = 30.0
_PAGE = 200
_PAGES = 50


@dataclass(frozen=True)
class Failure:
    """A delivery of an incident, with the incident's head. It may have been sent in between."""

    incident: Incident
    key: str
    delivery: Delivery

    @property
    def id(self) -> str:
        return delivery_id(self.incident.id, self.key)


def delivery_id(incident_id: str, key: str) -> str:
    """Return the ID of a delivery for URLs; a key may have characters that URLs do not allow."""
    return f"{incident_id}.{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def queue_for(delivery: Delivery) -> str:
    """Return the queue of a delivery: the kind of its target."""
    return delivery.target.partition(":")[0]


def has_new_credentials(failure: Failure, digests: Mapping[str, str]) -> bool:
    """Return whether a delivery was refused for credentials that have changed since, by their *digests*.

    False for PagerDuty events of a past incident: its dedup key is also that of the group's latest incident,
    and an old resolve would close the page of that one.
    """
    is_former_page = failure.incident.is_past and queue_for(failure.delivery) == PAGERDUTY
    return not is_former_page and is_refused_under_former(failure.delivery, digests)


def is_refused_under_former(delivery: Delivery, digests: Mapping[str, str]) -> bool:
    """Return whether *delivery* was refused for its credentials, and the configuration has others now."""
    if not delivery.failed_at or delivery.kind != RefusalKind.CREDENTIALS:
        return False
    digest = find_digest(digests, delivery.target)
    return bool(digest) and digest != delivery.refused_under


def retry_with_new_credentials(failure: Failure, now: float) -> tuple[Delivery, TimelineEvent]:
    """Return the delivery as pending, to be sent with the new credentials, and its timeline event."""
    text = f"Other credentials: sending {failure.key} to {failure.delivery.target} again"
    return failure.delivery.with_retry_allowed(), TimelineEvent(now, "retried", text)


def retry_by_request(failure: Failure, by: Person, now: float) -> tuple[Delivery, TimelineEvent]:
    """Return the delivery as pending, and the timeline event that names *by*.

    If an earlier attempt may have arrived, the channel is asked first. If the plan no longer wants the
    delivery, it is not sent.
    """
    delivery = failure.delivery.with_retry_allowed()
    text = f"Asked to send {failure.key} to {delivery.target} again"
    return delivery, TimelineEvent(now, "retried", text, by=by.name, via=by.via)


@dataclass(frozen=True)
class StoredFailurePage:
    """A page of the failed deliveries, newest first, and the cursor of the next page."""

    failures: tuple[Failure, ...]
    next_cursor: str | None


class RedisFailures:
    """Lists failed deliveries and sends them again. Every method raises StoreError if Redis fails."""

    def __init__(self, client: Client, incidents: RedisIncidents, *, shards: int = 1) -> None:
        self._redis = client
        self._scripts = Scripts(client)
        self._incidents = incidents
        self._shards = shards

    def list_failures(self, limit: int, cursor: str = "") -> StoredFailurePage:
        """Return the deliveries that failed permanently and were not sent since, newest first.

        Entries whose incident no longer exists are removed from the index.
        """
        found: list[Failure] = []
        position = _parse_cursor(cursor)
        while entries := self._list_entries(position, limit + 1 - len(found)):
            for entry, failure in zip(entries, self._load_failures(entries), strict=True):
                if len(found) == limit:
                    return StoredFailurePage(tuple(found), _format_cursor(position))
                position = entry
                if failure is not None:
                    found.append(failure)
        return StoredFailurePage(tuple(found), None)

    def count_failures(self) -> int:
        """Return how many deliveries failed permanently and were not sent since."""
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            for keys in map(Keys, range(self._shards)):
                pipe.zcard(keys.failed)
            return sum(map(int, pipe.execute()))

    def get_failure(self, failure_id: str) -> Failure:
        """Return the delivery of that ID, failed or not. Raises NotFound."""
        incident_id = failure_id.partition(".")[0]
        try:
            incident = self._incidents.load_incident(incident_id)
        except NotFound:
            raise NotFound("delivery", failure_id) from None
        for key, delivery in incident.deliveries.items():
            if delivery_id(incident_id, key) == failure_id:
                return Failure(incident, key, delivery)
        raise NotFound("delivery", failure_id)

    def retry_delivery(self, failure: Failure, again: Delivery, event: TimelineEvent, now: float) -> bool:
        """Replace the failed delivery by *again*, and wake its queue; False if it is no longer failed."""
        incident_id, queue = failure.incident.id, queue_for(again)
        group_id = incident_id.partition("-")[0]
        keys = self._incidents.keys_of(group_id)
        hashes = (keys.incident(group_id), keys.past_incident(incident_id), keys.timeline(incident_id))
        failed_at, due = f"{failure.delivery.failed_at:.3f}", self._incidents.script_clock.format_time(now)
        stored = (DELIVERY + failure.key.encode(), failed_at, codec.encode(again), codec.encode(event))
        with store_errors():
            reply = self._scripts.run_script(
                "retry_delivery",
                [*hashes, keys.failed, keys.queue(queue), keys.changes],
                [incident_id, *stored, TIMELINE_LIMIT, due, WAKE, queue],
            )
        return bool(reply)

    def _list_entries(self, after: Entry | None, count: int) -> list[Entry]:
        """Return index entries older than *after*, newest first."""
        indexes, ties = [keys.failed for keys in map(Keys, range(self._shards))], 0
        if after is not None:  # any number of deliveries may have failed at the same time
            score = f"{after[0]:.3f}"
            with store_errors(), self._redis.pipeline(transaction=False) as pipe:
                for index in indexes:
                    pipe.zcount(index, score, score)
                ties = max(pipe.execute())
        return list_entries(self._redis, indexes, after, count, ties=ties)

    def _load_failures(self, entries: list[Entry]) -> list[Failure | None]:
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            for _, member in entries:
                incident_id, _, field = member.partition(" ")
                keys, group_id = self._keys(member), incident_id.partition("-")[0]
                pipe.hmget(keys.incident(group_id), "id", "head", field.encode())
                pipe.hmget(keys.past_incident(incident_id), "id", "head", field.encode())
            rows = pipe.execute()
        return [
            self._unpack_failure(entry[1], latest, past)
            for entry, latest, past in zip(entries, rows[::2], rows[1::2], strict=True)
        ]

    def _unpack_failure(
        self, member: str, latest: list[bytes | None], past: list[bytes | None]
    ) -> Failure | None:
        incident_id, _, field = member.partition(" ")
        is_past = latest[0] != incident_id.encode()
        known, head, packed = past if is_past else latest
        if known is None or head is None or packed is None:
            with store_errors():
                self._redis.zrem(self._keys(member).failed, member)
            return None
        key = field.removeprefix(DELIVERY.decode())
        incident = replace(codec.decode_incident(head), is_past=is_past)
        return Failure(incident, key, codec.decode_delivery(packed))

    def _keys(self, member: str) -> Keys:
        return self._incidents.keys_of(member.partition("-")[0])


def _format_cursor(entry: Entry | None) -> str | None:
    """Return the cursor after *entry*; the field is in hex, since URLs do not allow all its characters."""
    if entry is None:
        return None
    incident_id, _, field = entry[1].partition(" ")
    return f"{entry[0]:.3f}_{incident_id}_{field.encode().hex()}"


def _parse_cursor(cursor: str) -> Entry | None:
    if not cursor:
        return None
    try:
        score, incident_id, field = cursor.split("_")
        return float(score), f"{incident_id} {bytes.fromhex(field).decode('utf-8', 'replace')}"
    except ValueError:
        raise NotFound("cursor", cursor) from None


@dataclass(frozen=True)
class RefusedDeliveries:
    """Periodic task that sends refused deliveries again after their credentials have changed.

    *digests* are the digests of the configured secrets by target. A delivery that is refused again records
    the new digest, so each secret is tried once.
    """

    failures: RedisFailures
    digests: Mapping[str, str]

    def retry_refused(self, now: float) -> float:
        """Send again what has new credentials; return the time of the next run. Raises StoreError."""
        cursor, count = "", 0
        for _ in range(_PAGES):
            page = self.failures.list_failures(_PAGE, cursor)
            for failure in page.failures:
                if has_new_credentials(failure, self.digests):
                    again, event = retry_with_new_credentials(failure, now)
                    count += self.failures.retry_delivery(failure, again, event, now)
            if page.next_cursor is None:
                break
            cursor = page.next_cursor
        if count:
            logger.info("credentials changed: sent again", extra={"fields": {"deliveries": count}})
        return now + _EVERY_S
