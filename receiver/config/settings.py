"""The settings from environment variables: defaults (for one machine), reading and checking."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from receiver.config import formats
from receiver.config.fields import Fault, Format, Kind, key, list_keys
from receiver.config.mistakes import APP_TOKEN, BOT_TOKEN, Mistake, find_mistake
from receiver.config.yaml_tree import Interpolation
from receiver.errors import ConfigError, Problem
from receiver.text import Secret, is_loopback

_UNSET = Secret()
_PEOPLE = "names, e-mail addresses and group:NAME, separated by commas"


@dataclass(frozen=True)
class Settings:
    """The environment variables; an empty one counts as unset. URLs have no trailing `/`, except Slack's."""

    redis_url: Secret = key(formats.STORE_URL, _UNSET, name="REDIS_URL")
    """Where the state is stored: `redis://host:6379/0`, `rediss://…` (TLS), `unix:///path/to/socket`,
    `redis+sentinel://host:port,host:port/service` or `redis+cluster://host:port,host:port`;
    [more](../redis.md). Unset, `receiver run` starts an embedded Valkey in the data folder; `web` and
    `worker` require it."""
    redis_max_connections: int = key(formats.count(2, 1000), 10, name="REDIS_MAX_CONNECTIONS")
    """The most connections to Redis (in a cluster: to each node) of one process, from 2 to 1000. A request
    that finds none free waits for one, 2 seconds at most. [How many there are in
    all](../redis.md#connections)."""
    embedded_max_memory: int = key(formats.count(32, 1024 * 1024), 512, name="RECEIVER_EMBEDDED_MAX_MEMORY")
    """The memory limit, in MiB, of the Valkey that `receiver run` starts. When it is full, webhooks are
    answered 503 and Alertmanager sends them again."""
    slack_bot_token: Secret = key(formats.slack_token(BOT_TOKEN), _UNSET, name="SLACK_BOT_TOKEN")
    """The bot's token, `xoxb-…`; a user's (`xoxp-…`) or an app-level one is a fault. Unset: Slack is
    simulated."""
    slack_signing_secret: Secret = key(formats.slack_token(), _UNSET, name="SLACK_SIGNING_SECRET")
    """Verifies that buttons and commands come from Slack. Unset: those webhooks are refused."""
    slack_app_token: Secret = key(formats.slack_token(APP_TOKEN), _UNSET, name="SLACK_APP_TOKEN")
    """App-level token, `xapp-…`, for Socket Mode: buttons and commands without an open port. Unset: no
    socket."""
    pagerduty_api_token: Secret = key(formats.slack_token(), _UNSET, name="PAGERDUTY_API_TOKEN")
    """For PagerDuty's REST API, for example to read who is on call. Pages don't need it: they use the routing
    keys in `routing.yaml`. Unset: the API isn't called."""
    pagerduty_webhook_secret: Secret = key(formats.slack_token(), _UNSET, name="PAGERDUTY_WEBHOOK_SECRET")
    """Verifies that a webhook comes from PagerDuty. Unset: those webhooks are refused."""
    webhook_tokens: tuple[Secret, ...] = key(formats.TOKENS, (), name="RECEIVER_WEBHOOK_TOKEN")
    """What Alertmanager must present, as a bearer token or as the password of basic auth."""
    api_tokens: tuple[Secret, ...] = key(formats.TOKENS, (), name="RECEIVER_API_TOKEN")
    """What clients of the API, of `/metrics` and of the web page must present; the command line presents it,
    too."""
    viewer_tokens: tuple[Secret, ...] = key(formats.TOKENS, (), name="RECEIVER_VIEWER_TOKEN")
    """Reads all of that and changes nothing: for dashboards, and for Prometheus to scrape `/metrics`."""
    oidc_issuer: str = key(formats.BASE_URL, "", name="OIDC_ISSUER")
    """Your OpenID provider, as it names itself: `https://login.example.org/realms/ops`. With the next two and
    `PUBLIC_URL`, users sign in there. Register `PUBLIC_URL` + `/sign-in/callback` as the redirect URI, for a
    confidential web client with the authorization code flow. It needs `pip install 'receiver[oidc]'`, which
    the image has; `receiver check --online` tries it."""
    oidc_client_id: str = key(formats.TEXT, "", name="OIDC_CLIENT_ID")
    """The client ID that the provider gave us."""
    oidc_client_secret: Secret = key(formats.SECRET, _UNSET, name="OIDC_CLIENT_SECRET")
    """The client's secret. Changing it ends every session."""
    oidc_scopes: str = key(formats.TEXT, "openid profile email", name="OIDC_SCOPES")
    """The scopes that are requested; some providers need `groups` here, too."""
    oidc_groups_claim: str = key(formats.TEXT, "groups", name="OIDC_GROUPS_CLAIM")
    """The claim that holds a user's groups."""
    trusted_proxies: tuple[formats.Network, ...] = key(formats.NETWORKS, (), name="RECEIVER_TRUSTED_PROXY")
    """Addresses and networks of reverse proxies that authenticate users, like `10.0.0.5,10.1.0.0/16`. Unset:
    the two headers are ignored."""
    user_header: str = key(formats.HEADER, "", name="RECEIVER_USER_HEADER")
    """The header in which they send the user's name, like `X-Forwarded-User` or `Remote-User`."""
    groups_header: str = key(formats.HEADER, "", name="RECEIVER_GROUPS_HEADER")
    """The header with the user's groups, separated by commas."""
    responders: tuple[str, ...] = key(formats.words(_PEOPLE), (), name="RECEIVER_RESPONDERS")
    """Which of these users may respond: names, e-mail addresses and `group:NAME`, separated by commas. Unset:
    all of them."""
    viewers: tuple[str, ...] = key(formats.words(_PEOPLE), (), name="RECEIVER_VIEWERS")
    """Which other users may read, written likewise. Unset: all others."""
    public_url: str = key(formats.BASE_URL, "", name="PUBLIC_URL")
    """How users reach this receiver, for links in messages. Unset: no such links. It may have a path, see
    [below a path](#below-a-path)."""
    allowed_hosts: tuple[str, ...] = key(formats.HOSTS, (), name="RECEIVER_ALLOWED_HOSTS")
    """Names (without port, separated by commas) to which the receiver answers where no token is required,
    beside IP addresses, `localhost` and the host of `PUBLIC_URL`. Unset: on loopback none, beyond it
    (`--insecure`) any."""
    slack_api_url: str = key(formats.FOLDER_URL, "https://slack.com/api/", name="SLACK_API_URL")
    """Slack's API, or a proxy for it."""
    pagerduty_events_url: str = key(
        formats.BASE_URL, "https://events.pagerduty.com", name="PAGERDUTY_EVENTS_URL"
    )
    """PagerDuty's Events API, for pages. In the EU: `https://events.eu.pagerduty.com`."""
    pagerduty_api_url: str = key(formats.BASE_URL, "https://api.pagerduty.com", name="PAGERDUTY_API_URL")
    """PagerDuty's REST API. In the EU: `https://api.eu.pagerduty.com`."""
    alertmanager_url: str = key(formats.BASE_URL, "", name="ALERTMANAGER_URL")
    """Your Alertmanager, polled to learn whether an alert still fires. Used by `routing.yaml`, and by
    `receiver fire`."""
    prometheus_url: str = key(formats.BASE_URL, "", name="PROMETHEUS_URL")
    """Your Prometheus. Used by `routing.yaml`."""

    @property
    def has_identity_source(self) -> bool:
        """Whether a provider or a proxy tells us who the user is."""
        return bool(self.oidc_issuer or self.trusted_proxies)

    @property
    def requires_auth(self) -> bool:
        """Whether API, metrics and pages require authentication."""
        return bool(self.api_tokens or self.viewer_tokens or self.has_identity_source)


# Where a provider redirects to, below PUBLIC_URL; it has to be registered there.
CALLBACK = "/sign-in/callback"
# The cookie contains those names and groups of the user that are listed; a browser allows 4 KiB.
MAX_NAME = 100


def list_auth_methods(settings: Settings) -> list[str]:
    """Return the authentication methods of API and pages; empty if no authentication is required."""
    methods = ["RECEIVER_API_TOKEN"] if settings.api_tokens else []
    methods += ["RECEIVER_VIEWER_TOKEN (reads)"] if settings.viewer_tokens else []
    if settings.trusted_proxies:
        proxies = ", ".join(str(proxy) for proxy in settings.trusted_proxies)
        methods.append(f"{settings.user_header} from {proxies}")
    if settings.oidc_issuer:
        methods.append(f"signing in with {settings.oidc_issuer}")
    return methods


def _find_auth_faults(settings: Settings) -> Iterator[Mistake]:
    """Yield what is wrong between the variables, and what was expected."""
    if settings.trusted_proxies and not settings.user_header:
        yield "RECEIVER_TRUSTED_PROXY is set without RECEIVER_USER_HEADER", "both"
    if (settings.user_header or settings.groups_header) and not settings.trusted_proxies:
        yield "a header with users' names is set, and RECEIVER_TRUSTED_PROXY is unset", "who may send it"
    if settings.groups_header and settings.groups_header.lower() == settings.user_header.lower():
        yield "RECEIVER_GROUPS_HEADER is RECEIVER_USER_HEADER", "another header"
    yield from _find_provider_faults(settings)
    yield from _find_role_faults(settings)


def _find_provider_faults(settings: Settings) -> Iterator[Mistake]:
    needed = {
        "OIDC_ISSUER": settings.oidc_issuer,
        "OIDC_CLIENT_ID": settings.oidc_client_id,
        "OIDC_CLIENT_SECRET": settings.oidc_client_secret,
    }
    if not any(needed.values()):
        return
    for name in (name for name, value in needed.items() if not value):
        yield f"{name} is unset and signing in needs it", "all of " + ", ".join(needed)
    if not settings.public_url:
        yield "PUBLIC_URL is unset and signing in leads back to it", "our own address as browsers reach it"
    if not (settings.oidc_client_secret.reveal() + settings.oidc_client_id).isascii():
        yield "OIDC_CLIENT_ID or OIDC_CLIENT_SECRET holds other letters than ASCII", "those of the provider"
    if "openid" not in settings.oidc_scopes.split():
        yield "OIDC_SCOPES is without openid", "scopes with blanks between, openid among them"
    if any(find_spec(package) is None for package in ("authlib", "joserfc")):
        yield "OIDC_ISSUER is set, and what signing in needs is not installed", "pip install 'receiver[oidc]'"
    parts = urlsplit(settings.oidc_issuer)
    if "@" in parts.netloc:
        yield "OIDC_ISSUER holds a login", "an address without one"
    elif settings.oidc_issuer and parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        # The provider's keys are fetched from there: an attacker on the way could sign in as any user.
        yield "OIDC_ISSUER is not https", "https://…, or http:// on this machine"


def _find_role_faults(settings: Settings) -> Iterator[Mistake]:
    lists = "RECEIVER_RESPONDERS or RECEIVER_VIEWERS"
    if set(settings.viewer_tokens) & set(settings.api_tokens):
        yield "RECEIVER_VIEWER_TOKEN and RECEIVER_API_TOKEN share a token", "others for those who only read"
    if settings.viewer_tokens and not (settings.api_tokens or settings.has_identity_source):
        yield "RECEIVER_VIEWER_TOKEN is set, and no client may respond", "RECEIVER_API_TOKEN, too"
    if (settings.responders or settings.viewers) and not settings.has_identity_source:
        yield f"{lists} is set, and no user signs in", "OIDC_ISSUER or RECEIVER_TRUSTED_PROXY, too"
    elif settings.viewers and not settings.responders:
        # All other users would be responders, and the list of viewers would exclude none of them.
        yield "RECEIVER_VIEWERS is set without RECEIVER_RESPONDERS", "both"
    if any(len(name) > MAX_NAME for name in (*settings.responders, *settings.viewers)):
        yield f"{lists} holds a name of more than {MAX_NAME} characters", "shorter ones"


_IN_FILE = re.compile(r"\s*\$\{file:[^}]*\}\s*")


@dataclass(frozen=True, eq=False, repr=False)
class Environment(Mapping[str, str]):
    """Variables by name; a value `${file:PATH}` is read from that file at each access.

    So a secret that was rotated takes effect at the next reload. Raises ConfigError for a file that
    can't be read and for an empty one: an empty file must not turn authentication off.
    """

    environ: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        text = self.environ[name]
        if not _IN_FILE.fullmatch(text):
            return text
        value, faults = Interpolation({}, Path()).expand(text.strip())
        if not faults and not value.strip():
            faults = ["the file is empty"]
        if faults:
            raise ConfigError([Problem("environment", 1, f"{name}: {fault}") for fault in faults])
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self.environ)

    def __len__(self) -> int:
        return len(self.environ)


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings in *environ*.

    Raises ConfigError with every wrong variable; no problem quotes a value.
    """
    environ = Environment(environ)
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    faulty: set[str] = set()
    for attribute, declared in list_keys(Settings).items():
        name = declared.name
        try:
            if text := environ.get(name, "").strip():
                values[attribute] = _parse_value(declared.kind, text)
        except Fault as fault:
            problems.append(Problem("environment", 1, f"{name} {fault.what}", fault.expected))
            faulty.add(name)
            if isinstance(declared.default, str):
                values[attribute] = text  # set, although it is unusable
        except ConfigError as error:  # a file that does not exist
            problems += error.problems
            faulty.add(name)
    settings = Settings(**values)
    # What is wrong between the variables, unless it follows from one that was reported.
    problems += [
        Problem("environment", 1, what, expected)
        for what, expected in _find_auth_faults(settings)
        if not any(name in what for name in faulty)
    ]
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return settings


def _parse_value(kind: Kind[Any], text: str) -> Any:
    if mistake := find_mistake(text):
        raise Fault(*mistake)
    return kind.parse_text(text) if isinstance(kind, Format) else None
