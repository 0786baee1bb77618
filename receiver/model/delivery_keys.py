"""The keys of deliveries: each names one kind of notification within its incident or storm.

They are built and parsed here only. A key is stored, so that its text is part of the stored format.
"""

from __future__ import annotations

from typing import NewType

from receiver.model.routing import Responder, Step

DeliveryKey = NewType("DeliveryKey", str)

# The incident's message, the one posted in place of a deleted one, and the one in the fallback channel.
MESSAGE = DeliveryKey("message")
REPLACEMENT = DeliveryKey("message_replacement")
FALLBACK = DeliveryKey("fallback")
# The latest edit of the message, and the last edit of a fallback message that is no longer needed.
UPDATE = DeliveryKey("update")
MOVED = DeliveryKey("moved")
JOINED = DeliveryKey("joined")
# Records that a label of an incident's alerts changes; its `instance` is the label.
RENAMED = DeliveryKey("renamed")
# Records which storm released the incident to have a message of its own.
RELEASED_BY_STORM = DeliveryKey("released")
# Separates a responder's name from the digest of a former routing key.
_FORMER = "~"


def build_fallback_step(responder: Responder) -> Step:
    """Return the step that notifies a fallback responder. No step of a policy can have its name."""
    return Step(f"{responder.name}#{FALLBACK}", responder)


# --- of an escalation step ---


def page_key(step: Step) -> DeliveryKey:
    """Return the key of the step's page to PagerDuty."""
    return DeliveryKey(f"page:{step.name}")


def reply_key(step: Step) -> DeliveryKey:
    """Return the key of the step's reply in the thread."""
    return DeliveryKey(f"step:{step.name}")


def timeout_key(step: Step) -> DeliveryKey:
    """Return the key whose receipt records when the step timed out."""
    return DeliveryKey(f"timed_out:{step.name}")


def skipped_key(step_name: str) -> DeliveryKey:
    """Return the key that records that the step left the configuration."""
    return DeliveryKey(f"skipped:{step_name}")


def page_delayed_key(step: Step) -> DeliveryKey:
    """Return the key of the reply that reports the delayed page of *step*."""
    return DeliveryKey(f"page_delayed:{step.name}")


def fallback_mention_key(step: Step) -> DeliveryKey:
    """Return the key of the mention of *step* in the fallback channel."""
    return DeliveryKey(f"{FALLBACK}:{step.name}")


def unconfirmed_key(step: Step) -> DeliveryKey:
    """Return the key of the reply that PagerDuty has no incident for the step's page."""
    return DeliveryKey(f"unconfirmed:{step.name}")


def resolved_there_key(step: Step) -> DeliveryKey:
    """Return the key of the reply that automation in PagerDuty resolves the step's page."""
    return DeliveryKey(f"resolved_there:{step.name}")


def list_step_keys(step_names: list[str]) -> list[DeliveryKey]:
    """Return the keys that determine the progress of steps, for loading these deliveries alone."""
    kinds = ("page", "step", "page_delayed", FALLBACK, "timed_out")
    return [DeliveryKey(f"{kind}:{name}") for kind in kinds for name in step_names]


# --- of a responder's PagerDuty incident ---


def acknowledge_key(responder: str, key_digest: str = "") -> DeliveryKey:
    """Return the key of the acknowledgement of a page, under a former routing key with its *key_digest*."""
    return DeliveryKey(f"acknowledge:{responder}{_FORMER + key_digest if key_digest else ''}")


def resolve_key(responder: str, key_digest: str = "") -> DeliveryKey:
    """Return the key of the resolve of a page, under a former routing key with its *key_digest*."""
    return DeliveryKey(f"resolve:{responder}{_FORMER + key_digest if key_digest else ''}")


def hint_key(responder: Responder) -> DeliveryKey:
    """Return the key that records the latest PagerDuty webhook about the responder's page."""
    return DeliveryKey(f"hint:{responder.name}")


def left_open_key(event_key: DeliveryKey) -> DeliveryKey:
    """Return the key of the reply that the event of *event_key* had no effect at PagerDuty."""
    return DeliveryKey(f"left_open:{event_key}")


def parse_left_open_key(key: DeliveryKey) -> DeliveryKey:
    """Return the key of the event that had no effect."""
    return DeliveryKey(key.removeprefix("left_open:"))


def is_page_key(key: DeliveryKey) -> bool:
    return key.startswith("page:")


def is_page_to(key: DeliveryKey, responder: str) -> bool:
    """Tell whether *key* is that of a page to *responder*, for a step or in place of another responder."""
    name = key.removeprefix("page:") if key.startswith("page:") else ""
    return bool(name) and responder in (name, name.rpartition("#")[0])


def is_acknowledgement(key: DeliveryKey) -> bool:
    return key.startswith("acknowledge:")


def is_resolve(key: DeliveryKey) -> bool:
    return key.startswith("resolve:")


def list_event_names(key: DeliveryKey) -> set[str]:
    """Return the names a responder may have for which *key* is an event to PagerDuty; empty for others."""
    kind, _, name = key.partition(":")
    if kind not in ("page", "acknowledge", "resolve"):
        return set()
    return {name, name.rpartition("#")[0], name.rpartition(_FORMER)[0]}


# --- of a silence ---


def silence_key(number: int) -> DeliveryKey:
    return DeliveryKey(f"silence:{number}")


def prolong_key(number: int) -> DeliveryKey:
    return DeliveryKey(f"prolong:{number}")


def expire_key(number: int) -> DeliveryKey:
    return DeliveryKey(f"expire:{number}")


def silence_ends_key(number: int) -> DeliveryKey:
    """Return the key of the reply that the silence ends soon."""
    return DeliveryKey(f"silence_ends:{number}")


def is_silence_change(key: DeliveryKey) -> bool:
    """Tell whether *key* is that of a silence that was created or expired."""
    return key.startswith(("silence:", "expire:"))


def parse_silence_number(key: DeliveryKey) -> str:
    return key.rpartition(":")[2]
