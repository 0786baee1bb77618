"""The environment, where a variable may name a file with its value: `NAME=${file:/run/secrets/name}`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from receiver.config.substitute import Interpolation
from receiver.errors import ConfigError, Problem

_IN_FILE = re.compile(r"\s*\$\{file:[^}]*\}\s*")


class Environment(Mapping[str, str]):
    """Variables by name; one that names a file is read from it whenever it is asked for.

    So a secret that changes is the new one after the next reload. Raises ConfigError for a file that
    can't be read and for an empty one: nothing must not come to mean that nobody is asked for it.
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
