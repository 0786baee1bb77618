"""`receiver runbook ALERTNAME`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.invoke import receiver

RUNBOOKS = """\
# Disks

### DiskFull (Critical)

**Impact**: nothing can be written.

**Resolution**:

1. Look for large files:

   ```sh
   du -xh / | sort -h  # slow \x1b[2J
   ```
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "disks.md").write_text(RUNBOOKS)
    file = tmp_path / "routing.yaml"
    file.write_text('version: 1\nrunbooks: [disks.md]\nroutes: [{channel: "#alerts"}]\n')
    return file


def test_prints_the_excerpt_as_markdown(config: Path) -> None:
    result = receiver("runbook", "DiskFull", "--config", config)
    assert result.exit_code == 0
    assert result.stdout.startswith(
        "**DiskFull**\n\n**Impact**\n\nnothing can be written.\n\n**Resolution**\n"
    )
    assert "   ```sh\n   du -xh / | sort -h" in result.stdout


def test_control_characters_of_a_runbook_are_not_printed(config: Path) -> None:
    assert "\x1b" not in receiver("runbook", "DiskFull", "--config", config).stdout


def test_a_missing_runbook_is_reported_with_a_similar_name(config: Path) -> None:
    result = receiver("runbook", "diskful", "--config", config)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "no runbook for 'diskful': did you mean DiskFull?" in result.stderr


def test_a_missing_runbook_without_a_similar_name_is_reported(config: Path) -> None:
    result = receiver("runbook", "Watchdog", "--config", config)
    assert result.exit_code == 1
    assert "no runbook for 'Watchdog' among the 1 there are" in result.stderr


def test_without_runbooks_the_error_says_where_to_configure_them(tmp_path: Path) -> None:
    file = tmp_path / "routing.yaml"
    file.write_text('version: 1\nroutes: [{channel: "#alerts"}]\n')
    result = receiver("runbook", "DiskFull", "--config", file)
    assert result.exit_code == 1
    assert "see `runbooks:` in the configuration" in result.stderr


def test_the_whole_runbook_is_linked_if_public_url_is_set(tmp_path: Path, config: Path) -> None:
    (tmp_path / "disks.md").write_text(RUNBOOKS + "".join(f"{n}. Step {n} of many\n" for n in range(2, 900)))
    result = receiver("runbook", "DiskFull", "--config", config, PUBLIC_URL="https://alerts.example.org")
    assert "The rest of the runbook: <https://alerts.example.org/runbooks/DiskFull>" in result.stdout
