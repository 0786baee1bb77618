"""The one place that decides what a storm still needs; as `plan.py` does for an incident.

It looks at how the storm and its members stand, so calling it twice, late or after a crash is harmless.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from receiver.domain.action import (
    AcknowledgePage,
    Action,
    CheckPage,
    Page,
    Plan,
    Post,
    Reply,
    ResolvePage,
    Update,
)
from receiver.domain.delivery import Delivery
from receiver.domain.page_check import (
    find_check_due_at,
    find_resolve_check_due_at,
    limit_check_wait,
    postponed_until,
)
from receiver.domain.page_line import build_gone_responder
from receiver.domain.policy import PAGERDUTY, SLACK, Responder, Step, Target
from receiver.domain.storm import (
    WAVE_PAUSE_S,
    Counted,
    Member,
    Storm,
    StormAnswer,
    count,
    covers,
    find_counted,
    hint_key,
    is_unreached,
    mention_key,
    page_key,
    storm_dedup_key,
)

# A page can't be edited, so it waits for those it is to count: until nobody came for so long, and no longer
# than that. Of what is new, the first were paged one by one already. What reaches a further step does so in
# the same batches in which it was told before, so that takes a little longer to come together.
_GATHER_S = (1.5, 5.0)
_GATHER_STEPS_S = (3.0, 6.0)
# It is over when fewer joined in so many seconds than can be said in half of them.
CALM_FOR_S = 30.0
# When it is over, as many get a message of their own as can be said in so many seconds: short of 30, so that
# they are no storm themselves.
_HAND_BACK_FOR_S = 20.0
# How often a storm looks at its members, by how old it is; edits follow no faster.
_LOOKS = ((60.0, 5.0), (600.0, 10.0), (3600.0, 30.0))
_LAST_LOOK_S = 60.0
_BUSY_S = 60.0


@dataclass(frozen=True)
class Answer(Action):
    """Have every member hear of an answer that somebody gave the storm."""

    answer: StormAnswer


@dataclass(frozen=True)
class CloseWave(Action):
    """Whoever joins from now on is of the next wave."""

    wave: int


@dataclass(frozen=True)
class Leave(Action):
    """The storm is over: nobody joins any more, and *left* are to have a message of their own."""

    left: tuple[str, ...]


@dataclass(frozen=True)
class HandBack(Action):
    """Have the incidents that are left say themselves."""


@dataclass(frozen=True)
class Finish(Action):
    """Nothing is left to do."""


Decision = Answer | CloseWave | Leave | HandBack | Finish


@dataclass(frozen=True)
class Standing:
    """A storm with its members at *now*, and what the configuration says of its place.

    *members* are those it speaks for at its place, *mentioned* those that reached a step that is told in
    its thread. *rate* is how many the place can be told a second, *checks_pagerduty* tells whether
    PagerDuty can be asked what it has of the storm's pages.
    """

    storm: Storm
    members: Sequence[Counted]
    mentioned: Sequence[tuple[str, Counted]]
    rate: float
    responders: dict[str, Responder]
    now: float
    checks_pagerduty: bool = False

    @property
    def everyone(self) -> Sequence[Counted]:
        """Those the storm's message counts; where it speaks for none, those mentioned in its thread."""
        return find_counted([*self.members, *(one for _, one in self.mentioned)])

    def of_step(self, step: str) -> list[Counted]:
        return [one for name, one in self.mentioned if name == step]

    def of_wave(self, wave: int) -> list[Counted]:
        return [one for one in self.members if one.member.wave == wave]

    @property
    def waves(self) -> list[int]:
        return sorted({one.member.wave for one in self.members})

    @property
    def look_every(self) -> float:
        age = self.now - self.storm.began_at
        return next((every for until, every in _LOOKS if age < until), _LAST_LOOK_S)

    def delivery(self, key: str) -> Delivery:
        return self.storm.deliveries.get(key, Delivery())

    def ready_at(self, key: str, about: str = "") -> float:
        delivery = self.delivery(key)
        return 0.0 if delivery.is_settled or delivery.instance != about else delivery.retry_at


def plan_storm(standing: Standing) -> Plan:
    """Return what the storm still needs, most urgent first, and when to look again (None: never)."""
    storm = standing.storm
    if storm.resolved_at:
        return Plan(())
    wanted = [
        *_answers(standing),
        *(_messages(standing) if storm.is_of_channel else _pages(standing)),
        *_leaving(standing),
    ]
    missing = [action for action in wanted if not _is_done(storm, action)]
    if not missing and not storm.is_on and all(one.is_resolved for one in standing.everyone):
        missing = [Finish("finish", "", storm.queue, _nowhere(storm), 0.0, "")]
    return Plan(tuple(missing), next_check_at=_due(standing))


def _due(standing: Standing) -> float:
    moments = [standing.now + standing.look_every]
    if standing.storm.is_on and (calm_at := _calm_at(standing)) > standing.now:
        moments.append(calm_at)
    return min(moments)


def _is_done(storm: Storm, action: Action) -> bool:
    if isinstance(action, CloseWave | Leave | Finish):
        return False
    done = storm.deliveries.get(action.key)
    if done is None or not done.is_settled or done.instance != action.instance:
        return False
    return not isinstance(action, Update) or done.content_version == action.content_version


def _nowhere(storm: Storm) -> Target:
    return Target(storm.queue, storm.name)


def _answers(standing: Standing) -> Iterator[Action]:
    storm = standing.storm
    for answer in storm.answers:
        yield Answer(answer.key, answer.about, storm.queue, _nowhere(storm), 0.0, "", answer)


# --- the pages of a responder's storm ---


def _pages(standing: Standing) -> Iterator[Action]:
    name = standing.storm.name
    # One that left the configuration is paged no more; its pages are ended.
    responder = standing.responders.get(name) or build_gone_responder(name)
    target = responder.find_target(PAGERDUTY)
    if target is None:
        return
    for wave in standing.waves:
        if name in standing.responders or standing.delivery(page_key(wave)).may_have_arrived:
            yield from _page_of(standing, wave, responder, target)
            yield from _checks_of(standing, wave, responder, target)


def _page_of(standing: Standing, wave: int, responder: Responder, target: Target) -> Iterator[Action]:
    """Yield what the pager is to be told of one wave next; events of one key go in order."""
    members, storm = standing.of_wave(wave), standing.storm
    key, dedup_key = page_key(wave), storm_dedup_key(storm.id, wave)
    page = standing.delivery(key)
    is_over, is_open = all(one.is_resolved for one in members), any(one.is_open for one in members)
    if is_open and not page.is_settled and storm.closed < wave:
        moment = max(standing.ready_at(key), _page_at(standing, wave, members))
        step, digest = Step(responder.name, responder), target.secret.digest
        yield Page(key, "", PAGERDUTY, target, moment, "", dedup_key, step, digest)
        return
    if not page.may_have_arrived or is_open:
        return
    if storm.closed < wave:
        yield CloseWave("close", str(wave), storm.queue, _nowhere(storm), 0.0, "", wave)
        return
    name = f"resolve:{wave}" if is_over else f"acknowledge:{wave}"
    kind = ResolvePage if is_over else AcknowledgePage
    about = "" if is_over else storm.acknowledged_about(wave)
    at = standing.ready_at(name, about)
    yield kind(name, about, PAGERDUTY, target, at, "", dedup_key, page.key_digest)
    if page.earlier_key_digest:  # tried before a reload under another key, and maybe taken
        name = f"{name}~{page.earlier_key_digest}"
        at = standing.ready_at(name, about)
        yield kind(name, about, PAGERDUTY, target, at, "", dedup_key, page.earlier_key_digest)


def _checks_of(standing: Standing, wave: int, responder: Responder, target: Target) -> Iterator[Action]:
    """Yield what PagerDuty is to be asked of one wave's page, once for all that it counts."""
    is_open = any(one.is_open for one in standing.of_wave(wave)) and standing.storm.closed < wave
    of = page_key(wave) if is_open else f"resolve:{wave}"
    event = standing.delivery(of)
    due_at = find_check_due_at(event) if is_open else find_resolve_check_due_at(event)
    if due_at is None:
        return
    told = standing.delivery(hint_key(wave)).receipt
    hint = told.reference if told is not None and is_open else ""
    hint = "" if event.check is not None and event.check.hint == hint else hint
    if hint or standing.checks_pagerduty:
        moment = limit_check_wait(event, postponed_until(event) if hint else due_at, standing.now)
        yield CheckPage(f"check:{wave}", "", PAGERDUTY, target, moment, "", responder, of, hint)


def _page_at(standing: Standing, wave: int, members: Sequence[Counted]) -> float:
    """Return when a wave is paged: soon after it began, and some time after the wave before."""
    gathered = _gathered_at([one.member for one in members], standing)
    former = [
        delivery.receipt.at
        for key, delivery in standing.storm.deliveries.items()
        if key.startswith("page:") and key != page_key(wave) and delivery.receipt is not None
    ]
    return max([gathered, *(at + WAVE_PAUSE_S for at in former)])


def _gathered_at(members: Sequence[Member], standing: Standing) -> float:
    """Return when those have come together who are told at once: now, where a worker whose clock is ahead of
    ours let one in, as how long that has waited is not known.
    """
    joined, storm = [member.joined_at for member in members], standing.storm
    if max(joined) > standing.now:
        return standing.now
    quiet_s, at_most_s = _GATHER_STEPS_S if storm.is_of_channel or storm.is_of_steps else _GATHER_S
    return min(min(joined) + at_most_s, max(joined) + quiet_s)


# --- the message of a channel's storm ---


def _messages(standing: Standing) -> Iterator[Action]:
    storm, target = standing.storm, Target(SLACK, standing.storm.name)
    shown = _face(standing)
    message = standing.delivery("root").receipt
    if message is None:
        if standing.everyone:
            yield Post("root", "", SLACK, target, standing.ready_at("root"), shown)
        return
    yield from _mentions(standing, target, message.reference)
    if not storm.is_on and any(not one.is_resolved for one in standing.everyone):
        yield Reply(
            "over",
            "",
            SLACK,
            target,
            standing.ready_at("over"),
            "",
            message.reference,
            reply_kind="storm_over",
        )
    about = message.reference
    edit = standing.delivery("update")
    last = edit if edit.receipt is not None else standing.delivery("root")
    if shown not in (last.content_version, edit.content_version if edit.failed_at else None):
        last_at = last.receipt.at if last.receipt is not None else 0.0
        moment = max(standing.ready_at("update", about), last_at + _edit_pause(standing))
        yield Update("update", about, SLACK, target, moment, shown, message=about)


def _edit_pause(standing: Standing) -> float:
    return min(standing.look_every, 10.0) if standing.now - standing.storm.began_at >= _BUSY_S else 5.0


def _face(standing: Standing) -> str:
    storm, mentions = standing.storm, sorted({step for step, _ in standing.mentioned})
    state = "w" if storm.is_on else "o"
    return f"{state}{len(storm.answers)}.{count(standing.everyone).face}.{','.join(mentions)}"


def _mentions(standing: Standing, target: Target, reference: str) -> Iterator[Reply]:
    """Yield a mention of each responder whose step members reached and nobody has told them of yet."""
    for step in sorted({step for step, _ in standing.mentioned}):
        key, responder = mention_key(step), standing.responders.get(step.partition("#")[0])
        before = standing.delivery(key)
        untold = [
            one.member
            for name, one in standing.mentioned
            if name == step and one.is_open and not covers(before, one.member)
        ]
        if responder is None or not untold:
            continue
        about = (
            str(int(before.instance or 0) + 1)
            if before.is_settled or not before.attempts
            else before.instance
        )
        moment = max(standing.ready_at(key, about), _gathered_at(untold, standing))
        says = "storm_unreached" if is_unreached(step) else "storm_step"
        yield Reply(key, about, SLACK, target, moment, "", reference, says, Step(step, responder))


# --- the end ---


def _leaving(standing: Standing) -> Iterator[Action]:
    storm = standing.storm
    if storm.left:
        yield HandBack("hand_back", "", storm.queue, _nowhere(storm), 0.0, "")
    if storm.is_on and _calm_at(standing) <= standing.now and _is_all_said(standing):
        yield Leave("leave", "", storm.queue, _nowhere(storm), 0.0, "", _choose_left(standing))


def _calm_at(standing: Standing) -> float:
    """Return when it is calm if nobody joins any more."""
    enough = max(1, int(standing.rate * CALM_FOR_S / 2))
    joined = sorted((one.member.joined_at for one in standing.everyone), reverse=True)
    last = joined[enough - 1] if len(joined) >= enough else 0.0
    return max(standing.storm.began_at, last) + CALM_FOR_S


def _is_all_said(standing: Standing) -> bool:
    """Tell whether everybody who joined is told of: nobody may be between the storm and its end."""
    tellings = [standing.storm.find_telling(one.id, one.member) for one in standing.everyone if one.is_open]
    return all(telling.is_settled for telling in tellings)


def _choose_left(standing: Standing) -> tuple[str, ...]:
    """Return the incidents that are to have their own message: the worst, and of these the oldest."""
    if not standing.storm.is_of_channel:
        return ()
    firing = [one.incident for one in standing.members if one.incident and not one.is_resolved]
    firing.sort(key=lambda one: (-one.severity.rank, one.opened_at, one.id))
    return tuple(one.id for one in firing[: int(standing.rate * _HAND_BACK_FOR_S)])
