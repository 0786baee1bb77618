"""Reads variables of the environment, and gathers what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network

from receiver.config.environment import Environment
from receiver.config.mistakes import find_mistake, find_wrong_slack_token
from receiver.config.urls import find_store_mistake, find_url_mistake
from receiver.errors import ConfigError, Problem
from receiver.text import Secret

Network = IPv4Network | IPv6Network

_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}", re.ASCII)
# What a browser sends of itself, or what means something else to us, names nobody.
_NO_NAMES = frozenset({"authorization", "cookie", "host", "origin", "user-agent", "accept", "referer"})


class EnvReader:
    """Reads variables, one form at a time; no value gets into a problem."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = Environment(environ)
        self.problems: list[Problem] = []

    def read_secret(self, name: str) -> Secret:
        text = self._read_variable(name)
        if re.search(r"\s", text):
            self.error(f"{name} has blanks in it", "a token")
        return Secret(text)

    def read_slack_token(self, name: str, prefix: str = "") -> Secret:
        """Return a secret that isn't another token of Slack's than those that begin with *prefix*."""
        secret = self.read_secret(name)
        if mistake := find_wrong_slack_token(secret.reveal(), prefix):
            self.error(f"{name} {mistake[0]}", mistake[1])
        return secret

    def read_secrets(self, name: str) -> tuple[Secret, ...]:
        """Return the tokens between the commas, each once."""
        tokens = (token.strip() for token in self._read_variable(name).split(","))
        found = tuple(Secret(token) for token in dict.fromkeys(tokens) if token)
        if self._read_variable(name) and not found:
            # A token of nothing must not mean that everybody is let in.
            self.error(f"{name} holds no token", "tokens separated by commas")
        return found

    def read_words(self, name: str, expected: str) -> tuple[str, ...]:
        """Return what stands between the commas, each once."""
        found = tuple(
            dict.fromkeys(word for word in map(str.strip, self._read_variable(name).split(",")) if word)
        )
        if self._read_variable(name) and not found:
            self.error(f"{name} names nobody", expected)
        return found

    def read_hosts(self, name: str) -> tuple[str, ...]:
        """Return names of hosts in small letters, without ports."""
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
        """Return addresses and networks; one that holds every address there is would be no choice."""
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
        """Return a variable's value; empty, with a fault, where it can't have been meant."""
        try:
            text = self._environ.get(name, "").strip()
        except ConfigError as error:  # a file that is not there
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
