"""The names of a runbook's sections, and the bold labels that begin them."""

from __future__ import annotations

import re
from dataclasses import dataclass

SYMPTOM = "Symptom"
IMPACT = "Impact"
DIAGNOSIS = "Diagnosis"
RESOLUTION = "Resolution"
ESCALATION = "Escalation"

# In the order they are read.
CANONICAL = (SYMPTOM, IMPACT, DIAGNOSIS, RESOLUTION, ESCALATION)

_SYNONYMS = {
    **dict.fromkeys(("symptom", "symptoms", "meaning", "description", "alert description"), SYMPTOM),
    **dict.fromkeys(("impact", "impacts", "user impact", "customer impact"), IMPACT),
    **dict.fromkeys(
        (
            "diagnosis",
            "diagnostics",
            "diagnose",
            "investigation",
            "troubleshooting",
            "possible checks",
            "checks",
        ),
        DIAGNOSIS,
    ),
    **dict.fromkeys(
        (
            "resolution",
            "mitigation",
            "mitigations",
            "remediation",
            "solution",
            "fix",
            "how to fix",
            "what to do",
        ),
        RESOLUTION,
    ),
    **dict.fromkeys(
        ("resolution steps", "mitigation steps", "remediation steps", "steps", "actions", "possible actions"),
        RESOLUTION,
    ),
    **dict.fromkeys(("escalation", "escalate", "escalation path", "when to escalate"), ESCALATION),
}
# Bold labels that begin a section of their own. Any other (`**Note**:`, `**Step 1**:`) stays in
# the section it stands in, so that no step of a resolution is lost to an unknown word.
_OTHER_LABELS = frozenset(
    (
        *("prevention", "threshold", "thresholds", "target", "targets", "root cause", "background"),
        *("long-term", "long-term fix", "short-term", "follow-up", "post-incident"),
        *("severity", "owner", "team", "contact", "contacts"),
        *("dashboard", "dashboards", "links", "references", "see also", "related alerts", "related runbooks"),
    )
)

_LABEL = re.compile(
    r"(?P<mark>\*\*|__)(?P<title>[^*_\n]{1,60}?)(?P<inner>\s*[:：])?\s*(?P=mark)"
    r"(?P<outer>\s*[:：]|\s+[-–—](?=\s|$))?(?P<rest>.*)",
    re.DOTALL,
)
_NUMBERING = re.compile(r"^\W*(?:\d+[.)]\s*)?|[\W_]+$")


@dataclass(frozen=True)
class Label:
    """A bold label at the beginning of a paragraph, and the text behind it."""

    title: str
    rest: str


def section_title(text: str) -> str:
    """Return the section's name: one of CANONICAL where *text* means one, else *text* itself."""
    return _SYNONYMS.get(_bare(text), text.strip().rstrip(":"))


def is_canonical(text: str) -> bool:
    return _bare(text) in _SYNONYMS


def read_label(text: str) -> Label | None:
    """Return the label that *text* begins with (`**Impact**: all tests wait`), if it is a section's."""
    found = _LABEL.match(text.lstrip())
    if found is None:
        return None
    rest = found["rest"].strip()
    if not (found["inner"] or found["outer"]) and rest:
        return None  # bold words in a sentence
    bare = _bare(found["title"])
    if bare in _SYNONYMS or bare in _OTHER_LABELS:
        return Label(section_title(found["title"]), rest)
    return None


def _bare(text: str) -> str:
    return " ".join(_NUMBERING.sub("", text).casefold().split())
