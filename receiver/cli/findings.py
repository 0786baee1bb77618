"""What `receiver check` found: faults, warnings and what is good."""

from __future__ import annotations

from collections.abc import Iterable

from receiver.errors import Problem


class Findings:
    """Gathers what is found, in the order in which it is found."""

    def __init__(self) -> None:
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self.passed: list[str] = []

    def error(self, file: str, what: str, expected: str = "") -> None:
        """Note a fault of something that has no line."""
        self.errors.append(Problem(file, 1, what, expected))

    def warning(self, file: str, what: str, expected: str = "") -> None:
        self.warnings.append(Problem(file, 1, what, expected))

    def ok(self, sentence: str) -> None:
        self.passed.append(sentence)

    def add_warnings(self, problems: Iterable[Problem]) -> None:
        """Note warnings, each once."""
        self.warnings = list(dict.fromkeys([*self.warnings, *problems]))
