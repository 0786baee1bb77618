"""The keys of deliveries: each names one kind of notification within its incident or storm.

They are built and parsed here only. A key is stored, so that its text is part of the stored format.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NewType

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
# Every plan asks for the keys of the same few steps and responders.
_cache_keys = lru_cache(maxsize=1024)


def _keys_of(kind: str) -> Callable[[str | int], DeliveryKey]:
    """Return the function that builds the keys of *kind* from the name of a step, for example."""
    return _cache_keys(lambda name: DeliveryKey(f"{kind}:{name}"))


# By the name of an escalation step: its page to PagerDuty, and its reply in the thread.
page_key = _keys_of("page")
reply_key = _keys_of("step")
# The receipt records when the step timed out.
timeout_key = _keys_of("timed_out")
# Records that the step left the configuration.
skipped_key = _keys_of("skipped")
# The reply that reports the step's delayed page.
page_delayed_key = _keys_of("page_delayed")
# The mention of the step in the fallback channel.
fallback_mention_key = _keys_of(FALLBACK)
# The replies that PagerDuty has no incident for the step's page, and that automation there resolves it.
unconfirmed_key = _keys_of("unconfirmed")
resolved_there_key = _keys_of("resolved_there")
# By the name of a responder: records the latest PagerDuty webhook about the page.
hint_key = _keys_of("hint")
# By the number of a silence; the last is the reply that the silence ends soon.
silence_key = _keys_of("silence")
prolong_key = _keys_of("prolong")
expire_key = _keys_of("expire")
silence_ends_key = _keys_of("silence_ends")
# By the key of an event to PagerDuty: the reply that the event had no effect there.
left_open_key = _keys_of("left_open")


def list_own_keys(step_name: str) -> list[DeliveryKey]:
    """Return the keys of the deliveries that belong to this step alone."""
    builders = (page_key, reply_key, page_delayed_key, fallback_mention_key)
    return [build_key(step_name) for build_key in builders]


def list_step_keys(step_names: list[str]) -> list[DeliveryKey]:
    """Return the keys that determine the progress of steps, for loading these deliveries alone."""
    return [key for name in step_names for key in (*list_own_keys(name), timeout_key(name))]


@_cache_keys
def acknowledge_key(responder: str, key_digest: str = "") -> DeliveryKey:
    """Return the key of the acknowledgement of a page, under a former routing key with its *key_digest*."""
    return DeliveryKey(f"acknowledge:{responder}{_FORMER + key_digest if key_digest else ''}")


@_cache_keys
def resolve_key(responder: str, key_digest: str = "") -> DeliveryKey:
    """Return the key of the resolve of a page, under a former routing key with its *key_digest*."""
    return DeliveryKey(f"resolve:{responder}{_FORMER + key_digest if key_digest else ''}")


def parse_left_open_key(key: DeliveryKey) -> DeliveryKey:
    """Return the key of the event that had no effect."""
    return DeliveryKey(key.removeprefix("left_open:"))


def is_page_key(key: DeliveryKey) -> bool:
    return key.startswith("page:")


def is_acknowledgement(key: DeliveryKey) -> bool:
    return key.startswith("acknowledge:")


def is_resolve(key: DeliveryKey) -> bool:
    return key.startswith("resolve:")


@_cache_keys
def list_page_names(key: DeliveryKey) -> frozenset[str]:
    """Return the names a responder may have to whom *key* is a page, for a step or in place of another
    responder; empty for other keys.
    """
    if not is_page_key(key):
        return frozenset()
    name = key.removeprefix("page:")
    return frozenset({name, name.rpartition("#")[0]} - {""})


@_cache_keys
def list_event_names(key: DeliveryKey) -> frozenset[str]:
    """Return the names a responder may have for which *key* is an event to PagerDuty; empty for others."""
    kind, _, name = key.partition(":")
    if kind not in ("page", "acknowledge", "resolve"):
        return frozenset()
    return frozenset({name, name.rpartition("#")[0], name.rpartition(_FORMER)[0]} - {""})


def is_silence_change(key: DeliveryKey) -> bool:
    """Return whether *key* is that of a silence that was created or expired."""
    return key.startswith(("silence:", "expire:"))


def parse_silence_number(key: DeliveryKey) -> str:
    return key.rpartition(":")[2]
