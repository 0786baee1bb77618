"""The examples in docs/runbooks.md are what the command prints."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.cli.invoke import receiver

PAGE = (Path(__file__).parents[2] / "docs" / "runbooks.md").read_text(encoding="utf-8")
EXAMPLES = {
    name: body
    for name, _, body in re.findall(
        r"^<!-- example: ([^\n]+?) -->\n(````?)\w+\n(.*?)^\2$", PAGE, re.MULTILINE | re.DOTALL
    )
}


@pytest.mark.parametrize("command", [name for name in EXAMPLES if name.startswith("receiver ")])
def test_an_example_is_what_the_command_prints(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disks.md").write_text(EXAMPLES["disks.md"], encoding="utf-8")
    (tmp_path / "routing.yaml").write_text(
        'version: 1\nrunbooks: [disks.md]\nroutes: [{channel: "#alerts"}]\n', encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    result = receiver(*shlex.split(command)[1:])
    assert result.exit_code == 0
    assert EXAMPLES[command] == f"$ {command}\n{result.stdout}"


def test_the_page_has_examples_of_both_forms() -> None:
    assert sum("--explain" in name for name in EXAMPLES) == 2
    assert "receiver runbook DiskFull" in EXAMPLES
