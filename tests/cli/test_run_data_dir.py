"""`receiver run --data-dir` with a folder of any name."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from tests.cli.running import Running, call, wait_until

ALERT = {"status": "firing", "labels": {"alertname": "DiskFull"}, "startsAt": "2026-11-23T12:00:00Z"}


@pytest.mark.parametrize(
    "name", ["a {b} {0} {", 'it\'s "one"', "100% %s %41", "[x]*?", "#a?b=1&c", "-x $HOME;\\"]
)
def test_any_name_works(tmp_path: Path, name: str) -> None:
    running = Running(tmp_path, f"--data-dir={name}")
    try:
        wait_until(running.is_ready, running.log)
        body = json.dumps({"version": "4", "groupKey": "g", "alerts": [ALERT]}).encode()
        with urllib.request.urlopen(running.address + "/webhooks/alertmanager", body, timeout=10) as answer:
            assert json.load(answer)["new"] == 1
        with urllib.request.urlopen(running.address + "/metrics", timeout=10) as answer:
            assert 'receiver_webhooks_total{code="200"} 1.0' in answer.read().decode()
    finally:
        running.end()
    assert running.process.returncode == 0, running.log()
    assert (tmp_path / name / "appendonlydir").is_dir()


def test_an_unusable_folder_with_braces_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "a {b} {0} {").touch()
    (tmp_path / "routing.yaml").write_text("version: 1\nroutes: [{match: [], channel: '#a'}]\n")
    error = call(tmp_path, "run", "--data-dir", "a {b} {0} {/data").stderr
    assert error.startswith("Error: can't use the data folder ")
    assert "a {b} {0} {" in error
