"""No secret is printed, neither by values nor by faults nor by warnings."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.config.yaml_tree import quote_text
from receiver.errors import ConfigError
from tests.config.files import PEOPLE, SMALLEST, load

SECRET = "hunter-two"
PLACES = [
    "version: {}",
    "flap_window: {}",
    "flap_count: {}",
    "limits: {{slack_posts: {}}}",
    "notices: {{channel: {}}}",
    "prometheus: {{url: {}}}",
    "alertmanager: {{urls: [{}]}}",
    "links: {{X: {}}}",
    "heartbeat_url: {}",
    "business_hours: {{timezone: {0}, days: {0}, from: {0}, holidays: {0}}}",
    "runbooks: ['ftp://{}']",
    "routes: [{{channel: {0}, escalation: {0}, review: {0}, fallback: {0}, match: [{0}, 'a=~\"({0}\"']}}]",
    "responders: {{x: {{slack: {}}}}}",
    "responders: {{x: {{pagerduty: {{routing_key: {} {}}}}}}}",
    "escalations: {{x: [{{notify: {0}, after: {0}}}]}}",
    "slack: {}",
    "slack: {{token: a {}}}",
]


@pytest.mark.parametrize("place", PLACES)
def test_no_fault_shows_the_expanded_value(tmp_path: Path, place: str) -> None:
    text = place.format("${SECRET}", "${SECRET}").replace("'ftp://${SECRET}'", "'ftp://${SECRET}'")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text + "\n", {"SECRET": SECRET})
    assert SECRET not in str(caught.value)


def test_no_value_of_a_whole_file_prints_a_secret(tmp_path: Path) -> None:
    text = SMALLEST + PEOPLE + "slack: {token: '${S}'}\npagerduty: {api_token: '${S}'}\n"
    text += "alertmanager: {url: 'http://me:${S}@am'}\nprometheus: {url: 'http://me:${S}@p'}\n"
    text += "heartbeat_url: 'https://beat/${S}'\n"
    routing = load(tmp_path, text, {"S": SECRET, "ONCALL_KEY": SECRET})
    assert SECRET not in repr(routing)
    assert SECRET not in "\n".join(str(warning) for warning in routing.warnings)
    assert routing.slack_token.reveal() == SECRET


@pytest.mark.parametrize(
    "token",
    ["xoxb-1-2-abc", "xapp-1-A-2-b", "R0123456789ABCDEF0123456789ABCDE", "u+abcdefghij0123456789"],
)
def test_a_token_written_in_the_wrong_place_is_masked(tmp_path: Path, token: str) -> None:
    for text in (f"slack: {{{token}}}", f"{token}: x", f"notices: {{channel: {token}}}"):
        with pytest.raises(ConfigError) as caught:
            load(tmp_path, SMALLEST + text + "\n")
        assert token not in str(caught.value)
        assert "***" in str(caught.value)


def test_a_login_in_a_url_is_masked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, SMALLEST + "runbooks: ['ftp://me:pw@host/']\n")
    assert "ftp://***@host/" in str(caught.value)


@given(st.text())
def test_a_quoted_text_is_short_and_on_one_line(text: str) -> None:
    assert len(quote_text(text)) <= 62
    assert len(quote_text(text).splitlines()) == 1
