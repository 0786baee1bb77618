"""Decides which actions a storm still needs, as `receiver.model.plan` does for an incident.

`plan_storm` depends only on the current state of the storm and its members, so calling it twice, late or
after a crash is harmless.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from msgspec.structs import replace

from receiver.model import actions
from receiver.model import page_confirmation as confirmation
from receiver.model.delivery import PostedStorm
from receiver.model.delivery_keys import MESSAGE, UPDATE, DeliveryKey, acknowledge_key, resolve_key
from receiver.model.delivery_status import build_gone_responder
from receiver.model.routing import PAGERDUTY, SLACK, Responder, Step, Target
from receiver.storms import model

# (quiet, at most) in seconds. A page can't be edited, so it waits for its members: until none joined for the
# quiet time, and at most the second time after the first. For new incidents this is short, as the first of
# them were paged one by one already. Members reach a later step in groups, so they get more time.
_GATHER_S = (1.5, 5.0)
_GATHER_STEPS_S = (3.0, 6.0)
# A storm ends when fewer members joined in this time than can be sent in half of it.
QUIET_FOR_S = 30.0
# When a storm ends, as many incidents get their own message as can be sent in this time. It is less than the
# 30 seconds of delay that start a storm.
_RELEASE_FOR_S = 20.0
# (age, interval): how often a storm evaluates its members, by its age. Edits are no more frequent.
_CHECK_INTERVALS = ((60.0, 5.0), (600.0, 10.0), (3600.0, 30.0))
_LONGEST_CHECK_INTERVAL_S = 60.0
_LONGEST_EDIT_PAUSE_S = 10.0


class PropagateResponse(actions.Transition, frozen=True, kw_only=True):
    """Apply a response to the storm to all its members."""

    response: model.StormResponse


class ReleaseIncidents(actions.Transition, frozen=True, kw_only=True):
    """Let the released incidents send their own messages."""


class ChangeStorm(actions.Transition, frozen=True, kw_only=True):
    """Save *storm*: with a batch closed, ended, or resolved; unless *if_none_joined* and a member joined."""

    storm: model.Storm
    if_none_joined: bool = True


RELEASE_INCIDENTS = DeliveryKey("release_incidents")  # records that the released incidents were released
OVER = DeliveryKey("over")  # of the reply that the storm is over


@dataclass(frozen=True)
class StormView:
    """A storm with its members at `now`, and the configuration of its target.

    `rate` is how many messages or pages a second the target accepts; `checks_pagerduty` tells whether the
    state of the storm's pages can be read from PagerDuty.
    """

    storm: model.Storm
    states: Sequence[model.MemberState]
    rate: float
    responders: Mapping[str, Responder]
    now: float
    checks_pagerduty: bool = False

    @cached_property
    def members(self) -> list[model.MemberState]:
        """The bundled incidents."""
        return [one for one in self.states if not one.step]

    @cached_property
    def mentioned(self) -> list[model.MemberState]:
        """The members that reached a step that is mentioned in the storm's thread."""
        return [one for one in self.states if one.step]

    @cached_property
    def counted_members(self) -> list[model.MemberState]:
        return model.list_counted_members(self.states)

    def list_batch(self, batch: int) -> list[model.MemberState]:
        return [one for one in self.members if one.member.batch == batch]

    @property
    def check_every_s(self) -> float:
        age = self.now - self.storm.began_at
        return next((every for until, every in _CHECK_INTERVALS if age < until), _LONGEST_CHECK_INTERVAL_S)

    def ready_at(self, key: DeliveryKey, instance: str = "") -> float:
        delivery = self.storm.find_delivery(key)
        is_other = delivery.is_settled or delivery.instance != instance
        return 0.0 if is_other or delivery.is_ahead(self.now) else delivery.retry_at

    def is_recorded(self, key: DeliveryKey, instance: str = "") -> bool:
        """Return whether the delivery has a receipt or failed permanently."""
        delivery = self.storm.find_delivery(key)
        return delivery.is_settled and delivery.instance == instance

    def is_done(self, action: actions.Action) -> bool:
        """Return whether *action* is a delivery that is recorded; an edit, with its content."""
        if isinstance(action, actions.Transition):
            return False
        shown = self.storm.find_delivery(action.key).content_version
        is_shown = not isinstance(action, actions.Update) or shown == action.content_version
        return is_shown and self.is_recorded(action.key, action.instance)


def plan_storm(view: StormView) -> actions.Plan:
    """Return the actions the storm still needs, most urgent first, and the next check time (None: never)."""
    storm = view.storm
    if storm.resolved_at:
        return actions.Plan(())
    wanted = [
        *(
            PropagateResponse(queue=storm.queue, response=response)
            for response in storm.responses
            if not view.is_recorded(response.key, response.instance)
        ),
        *(_list_messages(view) if storm.is_of_channel else _list_pages(view)),
        *_list_end_actions(view),
    ]
    missing = [action for action in wanted if not view.is_done(action)]
    if not missing and not storm.is_active and all(one.is_resolved for one in view.counted_members):
        resolved = replace(storm, resolved_at=view.now)
        missing = [ChangeStorm(queue=storm.queue, storm=resolved, if_none_joined=False)]
    next_check_at = view.now + view.check_every_s
    if storm.is_active and (ends_at := _find_end_at(view)) > view.now:
        next_check_at = min(next_check_at, ends_at)
    return actions.Plan(tuple(missing), next_check_at)


# --- the pages of a responder's storm ---


def _list_pages(view: StormView) -> Iterator[actions.Action]:
    name = view.storm.name
    # A responder that left the configuration is not paged any more; its open pages are resolved.
    responder = view.responders.get(name) or build_gone_responder(name)
    target = responder.find_target(PAGERDUTY)
    if target is None:
        return
    for batch in sorted({one.member.batch for one in view.members}):
        if name in view.responders or view.storm.find_delivery(model.page_key(batch)).may_have_arrived:
            yield from _list_page_events(view, batch, responder, target)
            yield from _list_page_confirmations(view, batch, responder)


def _list_page_events(
    view: StormView, batch: int, responder: Responder, target: Target
) -> Iterator[actions.Action]:
    """Yield the next PagerDuty events of one batch; events with one dedup key are sent in order."""
    members, storm = view.list_batch(batch), view.storm
    key, dedup_key = model.page_key(batch), model.storm_dedup_key(storm.id, batch)
    page = storm.find_delivery(key)
    is_over, is_open = all(one.is_resolved for one in members), any(one.is_open for one in members)
    if is_open and not page.is_settled and storm.closed_batch < batch:
        yield actions.Page(
            key=key,
            target=target,
            ready_at=max(view.ready_at(key), _page_at(view, batch, members)),
            dedup_key=dedup_key,
            step=Step(responder.name, responder),
            key_digest=target.secret.digest,
        )
        return
    if not page.may_have_arrived or is_open:
        return
    if storm.closed_batch < batch:
        # Members that join from now on belong to the next batch.
        yield ChangeStorm(queue=storm.queue, storm=replace(storm, closed_batch=batch))
        return
    build_key = resolve_key if is_over else acknowledge_key
    kind = actions.ResolvePage if is_over else actions.AcknowledgePage
    instance = "" if is_over else storm.acknowledgement_instance(batch)
    under = {build_key(str(batch)): page.key_digest}
    if page.earlier_key_digest:  # sent with another routing key before a reload, and maybe accepted
        under[build_key(str(batch), page.earlier_key_digest)] = page.earlier_key_digest
    for name, digest in under.items():
        yield kind(
            key=name,
            instance=instance,
            target=target,
            ready_at=view.ready_at(name, instance),
            dedup_key=dedup_key,
            key_digest=digest,
        )


def _list_page_confirmations(
    view: StormView, batch: int, responder: Responder
) -> Iterator[actions.ConfirmPage]:
    """Yield the check of one batch's page in PagerDuty, one for all its members."""
    is_open = any(one.is_open for one in view.list_batch(batch)) and view.storm.closed_batch < batch
    of = model.page_key(batch) if is_open else resolve_key(str(batch))
    event = view.storm.find_delivery(of)
    find_due_at = confirmation.find_check_due_at if is_open else confirmation.find_resolve_check_due_at
    if (due_at := find_due_at(event)) is None:
        return
    hint_receipt = view.storm.find_delivery(model.hint_key(batch)).receipt
    hint = hint_receipt.reference if hint_receipt is not None and is_open else ""
    hint = "" if event.check is not None and event.check.hint == hint else hint
    if hint or view.checks_pagerduty:
        due_at = confirmation.postponed_until(event) if hint else due_at
        ready_at = confirmation.limit_confirmation(event, due_at, view.now)
        yield actions.ConfirmPage(responder=responder, event_key=of, ready_at=ready_at, hint=hint)


def _page_at(view: StormView, batch: int, members: Sequence[model.MemberState]) -> float:
    """Return when a batch is paged: soon after its first member joined, and a pause after the last page, if
    that was not sent before the clock was set back.
    """
    others = (one for one in range(1, view.storm.current_batch + 1) if one != batch)
    pages = (view.storm.find_delivery(model.page_key(one)) for one in others)
    receipts = (page.receipt for page in pages if not page.is_ahead(view.now))
    paused_until = (receipt.at + model.BATCH_PAUSE_S for receipt in receipts if receipt is not None)
    return max([_gathered_at([one.member for one in members], view), *paused_until])


def _gathered_at(members: Sequence[model.Member], view: StormView) -> float:
    """Return when *members* are notified together: now, where a member joined in the future (by a worker
    whose clock is ahead), as its waiting time is unknown.
    """
    joined, storm = [member.joined_at for member in members], view.storm
    if max(joined) > view.now:
        return view.now
    quiet_s, at_most_s = _GATHER_STEPS_S if storm.is_of_channel or storm.is_of_steps else _GATHER_S
    return min(min(joined) + at_most_s, max(joined) + quiet_s)


# --- the message of a channel's storm ---


def _list_messages(view: StormView) -> Iterator[actions.Action]:
    storm, target = view.storm, Target(SLACK, view.storm.name)
    content_version = _find_posted_state(view)
    message = view.storm.find_delivery(MESSAGE).receipt
    if message is None:
        if view.counted_members:
            yield actions.Post(
                key=MESSAGE, target=target, ready_at=view.ready_at(MESSAGE), content_version=content_version
            )
        return
    yield from _list_mentions(view, target, message.reference)
    if not storm.is_active and any(not one.is_resolved for one in view.counted_members):
        yield actions.Reply(
            key=OVER,
            target=target,
            ready_at=view.ready_at(OVER),
            message=message.reference,
            reply_kind="storm_over",
        )
    edit = view.storm.find_delivery(UPDATE)
    last = edit if edit.receipt is not None else view.storm.find_delivery(MESSAGE)
    if content_version not in (last.content_version, edit.content_version if edit.failed_at else None):
        last_at = last.receipt.at if last.receipt is not None and not last.is_ahead(view.now) else 0.0
        pause_s = min(view.check_every_s, _LONGEST_EDIT_PAUSE_S)
        yield actions.Update(
            key=UPDATE,
            instance=message.reference,
            target=target,
            ready_at=max(view.ready_at(UPDATE, message.reference), last_at + pause_s),
            content_version=content_version,
            message=message.reference,
        )


def _find_posted_state(view: StormView) -> PostedStorm:
    """Return the state that the storm's message should show now."""
    summary = model.summarize_storm(view.counted_members)
    return PostedStorm(
        is_active=view.storm.is_active,
        total=summary.total,
        open=summary.open,
        acknowledged=summary.acknowledged,
        resolved=summary.resolved,
        acknowledged_by=summary.acknowledged_by,
        newest=summary.newest[0].id if summary.newest else "",
        steps=tuple(sorted({one.step for one in view.mentioned})),
        responses=len(view.storm.responses),
    )


def _list_mentions(view: StormView, target: Target, reference: str) -> Iterator[actions.Reply]:
    """Yield a mention for each step that members reached and that no settled mention covers yet."""
    for step in sorted({one.step for one in view.mentioned}):
        key, responder = model.mention_key(step), view.responders.get(step.partition("#")[0])
        before = view.storm.find_delivery(key)
        reached = [one.member for one in view.mentioned if one.step == step and one.is_open]
        not_notified = [member for member in reached if not model.covers(before, member)]
        if responder is None or not not_notified:
            continue
        is_new = before.is_settled or not before.attempts
        instance = str(int(before.instance or 0) + 1) if is_new else before.instance
        yield actions.Reply(
            key=key,
            instance=instance,
            target=target,
            ready_at=max(view.ready_at(key, instance), _gathered_at(not_notified, view)),
            message=reference,
            reply_kind="storm_page_delayed" if model.is_page_delayed(step) else "storm_step",
            step=Step(step, responder),
        )


# --- the end ---


def _list_end_actions(view: StormView) -> Iterator[actions.Action]:
    storm = view.storm
    if storm.released and not view.is_recorded(RELEASE_INCIDENTS):
        yield ReleaseIncidents(queue=storm.queue)
    if storm.is_active and _find_end_at(view) <= view.now and _is_everyone_notified(view):
        ended = replace(storm, ended_at=view.now, released=_choose_released(view))
        yield ChangeStorm(queue=storm.queue, storm=ended)


def _find_end_at(view: StormView) -> float:
    """Return when the storm ends if no member joins until then."""
    enough = max(1, int(view.rate * QUIET_FOR_S / 2))
    joined = sorted((one.member.joined_at for one in view.counted_members), reverse=True)
    last = joined[enough - 1] if len(joined) >= enough else 0.0
    return max(view.storm.began_at, last) + QUIET_FOR_S


def _is_everyone_notified(view: StormView) -> bool:
    """Return whether the deliveries of all open members are settled, so that none is lost at the end."""
    return all(
        view.storm.find_notifying_delivery(one.name, one.member).is_settled
        for one in view.counted_members
        if one.is_open
    )


def _choose_released(view: StormView) -> tuple[str, ...]:
    """Return the incidents that get their own message: the highest severity first, then the oldest."""
    if not view.storm.is_of_channel:
        return ()
    firing = [one.incident for one in view.members if one.incident and not one.is_resolved]
    firing.sort(key=lambda one: (-one.severity.rank, one.opened_at, one.id))
    return tuple(one.id for one in firing[: int(view.rate * _RELEASE_FOR_S)])
