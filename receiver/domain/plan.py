"""The one place that decides what an incident still needs.

It says everything that should be so by now and drops what is done. Nothing is cancelled,
because nothing was promised.
"""

from __future__ import annotations

from collections.abc import Iterator

from receiver.domain.action import (
    AcknowledgePage,
    Action,
    Note,
    Page,
    Plan,
    Post,
    Reply,
    ResolvePage,
    Update,
)
from receiver.domain.delivery import Delivery
from receiver.domain.escalation import (
    PageLine,
    Progress,
    StepStanding,
    current,
    is_owed_anew,
    page_key,
    page_line,
    reply_key,
    trace_progress,
)
from receiver.domain.incident import Incident, dedup_key
from receiver.domain.policy import PAGERDUTY, SLACK, EscalationPolicy, Responder, Target

# A page waits this long for the incident's message, so that it can link to it: nobody is
# later at the pager for half a second, and a silent Slack costs no more than that.
LINK_GRACE_S = 0.5
# Edits that follow one another are merged: Slack takes some fifty a minute for all channels.
EDIT_PAUSE_S = 1.0
# An incident closed by hand whose alerts fire on is called to mind once.
REMIND_AFTER_S = 4 * 3600.0
# Slack's words for a message that can't be edited any more.
LOST_MESSAGE = frozenset({"message_not_found", "edit_window_closed", "cant_update_message"})


def plan(incident: Incident, policy: EscalationPolicy, now: float) -> Plan:
    """Return what *incident* still needs at *now*, most urgent first, and when to look again.

    Looks at how things stand, not at what happened, so calling it twice, late or after a crash
    is harmless. Actions may carry a `ready_at` that lies ahead: a retry's wait.
    """
    progress = trace_progress(incident, policy, now)
    wanted: list[Action] = [
        *_pages(incident, policy, progress),
        *_posts(incident, progress),
        *_thread(incident, progress, now),
        *_skipped(incident, policy),
    ]
    missing = tuple(action for action in wanted if not _is_done(incident, action))
    moments = [at for at in (progress.look_at, _reminder_at(incident, now)) if at is not None]
    return Plan(missing, due=min(moments, default=None))


def face(incident: Incident, progress: Progress) -> str:
    """Return a short text that differs whenever the incident's message should look different."""
    state = {"resolved": "r", "acknowledged": "a", "open": "o"}[incident.state]
    steps = ",".join(f"{s.step.name}={_step_face(incident, s)}" for s in progress.reached)
    return f"{state}{incident.generation}.{incident.joins}.{incident.revision}.{steps}"


def _step_face(incident: Incident, standing: StepStanding) -> str:
    page = current(incident, page_key(standing.step))
    if page.failed_at:
        return "f"
    if page.reason and not page.receipt:
        return "w"
    if standing.is_given_up:
        return "g"
    return "t" if standing.told_at is not None else "r"


def _is_done(incident: Incident, action: Action) -> bool:
    done = incident.deliveries.get(action.key)
    if done is None or not done.is_settled or done.about != action.about:
        return False
    return isinstance(action, Post) or done.shown == action.shown


def _ready_at(incident: Incident, key: str, about: str = "") -> float:
    """Return the end of a retry's wait; 0 where nothing failed."""
    delivery = incident.deliveries.get(key)
    if delivery is None or delivery.about != about or delivery.is_settled:
        return 0.0
    return delivery.retry_at


# --- the message ---------------------------------------------------------------------------


def find_message(incident: Incident) -> Delivery | None:
    """Return the delivery of the message that stands in the channel, if one does."""
    for key in ("root2", "root"):
        delivery = incident.deliveries.get(key)
        if delivery is not None and delivery.receipt is not None:
            return delivery
    return None


def _posts(incident: Incident, progress: Progress) -> Iterator[Action]:
    """Yield the incident's message, or the edit that brings it up to what is so now."""
    target = Target(SLACK, incident.channel)
    shown = face(incident, progress)
    message = find_message(incident)
    if message is None or message.receipt is None:
        yield Post("root", "", SLACK, target, _ready_at(incident, "root"), shown)
        return
    edit = incident.deliveries.get("update", Delivery())
    if edit.failed_at and edit.reason in LOST_MESSAGE and "root2" not in incident.deliveries:
        yield Post("root2", "", SLACK, target, 0.0, shown, replaces=message.receipt.reference)
        return
    if "root2" in incident.deliveries and message is incident.deliveries.get("root"):
        yield Post(
            "root2", "", SLACK, target, _ready_at(incident, "root2"), shown, message.receipt.reference
        )
        return
    about = message.receipt.reference
    edit = current(incident, "update", about)
    last = edit if edit.receipt is not None else message
    if shown not in (last.shown, edit.shown if edit.failed_at else None):
        last_at = last.receipt.at if last.receipt else 0.0
        ready_at = max(_ready_at(incident, "update", about), last_at + EDIT_PAUSE_S)
        yield Update("update", about, SLACK, target, ready_at, shown, message=about)


# --- its thread ----------------------------------------------------------------------------


def _thread(incident: Incident, progress: Progress, now: float) -> Iterator[Action]:
    """Yield the replies in the message's thread: what people must notice, as edits notify nobody."""
    message = find_message(incident)
    if message is None or message.receipt is None:
        return
    root = incident.deliveries["root"]
    state, generation = root.shown[:1], int(root.shown[1:].partition(".")[0] or 0)
    reference = message.receipt.reference
    if not incident.is_acknowledged and not incident.is_resolved:
        for standing in progress.reached:
            if not standing.is_standing:
                yield _reply(incident, reply_key(standing.step), str(incident.run.number), "step", reference, standing)
    if incident.is_resolved:
        if (state, generation) != ("r", incident.generation):
            yield _reply(incident, "resolved", str(incident.generation), "resolved", reference)
        if (at := _reminder_at(incident, 0.0)) is not None and at <= now:
            yield _reply(incident, "reminder", str(incident.generation), "reminder", reference)
        return
    if incident.generation > generation:
        yield _reply(incident, "reopened", str(incident.generation), "reopened", reference)
    yield from _joined(incident, root, reference)


def _joined(incident: Incident, root: Delivery, reference: str) -> Iterator[Reply]:
    """Yield one reply for all alerts that joined since the last was said."""
    said = int(root.shown.split(".")[1])
    last = incident.deliveries.get("joined", Delivery())
    if last.attempts:
        first, _, latest = last.shown.partition("-")
        said = max(said, int(latest if last.is_settled else first))
    if incident.joins <= said:
        return
    fingerprints = tuple(fp for fp, s in incident.standings.items() if s.join > said and s.is_firing)
    if fingerprints:
        yield Reply(
            "joined",
            "",
            SLACK,
            Target(SLACK, incident.channel),
            _ready_at(incident, "joined"),
            f"{said}-{incident.joins}",
            message=reference,
            says="joined",
            fingerprints=fingerprints,
        )


def _reply(
    incident: Incident,
    key: str,
    about: str,
    says: str,
    reference: str,
    standing: StepStanding | None = None,
) -> Reply:
    return Reply(
        key,
        about,
        SLACK,
        Target(SLACK, incident.channel),
        _ready_at(incident, key, about),
        "",
        message=reference,
        says=says,
        step=standing.step if standing else None,
    )


def _reminder_at(incident: Incident, now: float) -> float | None:
    """Return when an incident closed by hand that fires on is called to mind, if that lies after *now*."""
    if not incident.is_closed_by_hand or incident.is_past or not incident.firing:
        return None
    at = incident.resolved_at + REMIND_AFTER_S
    return at if at > now else None


# --- the pager -----------------------------------------------------------------------------


def _pages(incident: Incident, policy: EscalationPolicy, progress: Progress) -> Iterator[Action]:
    """Yield what each responder's pager is to be told next; events of one key go in order."""
    seen: set[str] = set()
    for responder in (*(step.responder for step in policy.steps), *policy.others):
        target = responder.find_target(PAGERDUTY)
        if target is None or responder.name in seen:
            continue
        seen.add(responder.name)
        wanted = [s for s in progress.reached if s.step.responder.name == responder.name and not s.is_standing]
        action = _next_event(incident, responder, target, wanted)
        if action is not None:
            yield action


def _next_event(
    incident: Incident, responder: Responder, target: Target, reached: list[StepStanding]
) -> Action | None:
    line = page_line(incident, responder)
    key = dedup_key(incident, responder.name)
    if line.is_closing:
        return _resolve_page(incident, incident.deliveries[f"resolve:{responder.name}"].about, responder, target)
    if incident.is_resolved:
        return _resolve_page(incident, str(line.opened), responder, target) if line.is_open else None
    page = _next_page(incident, target, key, reached)
    if page is not None and _must_close_first(incident, line):
        return _resolve_page(incident, str(line.opened), responder, target)
    if page is None and incident.is_acknowledged and line.is_open:
        name, about = f"acknowledge:{responder.name}", str(line.opened)
        return AcknowledgePage(name, about, PAGERDUTY, target, _ready_at(incident, name, about), "", key)
    return page


def _must_close_first(incident: Incident, line: PageLine) -> bool:
    """Tell whether an acknowledged page must be closed, since PagerDuty would join the new one
    to it and wake nobody: it has no way back from acknowledged."""
    return line.is_open and line.opened < incident.run.number and line.acknowledged == line.opened


def _resolve_page(incident: Incident, about: str, responder: Responder, target: Target) -> ResolvePage:
    name = f"resolve:{responder.name}"
    key = dedup_key(incident, responder.name)
    return ResolvePage(name, about, PAGERDUTY, target, _ready_at(incident, name, about), "", key)


def _next_page(
    incident: Incident, target: Target, key: str, reached: list[StepStanding]
) -> Page | None:
    about = str(incident.run.number)
    for standing in reached:
        name = page_key(standing.step)
        if current(incident, name).is_settled:
            continue
        if incident.is_acknowledged and not is_owed_anew(incident):
            return None
        ready_at = max(_ready_at(incident, name, about), _link_grace(incident))
        return Page(name, about, PAGERDUTY, target, ready_at, "", key, standing.step)
    return None


def _link_grace(incident: Incident) -> float:
    root = incident.deliveries.get("root", Delivery())
    if root.is_settled or root.reason:
        return 0.0
    return incident.opened_at + LINK_GRACE_S


# --- the timeline --------------------------------------------------------------------------


def _skipped(incident: Incident, policy: EscalationPolicy) -> Iterator[Note]:
    """Yield a note for each step that left the configuration while the incident is open."""
    if incident.is_resolved:
        return
    names = {step.name for step in policy.steps}
    for name in incident.steps:
        if name not in names:
            text = f"Step {name} is no longer in the configuration: skipped"
            yield Note(f"skipped:{name}", "", SLACK, Target(SLACK, incident.channel), 0.0, "", text)
