"""Building the notification that a channel renders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain

from receiver import metrics
from receiver.engine.notification import IncidentNotification, Links, find_links
from receiver.engine.ports import OnCallLookup
from receiver.model.actions import DeliveryAction, FallbackMention, Page, Post, Reply, Update
from receiver.model.alert_links import RUNBOOK, NamedLink
from receiver.model.escalation import IncidentView
from receiver.model.incident import Incident, OnCallPerson, find_most_severe
from receiver.model.routing import EscalationPolicy
from receiver.runbooks.catalogue import RunbookCatalogue


@dataclass(frozen=True)
class LinkSettings:
    """URLs for the links in messages; empty where there is none. *more* holds labelled links by route name;
    those under the empty name are for every route.
    """

    public_url: str = ""
    alertmanagers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)

    def find_links(self, incident: Incident) -> Links:
        """Return every link known for *incident*."""
        message = incident.message
        return find_links(
            incident,
            public_url=self.public_url,
            alertmanager_url=self.alertmanagers.get(incident.source, ""),
            more=(*self.more.get(incident.route, ()), *self.more.get("", ())),
            message=message.receipt.link if message and message.receipt else "",
            can_silence=incident.source in self.alertmanagers,
        )


@dataclass(frozen=True, repr=False)
class NotificationBuilder:
    """Builds notifications from the state of an incident."""

    runbooks: RunbookCatalogue
    link_settings: LinkSettings
    on_call: OnCallLookup

    def build_notification(self, action: DeliveryAction, view: IncidentView) -> IncidentNotification:
        """Return *action* with everything a channel needs to render it."""
        incident = view.incident
        is_whole = isinstance(action, Post | Update | Page) and not isinstance(action, FallbackMention)
        most_severe = find_most_severe(incident) if is_whole else None
        excerpt = self.runbooks.find_excerpt(most_severe) if most_severe else None
        if excerpt is not None and excerpt.words and isinstance(action, Post):
            metrics.UNUSABLE_RUNBOOKS.inc()
        return IncidentNotification(
            action=action,
            incident=incident,
            escalation=view.escalation,
            now=view.now,
            excerpt=excerpt,
            links=self.link_settings.find_links(incident),
            on_call=self._find_on_call(action, incident, view.policy),
        )

    def list_links(self, incident: Incident) -> tuple[NamedLink, ...]:
        """Return the links of *incident*: its runbook, Alertmanager's silence form, the configured ones."""
        links, worst = self.link_settings.find_links(incident), find_most_severe(incident)
        excerpt = self.runbooks.find_excerpt(worst) if worst is not None else None
        found = (
            NamedLink(RUNBOOK, excerpt.url if excerpt is not None else ""),
            NamedLink("Silence", "" if incident.is_resolved else links.silence),
            *(NamedLink(name, url) for name, url in links.more),
        )
        return tuple(one for one in found if one.url)

    def _find_on_call(
        self, action: DeliveryAction, incident: Incident, policy: EscalationPolicy
    ) -> tuple[OnCallPerson, ...]:
        """Return who is on call, for a step that is posted in the thread. For a reopening, return the person
        who had acknowledged the incident before, if only their PagerDuty name is known.
        """
        if not isinstance(action, Reply | FallbackMention):
            return ()
        if action.step is not None:
            return tuple(self.on_call.list_on_call(action.step.responder))
        is_reopening = isinstance(action, Reply) and action.reply_kind == "reopened"
        if not is_reopening or not incident.former_by or incident.former_ref:
            return ()
        responders = dict.fromkeys(step.responder for step in policy.steps)
        people = chain.from_iterable(self.on_call.list_on_call(responder) for responder in responders)
        return tuple(person for person in people if person.name == incident.former_by)[:1]
