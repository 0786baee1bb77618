"""A variable may name a file that holds its value."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.config.settings import Environment, load_settings
from receiver.errors import ConfigError
from tests.config.files import SMALLEST, load


def in_file(path: Path, text: str) -> str:
    path.write_text(text)
    return f"${{file:{path}}}"


def test_a_token_in_a_file_is_the_token(tmp_path: Path) -> None:
    environ = {"RECEIVER_API_TOKEN": in_file(tmp_path / "api", "first,second\n")}
    assert [token.reveal() for token in load_settings(environ).api_tokens] == ["first", "second"]


def test_a_file_that_changed_is_read_anew(tmp_path: Path) -> None:
    environ = Environment({"A": in_file(tmp_path / "a", "first")})
    assert environ["A"] == "first"
    (tmp_path / "a").write_text("second\n")
    assert environ["A"] == "second"


def test_routing_yaml_sees_what_is_in_the_file(tmp_path: Path) -> None:
    environ = {"SLACK_BOT_TOKEN": in_file(tmp_path / "slack", "xoxb-file\n")}
    assert load(tmp_path, SMALLEST, environ).slack_token.reveal() == "xoxb-file"
    text = SMALLEST + "slack: {token: '${SLACK_BOT_TOKEN}'}\n"
    assert load(tmp_path, text, environ).slack_token.reveal() == "xoxb-file"


@pytest.mark.parametrize("text", ["${file:/nowhere/api}", "empty", "blank"])
def test_a_file_of_nothing_is_a_fault_and_lets_nobody_in(tmp_path: Path, text: str) -> None:
    if text in ("empty", "blank"):
        text = in_file(tmp_path / "api", "" if text == "empty" else " \n")
    with pytest.raises(ConfigError, match="RECEIVER_API_TOKEN: the file"):
        load_settings({"RECEIVER_API_TOKEN": text})


def test_any_other_value_is_taken_as_it_is() -> None:
    for text in ("a${file:/x}", "${file:/x", "${HOME}", "file:/x", ""):
        assert Environment({"A": text})["A"] == text
