"""Homes of alerts in Redis: which slot has each alert that fires, or did a short while ago.

On one shard the script that writes an incident keeps them. On several the incident and the homes of its
alerts lie apart: there each alert is claimed first, on the shard that follows from its neighbourhood and
itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from redis.exceptions import RedisError

from receiver.domain.ports import OwnerReading, UpdateRefusal
from receiver.errors import StoreError
from receiver.model.incident import IncidentUpdate, VersionedIncident
from receiver.model.owners import CLAIM_FOR_S, AlertOwner, Claim, find_ownership_changes, group_family_of
from receiver.storage.connection import ScriptCall, Scripts, store_errors
from receiver.storage.keys import Keys, shard_of
from receiver.store import codec

# Processes and Redis may differ in what time it is: the index keeps a home somewhat longer than it counts.
_CLOCKS_DIFFER_S = 60


class RedisAlertOwners:
    """Finds, claims and leaves homes. Raises StoreError when Redis can't."""

    def __init__(self, scripts: Scripts, *, history_s: int, flap_window_s: float, shards: int) -> None:
        self._scripts = scripts
        self._history_s = history_s
        self._shards = shards
        # How long after its end an alert is looked for where it was.
        self.kept_after_end_s = math.ceil(flap_window_s) + _CLOCKS_DIFFER_S

    def find_owners(self, group_ids: Sequence[str], claims: Sequence[Claim]) -> OwnerReading:
        """On one shard, return what *group_ids* hold, who owns the alerts, and what is held there."""
        keys, by_family = Keys(0), _sort_claims(claims, 1)
        calls: list[ScriptCall] = [("group_read", [keys.incident(group_id)], []) for group_id in group_ids]
        for (family, _), asked in by_family.items():
            names = [claim.fingerprint for claim in asked]
            calls.append(("home_find", [keys.alert_owners(family), keys.incident("")], names))
        with store_errors():
            answers = self._scripts.run_each(calls)
        loaded = {
            group_id: _parse_loaded(group_id, row) for group_id, row in zip(group_ids, answers, strict=False)
        }
        owners: dict[tuple[str, str], AlertOwner] = {}
        for (family, _), answer in zip(by_family, answers[len(group_ids) :], strict=True):
            found = parse_refusal(answer)
            owners |= {(family, name): owner for name, owner in found.owners.items()}
            loaded = {**found.loaded, **loaded}
        return OwnerReading(loaded, owners)

    def claim_alerts(self, group_ids: Sequence[str], claims: Sequence[Claim]) -> OwnerReading:
        """Make *claims*, one after the other on each shard, and return what *group_ids* hold beside."""
        by_family = _sort_claims(claims, self._shards)
        calls: list[ScriptCall] = [
            ("group_read", [Keys(shard_of(group_id, self._shards)).incident(group_id)], [])
            for group_id in group_ids
        ]
        for (family, shard), asked in by_family.items():
            keys = Keys(shard)
            words = [word for one in asked for word in (one.fingerprint, one.group_id, one.former_claim_id)]
            calls.append(
                (
                    "home_claim",
                    [keys.alert_owners(family), keys.ended_alert_owners(family)],
                    [self._history_s, *words],
                )
            )
        with store_errors():
            answers = self._scripts.run_each(calls, raise_on_error=False)
        loaded = {}
        for group_id, answer in zip(group_ids, answers, strict=False):
            with store_errors():
                loaded[group_id] = _parse_loaded(group_id, _raise_if_error(answer))
        owners: dict[tuple[str, str], AlertOwner] = {}
        fault: StoreError | None = None
        for ((family, _), asked), answer in zip(by_family.items(), answers[len(group_ids) :], strict=True):
            try:
                with store_errors():
                    row = _raise_if_error(answer)
            except StoreError as error:  # what fires in its own slot need not wait for that server
                fault = fault or error
                continue
            for one, claim_id, age in zip(asked, row[::2], row[1::2], strict=True):
                if claim_id:
                    group_id = claim_id.decode().partition(" ")[0]
                    owners[family, one.fingerprint] = AlertOwner(group_id, claim_id.decode(), age / 1000)
        return OwnerReading(loaded, owners, fault)

    def release_alerts(self, updates: Iterable[IncidentUpdate]) -> None:
        """Have the homes of what ended with *updates* forgotten after a while, on several shards.

        Where that fails they stay until their alert fires and ends again. The incident that a home names is
        read before it is believed.
        """
        calls: list[ScriptCall] = []
        for update in updates:
            incident, group_id = update.change.incident, update.loaded.group_id
            if incident is None:
                continue
            family = group_family_of(incident.source, incident.route)
            ended = [
                Claim(family, name) for name in find_ownership_changes(update.loaded.incident, incident).ended
            ]
            for (_, shard), claims in _sort_claims(ended, self._shards).items():
                keys, names = Keys(shard), [claim.fingerprint for claim in claims]
                args = [group_id, int(CLAIM_FOR_S * 1000), self.kept_after_end_s, *names]
                calls.append(
                    ("home_leave", [keys.alert_owners(family), keys.ended_alert_owners(family)], args)
                )
        if calls:
            with suppress(RedisError, OSError):
                self._scripts.run_each(calls, raise_on_error=False)


def parse_refusal(answer: Any) -> UpdateRefusal:
    """Return the homes in a script's answer, and what they hold; an answer of 0 has none."""
    if not isinstance(answer, list):
        return UpdateRefusal()
    pairs, *rows = answer
    owners = {
        name.decode(): AlertOwner(group_id.decode())
        for name, group_id in zip(pairs[::2], pairs[1::2], strict=True)
    }
    loaded = {}
    for name, version, head in zip(rows[::3], rows[1::3], rows[2::3], strict=True):
        loaded[name.decode()] = _parse_loaded(name.decode(), (version, head, 0))
    return UpdateRefusal(owners, loaded)


def _parse_loaded(group_id: str, row: Sequence[Any]) -> VersionedIncident:
    version, head, moment = row
    return VersionedIncident(
        group_id, codec.decode_incident(head) if head else None, int(version), int(moment)
    )


def _raise_if_error(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


def _sort_claims(claims: Iterable[Claim], shards: int) -> dict[tuple[str, int], list[Claim]]:
    """Return *claims* by neighbourhood and shard, each alert once."""
    found: dict[tuple[str, int], dict[str, Claim]] = {}
    for claim in claims:
        shard = shard_of(f"{claim.group_family} {claim.fingerprint}", shards)
        found.setdefault((claim.group_family, shard), {}).setdefault(claim.fingerprint, claim)
    return {where: list(asked.values()) for where, asked in found.items()}
