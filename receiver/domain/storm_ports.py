"""What storms need from the rooms around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from receiver.domain.storm import JoinView, Member, Storm, StormSummary, VersionedStorm
from receiver.model.actions import Action
from receiver.model.delivery import Receipt
from receiver.model.incident import Incident


@dataclass(frozen=True)
class StormNotification:
    """One message about a storm, with everything its words are made of.

    *summary* counts those the action is about: all members, those open in a page's wave, or all open.
    *without_message* counts, by name, what still fires without a message of its own once the storm is over.
    """

    action: Action
    storm: Storm
    summary: StormSummary
    now: float
    public_url: str = ""
    without_message: tuple[tuple[str, int], ...] = field(default=())


class StormChannel(Protocol):
    """Says what a storm has to say. Raises a DeliveryError; never sleeps to retry."""

    def send_storm(self, notification: StormNotification) -> Receipt: ...

    def find_storm(self, notification: StormNotification, since: float) -> Receipt | None:
        """Return the receipt of an earlier attempt (begun at *since*) that did arrive, if any."""
        ...


class StormRepository(Protocol):
    """Keeps storms; every method may raise StoreError."""

    def start_storm(self, storm: Storm, replacing: str, due: float) -> str:
        """Keep a storm that begins, and return the one that is on at its place: this one, unless there
        is one already other than *replacing*.
        """
        ...

    def find_active(self, target_key: str) -> str:
        """Return the storm that is on at *target_key*, empty where none is."""
        ...

    def load_storm(self, storm_id: str) -> VersionedStorm:
        """Return the storm with its members; else NotFound."""
        ...

    def load_for_join(self, storm_id: str, name: str) -> JoinView | None:
        """Return the storm as the member *name* finds it; None when it is gone."""
        ...

    def load_active_for_join(self, target_key: str, name: str) -> tuple[str, JoinView | None]:
        """Return the storm that is on at *target_key*, empty where none is, and how *name* finds it."""
        ...

    def add_member(self, join_view: JoinView, name: str, member: Member, due: float | None) -> bool:
        """Add a member, and have the storm look at itself at *due*; False where it changed meanwhile."""
        ...

    def save_if_unchanged(
        self, loaded: VersionedStorm, storm: Storm, *, due: float | None = None, if_none_joined: bool = False
    ) -> bool:
        """Keep how the storm stands now; False where it changed since *loaded* was read, or, if asked,
        where somebody joined.
        """
        ...

    def list_unresolved(self) -> list[Storm]:
        """Return the storms that are not resolved, newest first."""
        ...


class IncidentHeads(Protocol):
    """Where members are looked up; may raise StoreError."""

    def load_heads(self, ids: Sequence[str]) -> Mapping[str, Incident]:
        """Return the incidents that are kept, without alerts and deliveries."""
        ...
