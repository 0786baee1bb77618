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

from receiver.domain.homes import CLAIM_FOR_S, neighbourhood_of, tell_moves
from receiver.domain.ports import Claim, Held, Home, Reading, Refusal, Write
from receiver.errors import StoreError
from receiver.store import codec
from receiver.store.connection import Call, Scripts, store_errors
from receiver.store.keys import Keys, shard_of

# Processes and Redis may differ in what time it is: the index keeps a home somewhat longer than it counts.
_CLOCKS_DIFFER_S = 60


class RedisHomes:
    """Finds, claims and leaves homes. Raises StoreError when Redis can't."""

    def __init__(self, scripts: Scripts, *, history_s: int, flap_window_s: float, shards: int) -> None:
        self._scripts = scripts
        self._history_s = history_s
        self._shards = shards
        # How long after its end an alert is looked for where it was.
        self.left_for_s = math.ceil(flap_window_s) + _CLOCKS_DIFFER_S

    def find(self, slots: Sequence[str], claims: Sequence[Claim]) -> Reading:
        """On one shard, return what *slots* hold, where the alerts are at home, and what is held there."""
        keys, by_place = Keys(0), _sort(claims, 1)
        calls: list[Call] = [("group_read", [keys.group(slot)], []) for slot in slots]
        for (place, _), asked in by_place.items():
            names = [claim.fingerprint for claim in asked]
            calls.append(("home_find", [keys.homes(place), keys.group("")], names))
        with store_errors():
            answers = self._scripts.run_each(calls)
        held = {slot: _parse_held(slot, row) for slot, row in zip(slots, answers, strict=False)}
        homes: dict[tuple[str, str], Home] = {}
        for (place, _), answer in zip(by_place, answers[len(slots) :], strict=True):
            found = parse_refusal(answer)
            homes |= {(place, name): home for name, home in found.homes.items()}
            held = {**found.held, **held}
        return Reading(held, homes)

    def claim(self, slots: Sequence[str], claims: Sequence[Claim]) -> Reading:
        """Make *claims*, one after the other on each shard, and return what *slots* hold beside."""
        by_place = _sort(claims, self._shards)
        calls: list[Call] = [
            ("group_read", [Keys(shard_of(slot, self._shards)).group(slot)], []) for slot in slots
        ]
        for (place, shard), asked in by_place.items():
            keys = Keys(shard)
            words = [word for one in asked for word in (one.fingerprint, one.slot, one.former)]
            calls.append(
                ("home_claim", [keys.homes(place), keys.homes_left(place)], [self._history_s, *words])
            )
        with store_errors():
            answers = self._scripts.run_each(calls, raise_on_error=False)
        held = {}
        for slot, answer in zip(slots, answers, strict=False):
            with store_errors():
                held[slot] = _parse_held(slot, _check(answer))
        homes: dict[tuple[str, str], Home] = {}
        fault: StoreError | None = None
        for ((place, _), asked), answer in zip(by_place.items(), answers[len(slots) :], strict=True):
            try:
                with store_errors():
                    row = _check(answer)
            except StoreError as error:  # what fires in its own slot need not wait for that server
                fault = fault or error
                continue
            for one, mark, age in zip(asked, row[::2], row[1::2], strict=True):
                if mark:
                    slot = mark.decode().partition(" ")[0]
                    homes[place, one.fingerprint] = Home(slot, mark.decode(), age / 1000)
        return Reading(held, homes, fault)

    def leave(self, writes: Iterable[Write]) -> None:
        """Have the homes of what ended with *writes* forgotten after a while, on several shards.

        Where that fails they stay until their alert fires and ends again. The incident that a home names is
        read before it is believed.
        """
        calls: list[Call] = []
        for write in writes:
            incident, slot = write.change.incident, write.held.slot
            if incident is None:
                continue
            place = neighbourhood_of(incident.source, incident.route)
            ended = [Claim(place, name) for name in tell_moves(write.held.incident, incident).ended]
            for (_, shard), claims in _sort(ended, self._shards).items():
                keys, names = Keys(shard), [claim.fingerprint for claim in claims]
                args = [slot, int(CLAIM_FOR_S * 1000), self.left_for_s, *names]
                calls.append(("home_leave", [keys.homes(place), keys.homes_left(place)], args))
        if calls:
            with suppress(RedisError, OSError):
                self._scripts.run_each(calls, raise_on_error=False)


def parse_refusal(answer: Any) -> Refusal:
    """Return the homes in a script's answer, and what they hold; an answer of 0 has none."""
    if not isinstance(answer, list):
        return Refusal()
    pairs, *rows = answer
    homes = {name.decode(): Home(slot.decode()) for name, slot in zip(pairs[::2], pairs[1::2], strict=True)}
    held = {}
    for name, version, head in zip(rows[::3], rows[1::3], rows[2::3], strict=True):
        held[name.decode()] = _parse_held(name.decode(), (version, head, 0))
    return Refusal(homes, held)


def _parse_held(slot: str, row: Sequence[Any]) -> Held:
    version, head, moment = row
    return Held(slot, codec.decode_incident(head) if head else None, int(version), int(moment))


def _check(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


def _sort(claims: Iterable[Claim], shards: int) -> dict[tuple[str, int], list[Claim]]:
    """Return *claims* by neighbourhood and shard, each alert once."""
    found: dict[tuple[str, int], dict[str, Claim]] = {}
    for claim in claims:
        shard = shard_of(f"{claim.neighbourhood} {claim.fingerprint}", shards)
        found.setdefault((claim.neighbourhood, shard), {}).setdefault(claim.fingerprint, claim)
    return {where: list(asked.values()) for where, asked in found.items()}
