"""All errors of the receiver; the package that uses a library converts the library's errors to these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class ReceiverError(Exception):
    """The base class of all errors of the receiver."""


@dataclass(frozen=True)
class Problem:
    """One fault of the configuration: where it is, what was found, what was expected."""

    file: str
    line: int
    what: str
    expected: str = ""

    def __str__(self) -> str:
        tail = f", expected {self.expected}" if self.expected else ""
        return f"{self.file}:{self.line}: {self.what}{tail}"


class ConfigError(ReceiverError):
    """The configuration is invalid; *problems* lists every fault, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


class PayloadError(ReceiverError):
    """A request body that can't be parsed at all: answered with 400, the alert is lost."""

    def __init__(self, source: str, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{source}: {reason}")


class PayloadTooLarge(PayloadError):
    """A malformed request body too large to repair: answered with 413, the alert is lost."""


class NotFound(ReceiverError):
    """There is no *kind* with this *name*."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind = kind
        self.name = name
        super().__init__(f"no {kind} {name!r}")


class StoreError(ReceiverError):
    """Redis could not execute a command: answered with 503, so that Alertmanager retries.

    *advice* is one line for operators, without addresses: the cause and the remedy.
    """

    def __init__(self, message: str, advice: str = "") -> None:
        self.advice = advice
        super().__init__(message)


class LeaseLost(StoreError):
    """Another worker has the lease on the incident now; stop without logging an error."""


@dataclass(eq=False, repr=False)
class DeliveryError(ReceiverError):
    """A channel could not deliver; *reason* is one short word, used in logs and notices."""

    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


@dataclass(eq=False, repr=False, kw_only=True)
class TemporaryDeliveryError(DeliveryError):
    """A retry may succeed, after *retry_after* seconds at the earliest.

    *maybe_sent* says that the vendor may have accepted the request although no response came.
    """

    retry_after: float = 0.0
    maybe_sent: bool = False


class RefusalKind(StrEnum):
    """The cause of a vendor's permanent refusal; each integration sets it from the vendor's codes."""

    CONTENT = ""  # what was sent, or how: the same request is always refused
    CREDENTIALS = "credentials"  # the token or key, or its permissions: another one may be accepted
    TARGET_GONE = "target_gone"  # the channel or service no longer accepts messages
    MESSAGE_GONE = "message_gone"  # the message can't be edited any more
    THREAD = "thread"  # the thread takes no reply; its channel may


@dataclass(eq=False, repr=False, kw_only=True)
class PermanentDeliveryError(DeliveryError):
    """A retry of the same request can't succeed; *kind* is the cause of the refusal.

    *secret_digest* is the digest of the secret that was used, where the code that raises this knows it.
    """

    kind: RefusalKind = RefusalKind.CONTENT
    secret_digest: str = ""


class ProviderUnavailable(ReceiverError):
    """The OpenID provider is unreachable or returns an invalid response; the message says why."""


class SignInDenied(ReceiverError):
    """A sign-in is denied; the message says why, without any part of the credentials."""
