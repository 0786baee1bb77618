"""`${NAME}` and `${file:/path}` in a text, filled in from the environment and mounted secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from receiver.config.report import quote_text

MAX_SECRET_BYTES = 64 * 1024
_REFERENCE = re.compile(r"\$\{([^}]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Interpolation:
    """Fills texts from one environment; a file is read once, relative to *folder*."""

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self._environ = environ
        self._folder = folder
        self._files: dict[str, tuple[str, str]] = {}

    def expand(self, text: str) -> tuple[str, list[str]]:
        """Return *text* filled in, and a sentence for each reference that can't be.

        An unset variable is empty and no fault. What is filled in isn't looked at again, so a
        value may hold `${` itself.
        """
        faults: list[str] = []

        def value_of(found: re.Match[str]) -> str:
            value, fault = self._resolve_reference(found[1], is_closed=bool(found[2]))
            if fault:
                faults.append(fault)
            return value

        return _REFERENCE.sub(value_of, text), faults

    def _resolve_reference(self, reference: str, *, is_closed: bool) -> tuple[str, str]:
        if is_closed and reference.startswith("file:"):
            path = reference.removeprefix("file:")
            if path not in self._files:
                self._files[path] = _read_secret(self._folder, path)
            return self._files[path]
        if is_closed and _NAME.fullmatch(reference):
            return self._environ.get(reference, ""), ""
        closing = "}" if is_closed else ""
        return "", f"{quote_text('${' + reference + closing)} is neither ${{NAME}} nor ${{file:/path}}"


def _read_secret(folder: Path, name: str) -> tuple[str, str]:
    """Return the file's text without its last line end, or the sentence why there is none."""
    try:
        path = folder / name
        # Anything but a regular file (a pipe, a terminal) could keep us waiting for ever.
        if not path.is_file():
            return "", f"the file {quote_text(name)} is not there"
        with path.open("rb") as file:
            raw = file.read(MAX_SECRET_BYTES + 1)
        if len(raw) > MAX_SECRET_BYTES:
            return "", f"the file {quote_text(name)} is larger than {MAX_SECRET_BYTES // 1024} KiB"
        return raw.decode().rstrip("\r\n"), ""
    except OSError as error:
        return "", f"the file {quote_text(name)} can't be read: {error.strerror or type(error).__name__}"
    except ValueError:  # a NUL in its name, or bytes that are no UTF-8
        return "", f"the file {quote_text(name)} is no text"
