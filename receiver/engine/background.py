"""What a process does every few seconds beside its work, so that nothing waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from receiver.errors import StoreError

logger = logging.getLogger(__name__)

EVERY_S = 2.0


class Background:
    """Calls *works* again and again in a thread that ends with the process.

    What the store does not take is tried again the next time; others log that it is away.
    """

    def __init__(self, callbacks: Sequence[Callable[[], None]], every_s: float = EVERY_S) -> None:
        self._callbacks = callbacks
        self._every_s = every_s
        self._stopped = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="background", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self._every_s):
            for callback in self._callbacks:
                try:
                    callback()
                except StoreError as error:
                    logger.debug("redis unavailable", extra={"fields": {"error": str(error)}})
