"""The deliveries of a storm: what the dispatcher loads and saves."""

from __future__ import annotations

from receiver.engine.dispatcher import Dispatcher
from receiver.model.actions import DeliveryAction, Page, Reply
from receiver.model.delivery import Delivery
from receiver.model.delivery_keys import DeliveryKey
from receiver.storms.model import (
    StormNotification,
    StormSummary,
    VersionedStorm,
    is_page_delayed,
    parse_batch,
    summarize_storm,
    with_delivery,
)
from receiver.storms.plan import StormView
from receiver.storms.service import StormService
from receiver.storms.store import RedisStorms


class StormDeliveries:
    """Dispatches the messages and pages of storms."""

    def __init__(
        self, store: RedisStorms, storms: StormService, dispatcher: Dispatcher, public_url: str
    ) -> None:
        self._store = store
        self._storms = storms
        self._dispatcher = dispatcher
        self._public_url = public_url

    def dispatch(self, action: DeliveryAction, loaded: VersionedStorm, view: StormView, worker: str) -> None:
        """Perform *action* once, unless another worker changed the storm. Raises StoreError, LeaseLost."""
        notification = StormNotification(
            action,
            loaded.storm,
            _summarize_for(action, view),
            view.now,
            self._public_url,
            _count_without_message(view),
        )
        subject = StormSubject(self._store, self._storms, loaded)
        self._dispatcher.dispatch(subject, notification, worker)


class StormSubject:
    """A storm as the subject of one delivery."""

    def __init__(self, store: RedisStorms, storms: StormService, loaded: VersionedStorm) -> None:
        self._store = store
        self._storms = storms
        self._loaded = loaded

    def find_delivery(self, key: DeliveryKey) -> Delivery:
        return self._loaded.storm.deliveries.get(key, Delivery())

    def save_attempt(self, action: DeliveryAction, attempt: Delivery, worker: str) -> bool:
        """Save the attempt by compare-and-set, which decides between two workers; not by the lease."""
        del worker
        return self._store.save_if_unchanged(
            self._loaded, with_delivery(self._loaded.storm, action.key, attempt)
        )

    def save_outcome(self, action: DeliveryAction, after: Delivery) -> None:
        self._storms.update_storm(
            self._loaded.storm.id, lambda latest: with_delivery(latest.storm, action.key, after)
        )


def _summarize_for(action: DeliveryAction, view: StormView) -> StormSummary:
    """Return the summary of the members that *action* is about."""
    if isinstance(action, Page):
        return summarize_storm(one for one in view.in_batch(parse_batch(action.key)) if one.is_open)
    if isinstance(action, Reply) and action.step is not None:
        step = action.step.name
        counted = view.in_step(step) if is_page_delayed(step) else view.counted_members
        return summarize_storm(one for one in counted if one.is_open)
    return summarize_storm(view.counted_members)


def _count_without_message(view: StormView) -> tuple[tuple[str, int], ...]:
    """Return the unresolved members without their own message, counted by alert name."""
    with_message = set(view.storm.released)
    return summarize_storm(
        one for one in view.members if not one.is_resolved and one.id not in with_message
    ).names
