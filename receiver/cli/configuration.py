"""The findings of `receiver check`, and loading the configuration for the commands."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from receiver.config.model import Routing
from receiver.config.routing_loader import load_routing
from receiver.config.settings import Settings, load_settings
from receiver.errors import ConfigError, Problem
from receiver.runbooks.catalogue import RunbookCatalogue

ENVIRONMENT = "environment"


@dataclass
class Findings:
    """Collects findings in the order in which they are found; without a *file* they are of *default_file*."""

    default_file: str
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)

    def add_error(self, what: str, expected: str = "", *, file: str = "") -> None:
        """Add a fault of something that has no line number."""
        self.errors.append(Problem(file or self.default_file, 1, what, expected))

    def add_warning(self, what: str, expected: str = "", *, file: str = "") -> None:
        self.warnings.append(Problem(file or self.default_file, 1, what, expected))

    def add_passed(self, sentence: str) -> None:
        self.passed.append(sentence)


T = TypeVar("T")


@dataclass(frozen=True)
class Config:
    """The environment's settings, the routing, and the runbooks that it names."""

    settings: Settings
    routing: Routing
    catalogue: RunbookCatalogue


def load_config(config: Path) -> Config:
    """Load the file and the environment; raises ConfigError with every fault of both."""
    problems: list[Problem] = []
    settings = _load_or_collect(lambda: load_settings(os.environ), problems)
    routing = _load_or_collect(lambda: load_routing(config, os.environ), problems)
    if settings is None or routing is None:
        raise ConfigError(problems)
    # Importing `app` loads the vendors' libraries; `--help` must not wait for them.
    from receiver.app.services import build_runbook_catalogue

    return Config(settings, routing, build_runbook_catalogue(settings, routing))


def _load_or_collect(load: Callable[[], T], problems: list[Problem]) -> T | None:
    try:
        return load()
    except ConfigError as error:
        problems += error.problems
        return None


def show_path(path: str) -> str:
    """Return *path* relative to the current folder if it lies below it."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return path
