"""Requests from Slack: their signatures, and how they are parsed."""

from __future__ import annotations

import json
from contextlib import suppress
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import PayloadError
from receiver.integrations.slack.requests import (
    ButtonClick,
    Command,
    ModalSubmit,
    parse_command,
    parse_interaction,
    parse_interaction_payload,
    sign_body,
    verify_signature,
)
from receiver.model.incident import Person
from receiver.text import Secret
from tests.slack_people import a_click, a_command, a_submission

NOW = 1_531_420_618.0
STAMP = "1531420618"
SECRET = Secret("8f742231b10e8888abcd99yyyzzz85a5")
# The example of Slack's documentation and of its SDK's tests (MIT): the signed body and its signature.
BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"


def headers(signature: str = SIGNATURE, timestamp: str = STAMP) -> list[tuple[str, str]]:
    return [("X-Slack-Signature", signature), ("X-Slack-Request-Timestamp", timestamp)]


def interaction(payload: object) -> bytes:
    return urlencode({"payload": json.dumps(payload)}).encode()


def test_the_signature_of_slacks_own_example_is_valid():
    assert verify_signature(SECRET, headers(), BODY, NOW)


def test_header_names_are_case_insensitive():
    assert verify_signature(SECRET, [(name.lower(), value) for name, value in headers()], BODY, NOW)


@pytest.mark.parametrize("off", [-300.0, -1.0, 0.0, 300.0])
def test_clocks_may_differ_by_five_minutes(off):
    assert verify_signature(SECRET, headers(), BODY, NOW + off)


@pytest.mark.parametrize("off", [-301.0, 301.0, 86400.0])
def test_a_request_that_is_older_or_newer_is_refused(off):
    assert not verify_signature(SECRET, headers(), BODY, NOW + off)


def test_another_body_secret_or_timestamp_is_refused():
    assert not verify_signature(SECRET, headers(), BODY + b"&text=more", NOW)
    assert not verify_signature(Secret("another"), headers(), BODY, NOW)
    assert not verify_signature(SECRET, headers(timestamp="1531420619"), BODY, NOW)


def test_without_a_secret_no_signature_is_valid():
    assert not verify_signature(Secret(), headers(sign_body(Secret(), STAMP, BODY)), BODY, NOW)


@pytest.mark.parametrize(
    "timestamp",
    ["", "x", "-1531420618", " 1531420618", "1531420618.0", "1e9", "9" * 400, "١٥٣١٤٢٠٦١٨", "\x00"],
)
def test_an_invalid_timestamp_is_refused_even_if_it_is_signed(timestamp):
    assert not verify_signature(SECRET, headers(sign_body(SECRET, timestamp, BODY), timestamp), BODY, NOW)


@pytest.mark.parametrize("signature", ["", "v0=", SIGNATURE[3:], SIGNATURE.upper(), "ü", "v0=" + "0" * 64])
def test_an_invalid_signature_is_refused(signature):
    assert not verify_signature(SECRET, headers(signature), BODY, NOW)


def test_missing_headers_are_refused():
    assert not verify_signature(SECRET, [], BODY, NOW)


def test_a_body_that_is_no_utf8_can_be_signed():
    body = b"\xff\xfe"
    assert verify_signature(SECRET, headers(sign_body(SECRET, STAMP, body)), body, NOW)


def test_a_click_has_user_button_and_value():
    payload = a_click("acknowledge", "the-incident", response_url="https://hooks.slack.com/actions/T/1/x")
    assert parse_interaction(interaction(payload)) == ButtonClick(
        "acknowledge",
        "the-incident",
        Person("alice", "slack", "U0ALICE1"),
        "111.222.valid",
        "https://hooks.slack.com/actions/T/1/x",
        team="T0EXAMPLE",
        origin_team="T0EXAMPLE",
    )


def test_a_user_without_a_name_is_named_by_their_id():
    payload = a_click("resolve", "the-incident") | {"user": {"id": "U111"}}
    click = parse_interaction(interaction(payload))
    assert click is not None
    assert click.by == Person("U111", "slack", "U111")


def test_a_form_has_the_submitted_values():
    payload = a_submission("the-incident", "4h", "1h30m", "known  \n issue", by="bob")
    assert parse_interaction(interaction(payload)) == ModalSubmit(
        "the-incident", "4h", "1h30m", "known issue", Person("bob", "slack", "U0BOB001"), team="T0EXAMPLE"
    )


def test_fields_left_empty_are_empty():
    submitted = parse_interaction(interaction(a_submission("the-incident", None)))
    assert isinstance(submitted, ModalSubmit)
    assert (submitted.choice, submitted.custom, submitted.comment) == ("", "", "")


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "view_closed", "user": {"id": "U111"}},
        {"type": "shortcut", "user": {"id": "U111"}},
        {},
        {"type": ["block_actions"]},
        a_click("x", "y") | {"actions": []},
        a_click("x", "y") | {"actions": None},
        a_click("x", "y") | {"actions": ["text"]},
        a_click("x", "y") | {"actions": [{"type": "static_select", "action_id": "x"}]},
        a_click("", "y"),
        a_submission("i") | {"view": {"callback_id": "another app's"}},
        a_submission("i") | {"view": None},
    ],
)
def test_other_interactions_are_ignored(payload):
    assert parse_interaction(interaction(payload)) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"payload=",
        b"payload={",
        b"payload=[]",
        b"payload=null",
        b"nothing=here",
        b"payload=" + b"[" * 50_000,
        b"payload=%ff%fe{}",
        b"\xff",
        b"&".join(b"a=%d" % n for n in range(200)),
        interaction(a_click("acknowledge", "i") | {"user": {}}),
        interaction(a_click("acknowledge", "i") | {"user": {"id": "not an id"}}),
        interaction(a_click("acknowledge", "i") | {"user": {"id": "<!channel>"}}),
    ],
)
def test_a_malformed_body_is_a_payload_error(body):
    with pytest.raises(PayloadError):
        parse_interaction(body)


def test_long_values_are_cut():
    click = parse_interaction(interaction(a_click("acknowledge" * 100, "i" * 10_000)))
    assert isinstance(click, ButtonClick)
    assert (len(click.button), len(click.value)) == (100, 100)


def test_a_command_has_user_and_text():
    fields = a_command("  ack   0h2k ", by="carol", response_url="https://hooks.slack.com/commands/1")
    assert parse_command(urlencode(fields).encode()) == Command(
        "ack 0h2k",
        Person("carol", "slack", "U0CAROL1"),
        "https://hooks.slack.com/commands/1",
        team="T0EXAMPLE",
        origin_team="T0EXAMPLE",
    )


def test_the_command_of_slacks_example_is_parsed():
    assert parse_command(BODY) == Command(
        "",
        Person("roadrunner", "slack", "U2CERLKJA"),
        "https://hooks.slack.com/commands/T1DC2JH3J/397700885554/96rGlfmibIGlgcZRskXaIFfN",
        team="T1DC2JH3J",
        origin_team="T1DC2JH3J",
    )


def test_slacks_ssl_check_is_ignored():
    assert parse_command(b"ssl_check=1&token=x") is None


def test_a_command_without_a_user_is_a_payload_error():
    with pytest.raises(PayloadError):
        parse_command(b"text=list")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)


@given(
    JSON
    | st.fixed_dictionaries(
        {"type": st.sampled_from(["block_actions", "view_submission"])},
        optional={"user": JSON, "actions": JSON, "view": JSON, "trigger_id": JSON, "response_url": JSON},
    )
)
def test_nothing_but_payload_errors_are_raised(payload):
    with suppress(PayloadError):
        parse_interaction_payload(payload)
