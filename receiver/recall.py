"""Remembering what others answered, so that asking them again delays nobody."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from receiver.errors import DeliveryError, TemporaryDeliveryError

V = TypeVar("V")

logger = logging.getLogger(__name__)

# Far more questions than anybody has; beyond them the memory starts anew.
_QUESTIONS_AT_MOST = 2000


@dataclass(frozen=True)
class Remembered(Generic[V]):
    """An answer, and the moment it was given."""

    value: V
    at: float


class _Memory(Generic[V]):
    """What is known of one question; *asking* is set when the asking under way is over."""

    def __init__(self) -> None:
        self.answer: Remembered[V] | None = None
        self.learned_at = 0.0
        self.keep_for = 0.0  # 0: ask at once
        self.asking: threading.Event | None = None


class Recall(Generic[V]):
    """Answers to questions, each kept for *keep_s* seconds. Threads may share it.

    *ask* answers one question or raises a DeliveryError; then the last good answer stands, however
    old, and it is not asked again for *retry_s* seconds (longer where the error says so).
    """

    def __init__(
        self,
        name: str,
        ask: Callable[[str], V],
        clock: Callable[[], float],
        *,
        keep_s: float,
        retry_s: float,
    ) -> None:
        self._name = name
        self._ask = ask
        self._clock = clock
        self._keep_s = keep_s
        self._retry_s = retry_s
        self._lock = threading.Lock()
        self._memories: dict[str, _Memory[V]] = {}

    def find(self, question: str, wait_s: float) -> Remembered[V] | None:
        """Return the answer to *question*; None while there has been none.

        Once an answer is too old, whoever comes first waits for the next one, *wait_s* seconds at
        most, and has the old one then; others have the old one at once. Asking goes on behind.
        """
        with self._lock:
            memory = self._get_memory(question)
            # Not before it was learned either: then the clock was set back, and how old it is isn't known.
            if memory.asking is None and 0 <= self._clock() - memory.learned_at < memory.keep_for:
                return memory.answer
            if memory.asking is not None and memory.answer is not None:
                return memory.answer
            asking = memory.asking or self._start(question, memory)
        asking.wait(wait_s)
        return memory.answer

    def _get_memory(self, question: str) -> _Memory[V]:
        if question not in self._memories and len(self._memories) >= _QUESTIONS_AT_MOST:
            self._memories.clear()
        return self._memories.setdefault(question, _Memory())

    def _start(self, question: str, memory: _Memory[V]) -> threading.Event:
        # A thread of its own, since no library bounds the whole of an exchange; and a daemon, so
        # that it keeps no process from ending.
        memory.asking = threading.Event()
        arguments = (question, memory, memory.asking)
        threading.Thread(target=self._learn, args=arguments, name=f"ask {self._name}", daemon=True).start()
        return memory.asking

    def _learn(self, question: str, memory: _Memory[V], asking: threading.Event) -> None:
        wait, answer = self._retry_s, None
        try:
            answer = Remembered(self._ask(question), self._clock())
            wait = self._keep_s
        except DeliveryError as error:
            if isinstance(error, TemporaryDeliveryError):
                wait = max(wait, error.retry_after)
            fields = {"what": self._name, "reason": error.reason, "detail": error.detail}
            logger.warning(
                "look-up failed", extra={"fields": fields, "state": f"{self._name} {error.reason}"}
            )
        finally:
            with self._lock:
                memory.answer = answer or memory.answer
                memory.learned_at, memory.keep_for = self._clock(), wait
                memory.asking = None
            asking.set()
