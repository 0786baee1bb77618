"""Escalation policies: who hears of an incident, and who next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from receiver.text import Secret

SLACK = "slack"
PAGERDUTY = "pagerduty"
ALERTMANAGER = "alertmanager"
_NO_SECRET = Secret()


@dataclass(frozen=True)
class Target:
    """Where a message goes: a channel kind and an address.

    *address* is a Slack channel or handle; a PagerDuty routing key is kept in *secret*.
    """

    kind: str
    address: str
    secret: Secret = _NO_SECRET


def find_digest(digests: Mapping[str, str], target: str) -> str:
    """Return the digest of the secret that is sent to *target* (`kind:address`); empty where there is none.

    *digests* are by target, or by `kind:` for all others of a kind.
    """
    kind = target.partition(":")[0]
    return digests.get(target) or digests.get(f"{kind}:", "")


@dataclass(frozen=True)
class Responder:
    """Whom a step notifies: a name with targets. Its PagerDuty schedule, if any, is for look-ups."""

    name: str
    targets: tuple[Target, ...]
    schedule: str = ""

    def find_target(self, kind: str) -> Target | None:
        return next((target for target in self.targets if target.kind == kind), None)

    @property
    def title(self) -> str:
        """The name as a person reads it: `team-lead` is `Team Lead`, `on-call` stays `On-call`."""
        if self.name.lower() == "on-call":
            return "On-call"
        return " ".join(
            word[:1].upper() + word[1:] for word in self.name.replace("_", "-").split("-") if word
        )


@dataclass(frozen=True)
class Step:
    """One notification of a responder, *after* seconds after the step before was told.

    *name* is stable when other steps come and go: the responder's name, and `#2` from its
    second step on.
    """

    name: str
    responder: Responder
    after: float = 0.0


@dataclass(frozen=True)
class EscalationPolicy:
    """The steps in order; *ack_timeout* seconds until an acknowledgement is forgotten (0: never).

    *others* are responders who may have been paged under an earlier form of the policy: they
    are told the end, and nothing else. *checks_alertmanager* says that Alertmanager can be asked before a
    further step, *checks_pagerduty* that PagerDuty can. *paused_until* is the end of a maintenance in which
    nobody is paged (0: there is none). *fallback* is the route's: whom or what is told where something
    is refused for good.
    """

    name: str
    steps: tuple[Step, ...] = ()
    ack_timeout: float = 0.0
    others: tuple[Responder, ...] = ()
    checks_alertmanager: bool = False
    paused_until: float = 0.0
    checks_pagerduty: bool = False
    fallback: Target | Responder | None = None


NO_POLICY = EscalationPolicy("")
