"""The environment → Settings. What is unset has a default that works on one machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from receiver.config.environment import Environment
from receiver.config.urls import is_base_url, is_store_url
from receiver.errors import ConfigError, Problem
from receiver.text import Secret

_STORES = ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster")
_UNSET = Secret()


@dataclass(frozen=True)
class Settings:
    """The environment's variables under their own names; an empty variable is an unset one.

    Addresses have no unit and no `/` at their end, but for slack_api_url.
    """

    # Where the state is kept. Unset: `run` starts a store of its own, `web` and `worker` refuse.
    # A secret, for the address may hold a password.
    redis_url: Secret = _UNSET

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

    # Our own address as people reach it. Unset: messages hold no link to us, since a wrong
    # one is worse than none.
    public_url: str = ""

    # The vendors' own addresses; others for a proxy or a test. slack_sdk joins its methods to
    # an address that ends in `/`. Not printed, for a proxy's may hold a login.
    slack_api_url: str = field(default="https://slack.com/api/", repr=False)
    pagerduty_events_url: str = field(default="https://events.pagerduty.com", repr=False)
    pagerduty_api_url: str = field(default="https://api.pagerduty.com", repr=False)

    # Unset: nobody is asked whether alerts still fire, and no query is run. Not printed, for
    # they may hold a login.
    alertmanager_url: str = field(default="", repr=False)
    prometheus_url: str = field(default="", repr=False)


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings in *environ*; raises ConfigError with every variable that is wrong."""
    reader = _Reader(environ)
    settings = Settings(
        redis_url=reader.read_store("REDIS_URL"),
        slack_bot_token=reader.read_secret("SLACK_BOT_TOKEN"),
        slack_signing_secret=reader.read_secret("SLACK_SIGNING_SECRET"),
        slack_app_token=reader.read_secret("SLACK_APP_TOKEN"),
        pagerduty_api_token=reader.read_secret("PAGERDUTY_API_TOKEN"),
        pagerduty_webhook_secret=reader.read_secret("PAGERDUTY_WEBHOOK_SECRET"),
        webhook_tokens=reader.read_secrets("RECEIVER_WEBHOOK_TOKEN"),
        api_tokens=reader.read_secrets("RECEIVER_API_TOKEN"),
        public_url=reader.read_url("PUBLIC_URL"),
        slack_api_url=reader.read_url("SLACK_API_URL", Settings.slack_api_url) + "/",
        pagerduty_events_url=reader.read_url("PAGERDUTY_EVENTS_URL", Settings.pagerduty_events_url),
        pagerduty_api_url=reader.read_url("PAGERDUTY_API_URL", Settings.pagerduty_api_url),
        alertmanager_url=reader.read_url("ALERTMANAGER_URL"),
        prometheus_url=reader.read_url("PROMETHEUS_URL"),
    )
    if reader.problems:
        raise ConfigError(reader.problems)
    return settings


class _Reader:
    """Reads variables and gathers what is wrong; no value gets into a problem."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = Environment(environ)
        self.problems: list[Problem] = []

    def read_secret(self, name: str) -> Secret:
        text = self._read(name)
        if re.search(r"\s", text):
            self._fault(f"{name} has blanks in it", "a token")
        return Secret(text)

    def read_secrets(self, name: str) -> tuple[Secret, ...]:
        """Return the tokens between the commas, each once."""
        tokens = (token.strip() for token in self._read(name).split(","))
        found = tuple(Secret(token) for token in dict.fromkeys(tokens) if token)
        if self._read(name) and not found:
            # A token of nothing must not mean that everybody is let in.
            self._fault(f"{name} holds no token", "tokens separated by commas")
        return found

    def read_url(self, name: str, default: str = "") -> str:
        text = self._read(name) or default
        if text and not is_base_url(text):
            self._fault(f"{name} is no usable address", "http://… or https://… without ? and #")
        return text.rstrip("/")

    def read_store(self, name: str) -> Secret:
        text = self._read(name)
        if text and not is_store_url(text):
            schemes = ", ".join(f"{scheme}://" for scheme in _STORES)
            self._fault(f"{name} is no address of a store", f"one that begins with {schemes}")
        return Secret(text)

    def _read(self, name: str) -> str:
        try:
            return self._environ.get(name, "").strip()
        except ConfigError as error:  # a file that is not there
            self.problems += [problem for problem in error.problems if problem not in self.problems]
            return ""

    def _fault(self, what: str, expected: str) -> None:
        self.problems.append(Problem("environment", 1, what, expected))
