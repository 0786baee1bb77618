"""The form for a silence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.integrations.slack.requests import TextReply
from receiver.integrations.slack.views import render_form_error, render_silence_form
from tests.builders import OPENED_AT, an_alert, an_incident
from tests.mocks import views


def choices(view) -> list[str]:
    block = next(block for block in view["blocks"] if block.get("block_id") == "choice")
    return [option["value"] for option in block["element"]["options"]]


def test_the_form_has_the_incident_id_and_fields_for_length_and_comment():
    incident = an_incident()
    view = render_silence_form(incident, OPENED_AT)
    assert (view["callback_id"], view["private_metadata"]) == ("silence", incident.id)
    assert [block.get("block_id") for block in view["blocks"]] == [None, "choice", "own", "comment"]
    assert choices(view) == ["1h", "4h", "opening", "resolved"]
    assert views.check(view) == []


def test_without_business_hours_their_choice_is_omitted():
    assert choices(render_silence_form(an_incident(), 0.0)) == ["1h", "4h", "resolved"]


def test_own_time_and_comment_are_optional():
    view = render_silence_form(an_incident(), 0.0)
    assert [block.get("optional", False) for block in view["blocks"] if block.get("type") == "input"] == [
        False,
        True,
        True,
    ]


@given(st.text(max_size=400), st.sampled_from(["<!channel>", "x" * 5000, "a|b>"]))
def test_slack_accepts_the_form_whatever_the_alert_name(name, more):
    incident = an_incident(an_alert(name + more, annotations={"summary": more}))
    view = render_silence_form(incident, OPENED_AT)
    assert views.check(view) == []
    assert "<!channel>" not in view["blocks"][0]["text"]["text"]


@pytest.mark.parametrize("sentence", ["Too long", "x" * 1000])
def test_an_error_is_shown_at_its_field(sentence):
    answer = render_form_error(TextReply(sentence, field="own"))
    assert answer["response_action"] == "errors"
    assert answer["errors"]["own"].startswith(sentence[:100])
    assert len(answer["errors"]["own"]) <= 150
