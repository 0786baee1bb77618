"""A runbook as the API shows it."""

from __future__ import annotations

from receiver.errors import NotFound
from receiver.runbooks.model import Section
from receiver.web.bodies import RunbookDetail, RunbookPart, RunbookSection
from receiver.wiring.parts import Services


def describe_runbook(services: Services, name: str) -> RunbookDetail:
    """Return a runbook's sections and its Markdown. Raises NotFound."""
    runbook = services.runbooks.find_runbook(name)
    if runbook is None:
        raise NotFound("runbook", name)
    return RunbookDetail(
        name=runbook.name,
        severity=runbook.severity,
        sections=[_serialize_section(section) for section in runbook.sections],
        markdown=runbook.source,
    )


def _serialize_section(section: Section) -> RunbookSection:
    return RunbookSection(
        title=section.title,
        parts=[
            RunbookPart(kind=part.kind, text=part.text, depth=part.depth, marker=part.marker, lang=part.lang)
            for part in section.parts
        ],
    )
