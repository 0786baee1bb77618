"""Every error the receiver raises itself; a library's own errors end at its door."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class ReceiverError(Exception):
    """The root of everything we raise on purpose."""


@dataclass(frozen=True)
class Problem:
    """One fault of the configuration: where it is, what is there, what was expected."""

    file: str
    line: int
    what: str
    expected: str = ""

    def __str__(self) -> str:
        tail = f", expected {self.expected}" if self.expected else ""
        return f"{self.file}:{self.line}: {self.what}{tail}"


class ConfigError(ReceiverError):
    """The configuration can't be used; *problems* names every fault, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


class PayloadError(ReceiverError):
    """A body from outside that can't be read at all: a 400, and a lost alert."""

    def __init__(self, source: str, reason: str) -> None:
        self.source = source
        self.reason = reason
        super().__init__(f"{source}: {reason}")


class PayloadTooLarge(PayloadError):
    """A body from outside that would take too long to mend: a 413, and a lost alert."""


class NotFound(ReceiverError):
    """There is no such thing."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind = kind
        self.name = name
        super().__init__(f"no {kind} {name!r}")


class StoreError(ReceiverError):
    """Redis could not take or give what we asked: a 503, so that Alertmanager sends again.

    *advice* is one line for people, without addresses: what is the matter, and what to do.
    """

    def __init__(self, message: str, advice: str = "") -> None:
        self.advice = advice
        super().__init__(message)


class ClaimLost(StoreError):
    """Another worker holds the incident now; stop quietly."""


class DeliveryError(ReceiverError):
    """A channel could not deliver; *reason* is one short word, also the metric's label."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}" if detail else reason)


class TemporaryDeliveryError(DeliveryError):
    """Worth another try, after *retry_after* seconds at the earliest.

    *maybe_sent* says that the other side may have taken it although we got no answer.
    """

    def __init__(
        self,
        reason: str,
        detail: str = "",
        *,
        retry_after: float = 0.0,
        maybe_sent: bool = False,
    ) -> None:
        super().__init__(reason, detail)
        self.retry_after = retry_after
        self.maybe_sent = maybe_sent


class RefusalKind(StrEnum):
    """What a vendor's refusal for good is about; each integration sets it from the vendor's codes."""

    CONTENT = ""  # what was sent, or how: the same is refused for ever
    CREDENTIALS = "credentials"  # the token or key, or what it may do: another one may pass
    TARGET_GONE = "target_gone"  # nothing can be said at this address any more
    MESSAGE_GONE = "message_gone"  # the message can't be edited any more
    THREAD = "thread"  # the thread takes no reply; its channel may


class PermanentDeliveryError(DeliveryError):
    """Sending the same again can't help; *kind* says what the refusal is about.

    *secret_digest* is of the secret it was refused under, where whatever raises it knows that.
    """

    def __init__(
        self,
        reason: str,
        detail: str = "",
        *,
        kind: RefusalKind = RefusalKind.CONTENT,
        secret_digest: str = "",
    ) -> None:
        super().__init__(reason, detail)
        self.kind = kind
        self.secret_digest = secret_digest


class ProviderUnavailable(ReceiverError):
    """The OpenID provider can't be asked, or answers what no provider should; the message says why."""


class SignInDenied(ReceiverError):
    """Somebody can't be signed in with what they brought; the message says why, and nothing of it."""
