"""A variable may name a file that contains its value."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.config.settings import Environment, load_settings
from receiver.errors import ConfigError
from tests.config.files import SMALLEST, load


def in_file(path: Path, text: str) -> str:
    path.write_text(text)
    return f"${{file:{path}}}"


def test_a_token_is_read_from_a_file(tmp_path: Path) -> None:
    environ = {"RECEIVER_API_TOKEN": in_file(tmp_path / "api", "first,second\n")}
    assert [token.reveal() for token in load_settings(environ).api_tokens] == ["first", "second"]


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    environ = Environment({"A": in_file(tmp_path / "a", "first")})
    assert environ["A"] == "first"
    (tmp_path / "a").write_text("second\n")
    assert environ["A"] == "second"


def test_routing_yaml_gets_the_content_of_the_file(tmp_path: Path) -> None:
    environ = {"SLACK_BOT_TOKEN": in_file(tmp_path / "slack", "xoxb-file\n")}
    assert load(tmp_path, SMALLEST, environ).slack_token.reveal() == "xoxb-file"
    text = SMALLEST + "slack: {token: '${SLACK_BOT_TOKEN}'}\n"
    assert load(tmp_path, text, environ).slack_token.reveal() == "xoxb-file"


@pytest.mark.parametrize("text", ["${file:/nowhere/api}", "empty", "blank"])
def test_an_empty_file_is_a_fault_and_no_token(tmp_path: Path, text: str) -> None:
    if text in ("empty", "blank"):
        text = in_file(tmp_path / "api", "" if text == "empty" else " \n")
    with pytest.raises(ConfigError, match="RECEIVER_API_TOKEN: the file"):
        load_settings({"RECEIVER_API_TOKEN": text})


def test_any_other_value_is_used_unchanged() -> None:
    for text in ("a${file:/x}", "${file:/x", "${HOME}", "file:/x", ""):
        assert Environment({"A": text})["A"] == text
