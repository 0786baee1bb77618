"""Asking several at once, and waiting for all of them only so long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

from receiver.errors import DeliveryError, TemporaryDeliveryError

T = TypeVar("T")


def gather(calls: Sequence[Callable[[], T]], timeout_s: float) -> list[T | DeliveryError]:
    """Return the answer to each question, or the DeliveryError it ended in, in their order.

    Returns after *timeout_s* at the latest: who has not answered by then gave no answer. The thread
    that is left behind ends by the question's own time-out, so ask nothing that changes anything.
    """
    deadline = time.monotonic() + timeout_s

    def wait(answer: Future[T]) -> T | DeliveryError:
        try:
            return answer.result(max(0.0, deadline - time.monotonic()))
        except DeliveryError as error:
            return error
        except TimeoutError:
            return TemporaryDeliveryError("no_answer", f"no answer within {timeout_s:g} s")

    return [wait(answer) for answer in [_start_call(call) for call in calls]]


def _start_call(call: Callable[[], T]) -> Future[T]:
    """Ask in a thread of its own; a daemon, so that it never keeps the process from ending."""
    future: Future[T] = Future()

    def answer() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
            future.set_exception(error)

    threading.Thread(target=answer, name="question", daemon=True).start()
    return future
