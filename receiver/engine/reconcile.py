"""Bringing one incident to how it should be: look, plan, do one thing, look again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from receiver.domain.action import Action, Page
from receiver.domain.incident import Incident
from receiver.domain.notice import Notices
from receiver.domain.plan import plan
from receiver.domain.policy import PAGERDUTY, SLACK, EscalationPolicy, Responder, Target
from receiver.domain.ports import Channel, Incidents, Rules
from receiver.engine.brief import Briefing
from receiver.engine.intake import lanes_of
from receiver.engine.perform import Performer
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
        notices: Notices | None = None,
    ) -> None:
        self._incidents = incidents
        self._rules = rules
        self._briefing = briefing
        self._clock = clock
        self._performer = Performer(incidents, channels, witness, clock, notices)

    def reconcile(self, incident_id: str, lane: str, worker: str) -> dict[str, float | None]:
        """Do what is missing in *lane*; return when each lane is to look again.

        The incident is read anew before each action, since a timer that fires must know the
        latest acknowledgement. Raises StoreError, ClaimLost.
        """
        for _ in range(_ACTIONS_AT_MOST):
            now = self._clock()
            try:
                incident = self._incidents.load(incident_id)
            except NotFound:
                return {}
            policy = find_policy(self._rules, incident)
            wanted = plan(incident, policy, now)
            mine = [action for action in wanted.actions if action.lane == lane]
            ready, later = self._sort(incident, mine, now)
            if not ready:
                moments = [at for at in (wanted.due, *later) if at is not None]
                dues: dict[str, float | None] = dict.fromkeys(
                    lanes_of(incident, has_witness=policy.has_witness), wanted.due
                )
                for action in wanted.actions:  # a fallback may need a lane that nobody else wakes
                    if action.lane not in dues:
                        dues[action.lane] = max(now, action.ready_at)
                dues[lane] = min(moments, default=None)
                return dues
            self._performer.perform(self._briefing.brief(ready[0], incident, policy, now), worker)
        return {lane: self._clock()}

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


def find_policy(rules: Rules, incident: Incident) -> EscalationPolicy:
    """Return the incident's policy as the configuration has it now, with all other responders
    as those who may have been paged before it changed, and the route's fallback.
    """
    policy = rules.get_policy(incident.policy)
    named = {step.responder.name for step in policy.steps}
    others = tuple(r for name, r in rules.responders.items() if name not in named)
    return replace(
        policy,
        others=others,
        has_witness=incident.source in rules.alertmanagers,
        fallback=_find_fallback(rules, incident),
    )


def _find_fallback(rules: Rules, incident: Incident) -> Target | Responder | None:
    """Return whom or what the incident's route names for what is refused for good."""
    name = next((route.fallback for route in rules.routes if route.name == incident.route), "")
    return rules.responders.get(name) or (Target(SLACK, name) if name else None)
