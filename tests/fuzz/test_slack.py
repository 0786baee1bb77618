"""Any request that Slack signs: never a 5xx, never a traceback."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.mutations import FUZZED, NASTY, bodies
from tests.fuzz.oracle import LoggedErrors
from tests.rig import ROUTING, Rig
from tests.slack_people import SECRET, SlackPeople, a_click, a_command, a_submission

WORDS = ["ack", "unack", "resolve", "silence", "snooze", "show", "list", "help", "1h", "for", "#", "@alice"]


@pytest.fixture
def people(rig: Rig) -> SlackPeople:
    rig.environ["SLACK_SIGNING_SECRET"] = SECRET
    rig.configure(ROUTING + 'alertmanager: {url: "http://127.0.0.1:1"}\n')
    return SlackPeople(rig.client, rig.clock, rig.slack)


def test_no_button_and_no_form_causes_an_error(
    rig: Rig, people: SlackPeople, caplog: pytest.LogCaptureFixture
) -> None:
    errors, incident = LoggedErrors(caplog), rig.fires("DiskFull")
    originals = [a_click(button, incident) for button in ("acknowledge", "resolve", "silence", "reviewed")]
    originals += [a_submission(incident), a_submission(incident, None, "2h", "why")]

    @FUZZED
    @given(bodies(originals), st.booleans())
    def post(body: bytes, is_form: bool) -> None:
        answer = people.posts("interactions", urlencode({"payload": body}).encode() if is_form else body)
        errors.assert_none(answer)
        assert answer.status_code in (200, 400)
        rig.works()
        errors.assert_none()

    post()


def test_no_command_causes_an_error(rig: Rig, people: SlackPeople, caplog: pytest.LogCaptureFixture) -> None:
    errors, incident = LoggedErrors(caplog), rig.fires("DiskFull")
    nasty = [text.encode("utf-8", "replace").decode() for text in NASTY if isinstance(text, str)]
    messages = st.sampled_from([*WORDS, incident, incident[:4], *nasty]) | st.text(max_size=10)

    @FUZZED
    @given(
        st.lists(messages, max_size=5),
        st.dictionaries(st.sampled_from(sorted(a_command(""))), st.sampled_from(nasty), max_size=2),
        st.binary(max_size=20),
    )
    def post(line: list[str], changes: dict[str, str], tail: bytes) -> None:
        fields = {**a_command(" ".join(line)), **changes}
        answer = people.posts("commands", urlencode(fields).encode("utf-8", "replace") + tail)
        errors.assert_none(answer)
        assert answer.status_code in (200, 400)
        if answer.status_code == 200 and answer.data:
            json.loads(answer.data)
        rig.works()
        errors.assert_none()

    post()
