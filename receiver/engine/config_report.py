"""A configuration that was refused: told to the other processes, as any of them may be asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from receiver.domain.config_state import ConfigState


class ConfigStateStore(Protocol):
    """Where refusals are kept; every method may raise StoreError."""

    def save(self, process: str, state: ConfigState) -> None: ...
    def remove(self, process: str) -> None: ...
    def list_refused(self) -> dict[str, ConfigState]: ...


class ConfigReport:
    """Tells how *process* stands to its configuration, and knows how all do."""

    def __init__(self, process: str, find_state: Callable[[], ConfigState], store: ConfigStateStore) -> None:
        self.process = process
        self._find_state = find_state
        self._store = store
        self._is_saved = True  # what one of our name, before us, had refused

    @property
    def state(self) -> ConfigState:
        """How this process stands."""
        return self._find_state()

    def save(self) -> None:
        """Have the others know; to be called every few seconds. Raises StoreError."""
        state = self.state
        if state.error:
            self._is_saved = True
            self._store.save(self.process, state)
        elif self._is_saved:
            self._store.remove(self.process)
            self._is_saved = False

    def list_refused(self) -> dict[str, ConfigState]:
        """Return the states of all processes that go on with an old configuration. Raises StoreError."""
        found, own = self._store.list_refused(), self.state
        found.pop(self.process, None)
        return {**found, self.process: own} if own.error else found
