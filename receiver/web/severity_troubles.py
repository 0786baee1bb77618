"""Alarms about severities: criticals for which nobody is ever paged, and words that are unknown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from receiver.incidents.routing_preview import REMEDY, is_unpaged_critical
from receiver.model.alert import describe_unknown_severity
from receiver.model.incident import Incident
from receiver.web.relative import url_for
from receiver.web.troubles import Link, StatusWarning
from receiver.wiring.parts import Services

_SHOWN = 5


def list_severity_warnings(services: Services, incidents: Iterable[Incident]) -> tuple[StatusWarning, ...]:
    """Return what the severities of open *incidents* make known. It follows from the incidents, so it is
    shown until they are over, or until a word is in `severities`.
    """
    unpaged: list[Incident] = []
    words: dict[str, Incident] = {}
    for incident in incidents:
        if incident.is_resolved:
            continue
        if is_unpaged_critical(services.routing, incident):
            unpaged.append(incident)
        for word in incident.unknown_severities:
            if services.routing.severities.find_severity(word) is None:
                words.setdefault(word, incident)
    return (*_warn_of_unpaged(unpaged), *_warn_of_unknown(words))


def _warn_of_unpaged(incidents: list[Incident]) -> Iterator[StatusWarning]:
    if not incidents:
        return
    count = len(incidents)
    title = "A critical pages nobody." if count == 1 else f"{count} criticals page nobody."
    routes = list(dict.fromkeys(incident.route for incident in incidents))
    more = f" and {len(routes) - _SHOWN} more" if len(routes) > _SHOWN else ""
    words = (
        f"No escalation on {'route' if len(routes) == 1 else 'routes'} {', '.join(routes[:_SHOWN])}{more}:"
    )
    yield StatusWarning("alarm", title, words, links=tuple(map(_link, incidents[:_SHOWN])))


def _warn_of_unknown(words: dict[str, Incident]) -> Iterator[StatusWarning]:
    for word, incident in list(words.items())[:_SHOWN]:
        title = f"An alert has the {describe_unknown_severity(word)}."
        yield StatusWarning("alarm", title, f"{REMEDY[0].upper()}{REMEDY[1:]}:", links=(_link(incident),))
    if len(words) > _SHOWN:
        yield StatusWarning("alarm", f"{len(words) - _SHOWN} more severities are unknown.")


def _link(incident: Incident) -> Link:
    words = incident.alertname or incident.id
    return Link(url_for("pages.incident", incident_id=incident.id), words)
