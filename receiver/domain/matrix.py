"""The Escalation Matrix of a runbook: what people were promised, row by row."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MatrixRow:
    """One severity's row as it is written: *response* is `5 minutes`, *path* (`On-call`, `Team Lead`).

    *file* and *line* tell where it stands.
    """

    severity: str
    response: str
    path: tuple[str, ...]
    file: str
    line: int
