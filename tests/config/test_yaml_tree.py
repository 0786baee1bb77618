"""`${NAME}` and `${file:/path}` are expanded in any string, and only once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.config.files import SMALLEST, faults, load


def _token(folder: Path, text: str, environ: dict[str, str] | None = None) -> str:
    return load(folder, SMALLEST + f"slack: {{token: '{text}'}}\n", environ).slack_token.reveal()


def test_a_variable_is_expanded(tmp_path: Path) -> None:
    assert _token(tmp_path, "${TOKEN}", {"TOKEN": "xoxb-1"}) == "xoxb-1"


def test_several_variables_in_one_string_are_expanded(tmp_path: Path) -> None:
    assert _token(tmp_path, "a${A}b${B}c", {"A": "1", "B": "2"}) == "a1b2c"


def test_an_unset_variable_is_empty(tmp_path: Path) -> None:
    assert _token(tmp_path, "${TOKEN}") == ""


def test_an_expanded_value_is_not_expanded_again(tmp_path: Path) -> None:
    assert _token(tmp_path, "${A}", {"A": "${B}", "B": "x"}) == "${B}"


def test_a_variable_can_not_change_the_files_structure(tmp_path: Path) -> None:
    environ = {"CHANNEL": '#a"}, {channel: "#b'}
    assert (
        "no Slack channel" in faults(tmp_path, 'version: 1\nroutes: [{channel: "${CHANNEL}"}]\n', environ)[0]
    )


def test_a_single_dollar_sign_is_unchanged(tmp_path: Path) -> None:
    text = "version: 1\nroutes: [{match: ['a=~\"x{2}$\"'], channel: '#a'}]\n"
    assert load(tmp_path, text).routes[0].matches({"a": "xx"})


def test_a_mounted_secret_is_loaded_without_its_last_line_end(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("xoxb-2\n", encoding="utf-8")
    assert _token(tmp_path, f"${{file:{tmp_path}/token}}") == "xoxb-2"


def test_a_relative_path_of_a_secret_starts_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("xoxb-3", encoding="utf-8")
    assert _token(tmp_path, "${file:token}") == "xoxb-3"


def test_matchers_and_lists_are_expanded_too(tmp_path: Path) -> None:
    text = "version: 1\nroutes: [{match: ['team=\"${TEAM}\"'], channel: '#${TEAM}'}]\n"
    route = load(tmp_path, text, {"TEAM": "db"}).routes[0]
    assert (str(route.matchers[0]), route.channel) == ('team="db"', "#db")


def test_every_invalid_reference_of_a_string_is_reported(tmp_path: Path) -> None:
    found = faults(tmp_path, SMALLEST + "slack:\n  token: '${a-b}${file:/no/where}'\n")
    assert found == [
        "5: slack.token: '${a-b}' is neither ${NAME} nor ${file:/path}",
        "5: slack.token: the file '/no/where' is not there",
    ]


def _make_large(path: Path) -> None:
    path.write_bytes(b"x" * (64 * 1024 + 1))


def _make_binary(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (Path.mkdir, "is not there"),
        (os.mkfifo, "is not there"),
        (_make_large, "is larger than 64 KiB"),
        (_make_binary, "is no text"),
    ],
)
def test_a_secret_that_is_no_readable_file_is_a_fault(tmp_path: Path, make, fault: str) -> None:
    make(tmp_path / "it")
    assert faults(tmp_path, SMALLEST + "slack: {token: '${file:it}'}\n") == [
        f"4: slack.token: the file 'it' {fault}"
    ]
