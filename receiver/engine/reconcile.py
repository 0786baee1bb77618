"""Bringing one incident to how it should be: look, plan, do one thing, look again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from receiver.domain.action import Action, Page
from receiver.domain.incident import Incident
from receiver.domain.notice import Notices
from receiver.domain.plan import plan
from receiver.domain.policy import PAGERDUTY, SLACK, EscalationPolicy, Responder, Target
from receiver.domain.ports import Channel, Incidents, Rules, Turn
from receiver.domain.storm import is_storm
from receiver.engine.brief import Briefing
from receiver.engine.health import HealthNotes
from receiver.engine.inquiry import Inquiry
from receiver.engine.intake import lanes_of
from receiver.engine.page_checks import PageChecker
from receiver.engine.perform import Performer
from receiver.engine.routing_keys import RoutingKeys
from receiver.engine.severity_notices import SeverityNotices
from receiver.engine.storm_keeper import StormKeeper
from receiver.engine.storms import Storms
from receiver.engine.turns import Turns
from receiver.engine.witness import Witness
from receiver.errors import NotFound

# More than an incident can want at once; beyond it others get their turn first.
_ACTIONS_AT_MOST = 40
# How often to look whether the group's former incident has told the pager its end.
_PREDECESSOR_WAIT_S = 1.0


class Reconciler:
    """Does for one incident, in one lane, what is missing."""

    def __init__(
        self,
        incidents: Incidents,
        channels: Mapping[str, Channel],
        rules: Rules,
        briefing: Briefing,
        witness: Witness | None,
        *,
        clock: Callable[[], float],
        keys: RoutingKeys,
        turns: Turns | None = None,
        paused_until: Callable[[float], float] = lambda _now: 0.0,
        health: HealthNotes | None = None,
        inquiry: Inquiry | None = None,
        notices: Notices | None = None,
        storms: Storms | None = None,
        keeper: StormKeeper | None = None,
        checker: PageChecker | None = None,
    ) -> None:
        self._paused_until = paused_until
        self._storms = storms
        self._keeper = keeper
        self._incidents = incidents
        self._rules = rules
        self._briefing = briefing
        self._clock = clock
        self._performer = Performer(
            incidents,
            channels,
            witness,
            clock,
            turns=turns,
            health=health,
            inquiry=inquiry,
            notices=notices,
            checker=checker,
            keys=keys,
            digests=rules.digests,
        )
        self._turns = turns
        self._severity_notices = SeverityNotices(notices, rules) if notices is not None else None

    def reconcile(self, incident_id: str, lane: str, worker: str) -> dict[str, float | None]:
        """Do what is missing in *lane*; return when each lane is to look again.

        The incident is read anew before each action, since a timer that fires must know the
        latest acknowledgement. Raises StoreError, ClaimLost.
        """
        if is_storm(incident_id):
            return self._keeper.reconcile(incident_id, lane, worker) if self._keeper is not None else {}
        waits: dict[str, float] = {}
        for _ in range(_ACTIONS_AT_MOST):
            now = self._clock()
            try:
                incident = self._incidents.load(incident_id)
            except NotFound:
                return {}
            policy = find_policy(self._rules, incident, self._paused_until(now))
            wanted = plan(incident, policy, now)
            mine = [action for action in wanted.actions if action.lane == lane]
            ready, later = self._sort(incident, mine, now)
            if self._fold(incident, policy, ready, worker, now):
                continue
            action = self._next(incident, ready, waits, now)
            if action is None:
                later += [waits[action.key] for action in ready]
                moments = [at for at in (wanted.due, *later) if at is not None]
                dues: dict[str, float | None] = dict.fromkeys(
                    lanes_of(incident, has_witness=policy.has_witness), wanted.due
                )
                for action in wanted.actions:  # a fallback may need a lane that nobody else wakes
                    if action.lane not in dues:
                        dues[action.lane] = max(now, action.ready_at)
                dues[lane] = min(moments, default=None)
                if self._severity_notices is not None:
                    self._severity_notices.say(incident, now)  # pages and messages went first
                return dues
            self._performer.perform(self._briefing.brief(action, incident, policy, now), worker)
        return {lane: self._clock()}

    def _fold(
        self, incident: Incident, policy: EscalationPolicy, ready: list[Action], worker: str, now: float
    ) -> bool:
        """Tell whether one of the *ready* actions was folded into a storm that says it."""
        storms = self._storms
        return storms is not None and any(
            storms.fold(action, incident, policy, now, worker) for action in ready
        )

    def _next(
        self, incident: Incident, ready: list[Action], waits: dict[str, float], now: float
    ) -> Action | None:
        """Return the first action whose turn it is, None where all have to wait; *waits* learns until when,
        by key, so that nothing is asked twice meanwhile.
        """
        for action in ready:
            if waits.get(action.key, now) > now:
                continue
            turn = self._turns.take(action, incident, now) if self._turns is not None else None
            if turn is None or turn.wait_s <= 0:
                waits.pop(action.key, None)
                return action
            waits[action.key] = now + turn.wait_s
            self._consider_storm(turn, action, incident, now, waits)
        return None

    def _consider_storm(
        self, turn: Turn, action: Action, incident: Incident, now: float, waits: dict[str, float]
    ) -> None:
        """Have what waits looked at again at once where a storm says it now."""
        turns, storms = self._turns, self._storms
        if turns is None or storms is None:
            return
        if storms.consider(turn, lambda: turns.waiting(action), action, incident, now):
            waits[action.key] = now

    def _sort(
        self, incident: Incident, actions: list[Action], now: float
    ) -> tuple[list[Action], list[float]]:
        """Return the actions that can be done now, and the moments at which others can."""
        ready = [action for action in actions if action.ready_at <= now]
        later = [action.ready_at for action in actions if action.ready_at > now]
        if incident.previous and any(isinstance(a, Page) for a in ready) and not self._is_told(incident, now):
            ready = [action for action in ready if not isinstance(action, Page)]
            later.append(now + _PREDECESSOR_WAIT_S)
        return ready, later

    def _is_told(self, incident: Incident, now: float) -> bool:
        """Tell whether the pager knows the end of the group's former incident: both go by the
        same dedup key, and an end that came late would close the new page.
        """
        try:
            former = self._incidents.load(incident.previous)
        except NotFound:
            return True
        wanted = plan(former, find_policy(self._rules, former), now)
        return not any(action.lane == PAGERDUTY for action in wanted.actions)


def find_policy(rules: Rules, incident: Incident, paused_until: float = 0.0) -> EscalationPolicy:
    """Return the incident's policy as the configuration has it now, with all other responders
    as those who may have been paged before it changed, and the route's fallback; *paused_until* is a
    maintenance's end.
    """
    policy = rules.get_policy(incident.policy)
    named = {step.responder.name for step in policy.steps}
    others = tuple(r for name, r in rules.responders.items() if name not in named)
    return replace(
        policy,
        others=others,
        has_witness=incident.source in rules.alertmanagers,
        has_pager=rules.can_ask_pager,
        paused_until=paused_until,
        fallback=_find_fallback(rules, incident),
    )


def _find_fallback(rules: Rules, incident: Incident) -> Target | Responder | None:
    """Return whom or what the incident's route names for what is refused for good."""
    name = next((route.fallback for route in rules.routes if route.name == incident.route), "")
    return rules.responders.get(name) or (Target(SLACK, name) if name else None)
