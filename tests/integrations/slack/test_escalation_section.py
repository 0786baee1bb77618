"""The escalation line of a message: who was notified, how, and what comes next."""

from __future__ import annotations

import re

from receiver.integrations.slack.escalation_section import render_page_failures, render_steps
from receiver.model.incident import EscalationRun
from receiver.model.routing import NO_POLICY
from tests.builders import (
    OPENED_AT,
    a_delivery,
    a_policy,
    a_responder,
    a_step,
    an_escalation,
    an_incident,
)

MINUTE = 60.0


def line(incident, policy=None, now=OPENED_AT) -> str:
    """Return the line with its timestamps as in Slack's fallback text, without the day."""
    text = render_steps(incident, an_escalation(incident, policy, now))
    return re.sub(r"<!date[^|]*\|\S+ (\S+) UTC>", r"\1", text)


def page_failures(incident, now=OPENED_AT) -> str:
    return render_page_failures(incident, an_escalation(incident, None, now))


def test_future_steps_have_their_times():
    incident = an_incident(deliveries={"page:on-call": a_delivery()})
    assert line(incident) == "⏫ On-call paged 12:03 → Team Lead at 12:08 → Manager 5m later"


def test_a_step_without_a_receipt_is_in_progress():
    assert line(an_incident()) == "⏫ On-call being paged → Team Lead 5m later → Manager 5m later"


def test_a_simulated_page_is_marked_as_simulated():
    incident = an_incident(deliveries={"page:on-call": a_delivery(simulated=True)})
    assert line(incident).startswith("⏫ On-call paged 12:03 (simulated) →")


def test_a_step_notified_only_in_slack_is_not_shown_as_paged():
    deliveries = {
        "page:on-call": a_delivery(),
        "page:team-lead": a_delivery(at=OPENED_AT + 300, received=False, reason="rate_limited"),
        "step:team-lead": a_delivery(at=OPENED_AT + 300),
    }
    text = line(an_incident(deliveries=deliveries), now=OPENED_AT + 301)
    assert text == "⏫ On-call paged 12:03 → Team Lead notified in Slack 12:08 → Manager at 12:13"


def test_a_step_that_timed_out_is_shown():
    deliveries = {
        "page:on-call": a_delivery(received=False, reason="no_answer", failed_at=OPENED_AT),
        "timed_out:on-call": a_delivery(),
    }
    text = line(an_incident(deliveries=deliveries))
    assert text == "⏫ ⚠️ On-call could not be reached → Team Lead at 12:08 → Manager 5m later"


def test_an_acknowledgement_stops_it():
    incident = an_incident(deliveries={"page:on-call": a_delivery()}, acknowledged_by="alice")
    assert line(incident, now=OPENED_AT + MINUTE) == (
        "⏹ On-call paged 12:03 · stopped: acknowledged by alice 12:04"
    )


def test_resolved_before_a_step_was_notified():
    incident = an_incident(resolved_at=OPENED_AT + MINUTE)
    assert line(incident, now=OPENED_AT + MINUTE) == "⏹ Nobody was paged · stopped: resolved 12:04"


def test_a_page_carried_over_from_before_a_reopening_is_shown_with_its_time():
    incident = an_incident(
        deliveries={"page:on-call": a_delivery("1")},
        run=EscalationRun(2, OPENED_AT + 600, "reopened", 2),
    )
    assert line(incident, now=OPENED_AT + 600).startswith("⏫ On-call paged 12:03 → Team Lead at 12:18")


def test_without_steps_there_is_no_line():
    assert line(an_incident(policy=NO_POLICY), NO_POLICY) == ""


def test_names_are_escaped():
    policy = a_policy(a_step(a_responder("<!channel>")))
    assert "&lt;!channel&gt; being paged" in line(an_incident(policy=policy), policy)


def test_a_page_being_retried_is_listed_with_its_error():
    incident = an_incident(deliveries={"page:on-call": a_delivery(received=False, reason="rate_limited")})
    assert page_failures(incident) == "⚠️ PagerDuty: page to On-call not delivered yet (rate_limited)"


def test_a_page_that_failed_permanently_is_listed():
    failed = a_delivery(received=False, reason="invalid_key", failed_at=OPENED_AT)
    text = page_failures(an_incident(deliveries={"page:on-call": failed}))
    assert text == "⚠️ PagerDuty: page to On-call failed permanently (invalid_key)"


def test_a_page_received_after_a_failure_is_not_listed():
    incident = an_incident(deliveries={"page:on-call": a_delivery(reason="rate_limited")})
    assert page_failures(incident) == ""


def test_a_failed_page_of_an_earlier_escalation_run_is_not_listed():
    failed = a_delivery("1", received=False, reason="no_answer")
    incident = an_incident(
        deliveries={"page:on-call": failed}, run=EscalationRun(2, OPENED_AT, "reopened", 2)
    )
    assert page_failures(incident) == ""
