"""What the environment sets. What is unset has a default that works on one machine."""

from __future__ import annotations

from dataclasses import dataclass, field

from receiver.config.variables import Network
from receiver.text import Secret

_UNSET = Secret()


@dataclass(frozen=True)
class Settings:
    """The environment's variables under their own names; an empty variable is an unset one.

    Addresses have no unit and no `/` at their end, but for slack_api_url.
    """

    # Where the state is kept. Unset: `run` starts a store of its own, `web` and `worker` refuse.
    # A secret, for the address may hold a password.
    redis_url: Secret = _UNSET
    # How many connections to Redis (in a cluster: to each node) one process has at most.
    redis_max_connections: int = 10
    # How many MiB the store that `run` starts may take. Full, it takes nothing more; alerts are sent again.
    embedded_max_memory: int = 512

    # The bot's token (xoxb-…). Unset: Slack is simulated, so that a first try needs no account.
    slack_bot_token: Secret = _UNSET
    # Proves that a button or a command comes from Slack. Unset: those webhooks are refused.
    slack_signing_secret: Secret = _UNSET
    # Opens Socket Mode (xapp-…), where Slack can't reach us. Unset: no socket.
    slack_app_token: Secret = _UNSET

    # Reads PagerDuty's REST API. Unset: nothing is read there; pages go by routing keys.
    pagerduty_api_token: Secret = _UNSET
    # Proves that a webhook comes from PagerDuty. Unset: those webhooks are refused.
    pagerduty_webhook_secret: Secret = _UNSET

    # What senders of alerts, and readers of API, metrics and page, must show. Several, so that
    # one can be changed without a gap. Unset: open, and then on loopback only.
    webhook_tokens: tuple[Secret, ...] = ()
    api_tokens: tuple[Secret, ...] = ()
    # Those of readers only: dashboards, and whoever collects /metrics.
    viewer_tokens: tuple[Secret, ...] = ()

    # The proxies whose word we take for who comes, and the headers in which they say it. Unset: no
    # header says anything, whoever sends it.
    trusted_proxies: tuple[Network, ...] = ()
    user_header: str = ""
    groups_header: str = ""

    # The OpenID provider that people sign in with. Unset: nobody signs in.
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: Secret = _UNSET
    oidc_scopes: str = "openid profile email"
    oidc_groups_claim: str = "groups"

    # Who of those that a proxy or a provider names may answer, and who may only read. Unset:
    # everybody they let in answers; with responders set, everybody else reads.
    responders: tuple[str, ...] = ()
    viewers: tuple[str, ...] = ()

    # Our own address as people reach it. Unset: messages hold no link to us, since a wrong
    # one is worse than none.
    public_url: str = ""

    # To which names we answer beside our own where no token is asked for. Unset: on loopback to none, and
    # beyond it to any.
    allowed_hosts: tuple[str, ...] = ()

    # The vendors' own addresses; others for a proxy or a test. slack_sdk joins its methods to
    # an address that ends in `/`. Not printed, for a proxy's may hold a login.
    slack_api_url: str = field(default="https://slack.com/api/", repr=False)
    pagerduty_events_url: str = field(default="https://events.pagerduty.com", repr=False)
    pagerduty_api_url: str = field(default="https://api.pagerduty.com", repr=False)

    # Unset: nobody is asked whether alerts still fire, and no query is run. Not printed, for
    # they may hold a login.
    alertmanager_url: str = field(default="", repr=False)
    prometheus_url: str = field(default="", repr=False)

    @property
    def has_identity_source(self) -> bool:
        """Whether somebody else tells us who comes: a provider, or a proxy."""
        return bool(self.oidc_issuer or self.trusted_proxies)

    @property
    def requires_auth(self) -> bool:
        """Whether API, metrics and page are for those only whom we know."""
        return bool(self.api_tokens or self.viewer_tokens or self.has_identity_source)
