"""The settings from environment variables: defaults (for one machine), reading and checking."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from receiver.config.mistakes import APP_TOKEN, BOT_TOKEN, find_mistake, find_wrong_slack_token
from receiver.config.urls import find_store_mistake, find_url_mistake
from receiver.config.yaml_tree import Interpolation
from receiver.errors import ConfigError, Problem
from receiver.text import Secret

_UNSET = Secret()


@dataclass(frozen=True)
class Settings:
    """The environment variables under their own names; an empty variable counts as unset.

    URLs have no trailing `/`, except slack_api_url.
    """

    # Where the state is stored. Unset: `run` starts an embedded Valkey, `web` and `worker` refuse to start.
    # A secret, since the URL may contain a password.
    redis_url: Secret = _UNSET
    # The most connections of one process to Redis (in a cluster: to each node).
    redis_max_connections: int = 10
    # Memory limit of the embedded Valkey in MiB. When full it refuses writes; alerts are sent again.
    embedded_max_memory: int = 512

    # The bot token (xoxb-…). Unset: Slack is simulated, so that a first try needs no account.
    slack_bot_token: Secret = _UNSET
    # Verifies that a button click or command comes from Slack. Unset: those requests are refused.
    slack_signing_secret: Secret = _UNSET
    # Opens Socket Mode (xapp-…), for when Slack can't reach us. Unset: no socket.
    slack_app_token: Secret = _UNSET

    # For PagerDuty's REST API. Unset: it isn't called; pages only need routing keys.
    pagerduty_api_token: Secret = _UNSET
    # Verifies that a webhook comes from PagerDuty. Unset: those webhooks are refused.
    pagerduty_webhook_secret: Secret = _UNSET

    # What senders of alerts, and clients of API, metrics and pages, must present. Several are allowed, so
    # that a token can be rotated without a gap. Unset: no token is required, and then only on loopback.
    webhook_tokens: tuple[Secret, ...] = ()
    api_tokens: tuple[Secret, ...] = ()
    # Read-only tokens: for dashboards, and for Prometheus to scrape /metrics.
    viewer_tokens: tuple[Secret, ...] = ()

    # The proxies that we trust to authenticate users, and the headers with the user's names. Unset: these
    # headers are ignored.
    trusted_proxies: tuple[Network, ...] = ()
    user_header: str = ""
    groups_header: str = ""

    # The OpenID provider for signing in. Unset: there is no sign-in.
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: Secret = _UNSET
    oidc_scopes: str = "openid profile email"
    oidc_groups_claim: str = "groups"

    # Which users of the proxy or provider may respond, and which may only read. Unset: all of them may
    # respond; if only responders are set, all others may only read.
    responders: tuple[str, ...] = ()
    viewers: tuple[str, ...] = ()

    # The URL under which users reach us. Unset: messages contain no link to us, since a wrong one is
    # worse than none.
    public_url: str = ""

    # The host names that we accept besides our own where no token is required. Unset: on loopback none,
    # otherwise any.
    allowed_hosts: tuple[str, ...] = ()

    # The vendors' URLs; changed for a proxy or a test. slack_sdk appends its methods to a URL with a
    # trailing `/`. Not printed, since a proxy's may contain a login.
    slack_api_url: str = field(default="https://slack.com/api/", repr=False)
    pagerduty_events_url: str = field(default="https://events.pagerduty.com", repr=False)
    pagerduty_api_url: str = field(default="https://api.pagerduty.com", repr=False)

    # Unset: Alertmanager is not polled, and no query is run. Not printed, since they may contain a
    # login.
    alertmanager_url: str = field(default="", repr=False)
    prometheus_url: str = field(default="", repr=False)

    @property
    def has_identity_source(self) -> bool:
        """Whether a provider or a proxy tells us who the user is."""
        return bool(self.oidc_issuer or self.trusted_proxies)

    @property
    def requires_auth(self) -> bool:
        """Whether API, metrics and pages require authentication."""
        return bool(self.api_tokens or self.viewer_tokens or self.has_identity_source)


SettingsFault = tuple[str, str]
# Where a provider redirects to, below PUBLIC_URL; it has to be registered there.
CALLBACK = "/sign-in/callback"
# The cookie contains those names and groups of the user that are listed; a browser allows 4 KiB.
MAX_NAME = 100


def find_auth_faults(settings: Settings) -> Iterator[SettingsFault]:
    """Yield each fault and what was expected."""
    yield from _find_proxy_faults(settings)
    yield from _find_provider_faults(settings)
    yield from _find_role_faults(settings)


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


def _find_proxy_faults(settings: Settings) -> Iterator[SettingsFault]:
    if settings.trusted_proxies and not settings.user_header:
        yield "RECEIVER_TRUSTED_PROXY is set without RECEIVER_USER_HEADER", "both"
    if (settings.user_header or settings.groups_header) and not settings.trusted_proxies:
        yield "a header is to name people, and RECEIVER_TRUSTED_PROXY is unset", "who may send it"
    if settings.groups_header and settings.groups_header.lower() == settings.user_header.lower():
        yield "RECEIVER_GROUPS_HEADER is RECEIVER_USER_HEADER", "another header"


def _find_provider_faults(settings: Settings) -> Iterator[SettingsFault]:
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
    parts = urlsplit(settings.oidc_issuer)
    if "@" in parts.netloc:
        yield "OIDC_ISSUER holds a login", "an address without one"
    elif settings.oidc_issuer and parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
        # The provider's keys are fetched from there: an attacker on the way could sign in as any user.
        yield "OIDC_ISSUER is not https", "https://…, or http:// on this machine"


def _find_role_faults(settings: Settings) -> Iterator[SettingsFault]:
    if set(settings.viewer_tokens) & set(settings.api_tokens):
        yield "RECEIVER_VIEWER_TOKEN and RECEIVER_API_TOKEN share a token", "others for those who only read"
    if settings.viewer_tokens and not (settings.api_tokens or settings.has_identity_source):
        yield "RECEIVER_VIEWER_TOKEN is set, and nobody could answer", "RECEIVER_API_TOKEN, too"
    if (settings.responders or settings.viewers) and not settings.has_identity_source:
        yield (
            "RECEIVER_RESPONDERS or RECEIVER_VIEWERS is set, and nobody comes by name",
            "OIDC_ISSUER or RECEIVER_TRUSTED_PROXY, too",
        )
    elif settings.viewers and not settings.responders:
        # All other users would be responders, and the list of viewers would exclude none of them.
        yield "RECEIVER_VIEWERS is set without RECEIVER_RESPONDERS", "both"
    if any(len(name) > MAX_NAME for name in (*settings.responders, *settings.viewers)):
        yield (
            f"RECEIVER_RESPONDERS or RECEIVER_VIEWERS holds a name of more than {MAX_NAME} characters",
            "shorter ones",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


_IN_FILE = re.compile(r"\s*\$\{file:[^}]*\}\s*")


class Environment(Mapping[str, str]):
    """Variables by name; a value `${file:PATH}` is read from that file at each access.

    So a secret that was rotated takes effect at the next reload. Raises ConfigError for a file that
    can't be read and for an empty one: an empty file must not turn authentication off.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def __getitem__(self, name: str) -> str:
        text = self._environ[name]
        if not _IN_FILE.fullmatch(text):
            return text
        value, faults = Interpolation({}, Path()).expand(text.strip())
        if not faults and not value.strip():
            faults = ["the file is empty"]
        if faults:
            raise ConfigError([Problem("environment", 1, f"{name}: {fault}") for fault in faults])
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._environ)

    def __len__(self) -> int:
        return len(self._environ)


Network = IPv4Network | IPv6Network
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}", re.ASCII)
# Headers that every browser sends, or that have another meaning here, identify no user.
_NO_NAMES = frozenset({"authorization", "cookie", "host", "origin", "user-agent", "accept", "referer"})


class EnvReader:
    """Reads variables, with one method for each form; no problem quotes a value."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = Environment(environ)
        self.problems: list[Problem] = []

    def read_secret(self, name: str) -> Secret:
        text = self._read_variable(name)
        if re.search(r"\s", text):
            self.error(f"{name} has blanks in it", "a token")
        return Secret(text)

    def read_slack_token(self, name: str, prefix: str = "") -> Secret:
        """Return a Slack token; one of another kind than *prefix* is a fault."""
        secret = self.read_secret(name)
        if mistake := find_wrong_slack_token(secret.reveal(), prefix):
            self.error(f"{name} {mistake[0]}", mistake[1])
        return secret

    def read_secrets(self, name: str) -> tuple[Secret, ...]:
        """Return the comma-separated tokens without duplicates."""
        tokens = (token.strip() for token in self._read_variable(name).split(","))
        found = tuple(Secret(token) for token in dict.fromkeys(tokens) if token)
        if self._read_variable(name) and not found:
            # An empty token must not let every client in.
            self.error(f"{name} holds no token", "tokens separated by commas")
        return found

    def read_words(self, name: str, expected: str) -> tuple[str, ...]:
        """Return the comma-separated words without duplicates."""
        found = tuple(
            dict.fromkeys(word for word in map(str.strip, self._read_variable(name).split(",")) if word)
        )
        if self._read_variable(name) and not found:
            self.error(f"{name} names nobody", expected)
        return found

    def read_hosts(self, name: str) -> tuple[str, ...]:
        """Return host names in lower case, without ports."""
        expected = "names of hosts separated by commas, without port, like receiver.internal"
        found = self.read_words(name, expected)
        for word in found:
            if not re.fullmatch(r"[0-9A-Za-z_-]+(?:\.[0-9A-Za-z_-]+)*", word) or len(word) > 253:
                self.error(f"{name} holds what is no name of a host", expected)
        return tuple(word.lower() for word in found)

    def read_text(self, name: str, default: str = "") -> str:
        return self._read_variable(name) or default

    def read_count(self, name: str, default: int, allowed: range) -> int:
        text = self._read_variable(name)
        if not text:
            return default
        if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) not in allowed:
            self.error(f"{name} is no usable number", f"a whole number from {allowed[0]} to {allowed[-1]}")
            return default
        return int(text)

    def read_networks(self, name: str) -> tuple[Network, ...]:
        """Return addresses and networks; a network that contains every address is a fault."""
        found, expected = [], "addresses or networks separated by commas, like 10.0.0.5 or 10.1.0.0/16"
        for word in self.read_words(name, expected):
            try:
                network = ip_network(word)
            except ValueError:
                self.error(f"{name} holds something that is no address and no network", expected)
                continue
            if network.prefixlen == 0:
                self.error(f"{name} trusts everybody", expected)
            found.append(network)
        return tuple(found)

    def read_header(self, name: str) -> str:
        text = self._read_variable(name)
        if text and (not _HEADER.fullmatch(text) or text.lower() in _NO_NAMES):
            self.error(f"{name} is no header that names somebody", "one like X-Forwarded-User")
        return text

    def read_url(self, name: str, default: str = "") -> str:
        text = self._read_variable(name) or default
        if text and (mistake := find_url_mistake(text, is_base=True)):
            self.error(f"{name} {mistake[0]}", mistake[1])
        return text.rstrip("/")

    def read_store_url(self, name: str) -> Secret:
        text = self._read_variable(name)
        if text and (mistake := find_store_mistake(text)):
            self.error(f"{name} {mistake[0]}", mistake[1])
        return Secret(text)

    def _read_variable(self, name: str) -> str:
        """Return a variable's value; empty, with a fault, if it is a mistake."""
        try:
            text = self._environ.get(name, "").strip()
        except ConfigError as error:  # a file that does not exist
            self.problems += [problem for problem in error.problems if problem not in self.problems]
            return ""
        if mistake := find_mistake(text):
            self.error(f"{name} {mistake[0]}", mistake[1])
            return ""
        return text

    def error(self, what: str, expected: str) -> None:
        problem = Problem("environment", 1, what, expected)
        if problem not in self.problems:
            self.problems.append(problem)


# A worker needs one connection to listen on all the time, and another for everything else.
_CONNECTIONS = range(2, 1001)
_MEBIBYTES = range(32, 1024 * 1024 + 1)
_PEOPLE = "names, e-mail addresses and group:NAME, separated by commas"


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings in *environ*; raises ConfigError with every wrong variable."""
    reader = EnvReader(environ)
    settings = Settings(
        redis_url=reader.read_store_url("REDIS_URL"),
        redis_max_connections=reader.read_count(
            "REDIS_MAX_CONNECTIONS", Settings.redis_max_connections, _CONNECTIONS
        ),
        embedded_max_memory=reader.read_count(
            "RECEIVER_EMBEDDED_MAX_MEMORY", Settings.embedded_max_memory, _MEBIBYTES
        ),
        slack_bot_token=reader.read_slack_token("SLACK_BOT_TOKEN", BOT_TOKEN),
        slack_signing_secret=reader.read_slack_token("SLACK_SIGNING_SECRET"),
        slack_app_token=reader.read_slack_token("SLACK_APP_TOKEN", APP_TOKEN),
        pagerduty_api_token=reader.read_slack_token("PAGERDUTY_API_TOKEN"),
        pagerduty_webhook_secret=reader.read_slack_token("PAGERDUTY_WEBHOOK_SECRET"),
        webhook_tokens=reader.read_secrets("RECEIVER_WEBHOOK_TOKEN"),
        api_tokens=reader.read_secrets("RECEIVER_API_TOKEN"),
        viewer_tokens=reader.read_secrets("RECEIVER_VIEWER_TOKEN"),
        trusted_proxies=reader.read_networks("RECEIVER_TRUSTED_PROXY"),
        user_header=reader.read_header("RECEIVER_USER_HEADER"),
        groups_header=reader.read_header("RECEIVER_GROUPS_HEADER"),
        oidc_issuer=reader.read_url("OIDC_ISSUER"),
        oidc_client_id=reader.read_text("OIDC_CLIENT_ID"),
        oidc_client_secret=reader.read_secret("OIDC_CLIENT_SECRET"),
        oidc_scopes=reader.read_text("OIDC_SCOPES", Settings.oidc_scopes),
        oidc_groups_claim=reader.read_text("OIDC_GROUPS_CLAIM", Settings.oidc_groups_claim),
        responders=reader.read_words("RECEIVER_RESPONDERS", _PEOPLE),
        viewers=reader.read_words("RECEIVER_VIEWERS", _PEOPLE),
        public_url=reader.read_url("PUBLIC_URL"),
        allowed_hosts=reader.read_hosts("RECEIVER_ALLOWED_HOSTS"),
        slack_api_url=reader.read_url("SLACK_API_URL", Settings.slack_api_url) + "/",
        pagerduty_events_url=reader.read_url("PAGERDUTY_EVENTS_URL", Settings.pagerduty_events_url),
        pagerduty_api_url=reader.read_url("PAGERDUTY_API_URL", Settings.pagerduty_api_url),
        alertmanager_url=reader.read_url("ALERTMANAGER_URL"),
        prometheus_url=reader.read_url("PROMETHEUS_URL"),
    )
    for what, expected in find_auth_faults(settings):
        reader.error(what, expected)
    if reader.problems:
        raise ConfigError(reader.problems)
    return settings
