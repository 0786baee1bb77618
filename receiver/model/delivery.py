"""The state of a notification: attempts, receipt, failure, time of the next attempt, PagerDuty's answer."""

from __future__ import annotations

import zlib

from msgspec import Struct, json
from msgspec.structs import replace

from receiver.errors import DeliveryError, PermanentDeliveryError, RefusalKind, TemporaryDeliveryError
from receiver.text import truncate_text

# The retry schedule of every channel: short waits first, for brief faults, then longer ones.
_FIRST_WAITS_S = (0.5, 1.0, 2.0, 4.0)
_NEXT_WAIT_S = 5.0
_NEXT_WAIT_FOR_S = 120.0
_LAST_WAIT_S = 30.0
_JITTER = 0.2
MAX_DETAIL = 300
# The prefix of storm IDs; a delivery whose target is a storm is bundled into it.
STORM = "storm-"
# The reason of a bundled delivery that waits: the storm has not sent it yet.
BUNDLING = "storm"
# By then an attempt has ended or its worker has died; a request to Slack times out after ten seconds.
IN_FLIGHT_S = 15.0
# The clocks of other hosts may be ahead of ours by so much; beyond that, our clock was set back.
CLOCKS_DIFFER_S = 5.0


class Receipt(Struct, frozen=True, omit_defaults=True):
    """Proof that it arrived. *reference* is the channel's own ID of it (`C024BE91L:1503435956.000247`)."""

    at: float
    reference: str = ""
    is_simulated: bool = False
    link: str = ""  # its address for a browser
    note: str = ""  # what was left out to get it accepted, e.g. the formatting


class PageConfirmation(Struct, frozen=True, omit_defaults=True):
    """What PagerDuty had of a page at the last check; see `page_confirmation.py`."""

    accepted_at: float = 0.0  # the first 202 of this instance
    notified_at: float = (
        0.0  # the 202 of the trigger for which PagerDuty has an incident; 0 while it has none
    )
    at: float = 0.0  # the time of the check
    attempt: int = 0  # the attempt that was checked
    again_at: float = 0.0  # when to ask again after PagerDuty gave no answer
    found: str = ""  # the result, such as `confirmed`
    misses: int = 0  # the checks in a row that found no effect of the event
    resolved_at: tuple[float, ...] = ()  # the recent times at which automation resolved the incident
    incident: str = ""  # PagerDuty's ID of the incident
    link: str = ""  # PagerDuty's address of it
    hint: str = ""  # the last PagerDuty webhook that was taken into account


class PostedState(Struct, frozen=True, omit_defaults=True, tag="state"):
    """The state that the message of an incident or a review shows. It is edited when the state differs."""

    state: str = "open"
    generation: int = 0
    joins: int = 0
    revision: int = 0
    steps: tuple[tuple[str, str], ...] = ()  # each name with the word for its state
    silences: tuple[tuple[int, str], ...] = ()  # each number with the word for its state
    is_stale: bool = False
    paused_until: int = 0  # the end of a maintenance in seconds; 0 without one


class PostedStorm(Struct, frozen=True, omit_defaults=True, tag="storm"):
    """The state that a storm's message shows: the numbers of its incidents by state, and the like."""

    is_active: bool
    total: int
    open: int = 0
    acknowledged: int = 0
    resolved: int = 0
    acknowledged_by: tuple[tuple[str, int], ...] = ()  # who acknowledged how many
    newest: str = ""  # the ID of its newest incident
    steps: tuple[str, ...] = ()  # those mentioned in the thread
    responses: int = 0  # how many it had


class ReportedJoins(Struct, frozen=True, tag="joins"):
    """The occasions on which alerts joined that one reply reports: those after *first*, up to *latest*."""

    first: int
    latest: int


# What a message shows or reports; None where nothing of it changes.
ContentVersion = PostedState | PostedStorm | ReportedJoins | None


def format_version(content_version: ContentVersion) -> str:
    """Return a text that is equal for equal content versions, for the metadata of a message."""
    return "" if content_version is None else json.encode(content_version).decode()


class Delivery(Struct, frozen=True, omit_defaults=True):
    """The state of the latest instance of one notification.

    The key names the kind of notification within its incident (`message`, `page:on-call`), *instance* which
    one of that kind: an escalation run, or a message. So an incident keeps few deliveries however long it
    is open.
    """

    instance: str = ""
    content_version: ContentVersion = None  # of the last attempt
    target: str = ""  # kind:address, without secrets; or the storm it is bundled into
    attempts: int = 0
    first_attempt_at: float = 0.0
    last_attempt_at: float = 0.0
    maybe_sent: bool = False  # the result of an attempt is unknown: it may have arrived
    retry_at: float = 0.0
    reason: str = ""
    detail: str = ""
    failed_at: float = 0.0  # when it failed permanently
    kind: str = ""  # a `RefusalKind`: why it failed permanently
    refused_under: str = ""  # the digest of the refused secret, if the vendor refused the credentials
    receipt: Receipt | None = None
    earlier: str = ""  # the latest earlier instance that may have arrived
    key_digest: str = ""  # the digest of the routing key that an event to PagerDuty was sent with
    earlier_key_digest: str = ""  # the same for *earlier*, if it differs and its PagerDuty incident was open
    check: PageConfirmation | None = None  # the last check of an event to PagerDuty
    searched_since: float = 0.0  # when the search for an attempt with an unknown result began; 0 without one
    refused_storm: str = ""  # the storm it was bundled into, if the storm's delivery failed permanently

    @property
    def is_settled(self) -> bool:
        return self.receipt is not None or self.failed_at > 0

    @property
    def storm(self) -> str:
        """The storm whose message or page includes this one; empty where it is sent by itself."""
        return self.target if self.target.startswith(STORM) else ""

    @property
    def is_bundled(self) -> bool:
        """A storm has delivered it: it has no message in the channel and no PagerDuty incident of its own."""
        return self.receipt is not None and bool(self.storm)

    def is_ahead(self, now: float) -> bool:
        """Return whether a clock ahead of ours computed its wait: another host's, or ours before it was set
        back. How much of the wait is over is unknown, so it must not last until our clock reaches its end.
        """
        return self.attempts > 0 and self.last_attempt_at > now + CLOCKS_DIFFER_S

    def find_next_attempt_at(self, now: float) -> float:
        """Return when to attempt it, or again: 0 at once. An attempt without a result may still be in flight
        in some worker.
        """
        if not self.attempts or self.is_ahead(now):
            return 0.0
        return self.retry_at or self.last_attempt_at + IN_FLIGHT_S

    def with_attempt(
        self,
        instance: str,
        content_version: ContentVersion,
        target: str,
        now: float,
        *,
        key_digest: str = "",
        former_key_digest: str = "",
    ) -> Delivery:
        """Return this delivery with one more attempt, or a new delivery for another instance.

        Until its result is recorded, an attempt may have arrived. *key_digest* is that of the routing key it
        is sent with, *former_key_digest* that of an earlier instance that is still open under another key.
        """
        former = Delivery() if self.is_settled or self.instance != instance else self
        is_other = (
            (self.instance, self.key_digest) != (instance, key_digest)
            and self.may_have_arrived
            and not self.storm
        )
        earlier_digest = former_key_digest if is_other else self.earlier_key_digest
        if is_other and self.instance == instance:  # retried after a reload, under another key
            earlier_digest = self.key_digest
        return Delivery(
            instance=instance,
            content_version=content_version,
            target=target,
            attempts=former.attempts + 1,
            first_attempt_at=former.first_attempt_at or now,
            last_attempt_at=now,
            maybe_sent=True,
            earlier=self.instance if is_other else self.earlier,
            key_digest=key_digest,
            earlier_key_digest=earlier_digest,
            check=former.check,
        )

    def with_receipt(self, receipt: Receipt) -> Delivery:
        return replace(
            self, receipt=receipt, maybe_sent=False, searched_since=0.0, reason="", detail="", retry_at=0.0
        )

    def with_failure(
        self, error: DeliveryError, now: float, *, was_maybe_sent: bool, salt: str, secret_digest: str = ""
    ) -> Delivery:
        """Return this delivery with its last attempt failed: to be retried, or failed for good.

        *was_maybe_sent* tells whether an attempt before the last one may have arrived; *secret_digest* is
        that of the secret that is configured for its target.
        """
        described = replace(self, reason=error.reason, detail=truncate_text(error.detail, MAX_DETAIL))
        if not isinstance(error, TemporaryDeliveryError):
            kind = error.kind if isinstance(error, PermanentDeliveryError) else RefusalKind.CONTENT
            if isinstance(error, PermanentDeliveryError):
                secret_digest = error.secret_digest or secret_digest
            return replace(
                described,
                failed_at=now,
                maybe_sent=was_maybe_sent,
                kind=kind.value,
                refused_under=secret_digest if kind is RefusalKind.CREDENTIALS else "",
            )
        return replace(
            described,
            maybe_sent=was_maybe_sent or error.maybe_sent,
            retry_at=next_try_at(self, now, error.retry_after, salt),
        )

    def with_retry_allowed(self) -> Delivery:
        """Return this delivery, which failed for good, as one to be attempted again. It keeps `maybe_sent`,
        so an earlier attempt that may have arrived is still checked for.
        """
        return replace(self, failed_at=0.0, retry_at=0.0, kind="", refused_under="")

    @property
    def may_have_arrived(self) -> bool:
        """It has a receipt, or an attempt whose result is unknown."""
        return self.receipt is not None or self.maybe_sent


NO_DELIVERY = Delivery()


def next_try_at(delivery: Delivery, now: float, retry_after: float = 0.0, salt: str = "") -> float:
    """Return when to try again after the attempt that failed at *now*.

    The waits are 0.5, 1, 2, 4 s, then 5 s for two minutes, then 30 s, each ± 20 %; never less than
    *retry_after* seconds. The jitter follows from *salt* and the number of attempts, so it is repeatable.
    """
    n = delivery.attempts
    if n <= len(_FIRST_WAITS_S):
        wait = _FIRST_WAITS_S[max(0, n - 1)]
    elif now - delivery.first_attempt_at < _NEXT_WAIT_FOR_S:
        wait = _NEXT_WAIT_S
    else:
        wait = _LAST_WAIT_S
    spread = zlib.crc32(f"{salt}/{n}".encode()) / 0xFFFFFFFF * 2 - 1
    return now + max(wait * (1 + _JITTER * spread), retry_after)
