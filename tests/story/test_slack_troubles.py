"""Guarantee 11, and the effects of a failing Slack."""

from __future__ import annotations

from tests.rig import Rig


def test_a_deleted_message_is_posted_again_once_with_a_link(rig: Rig) -> None:
    incident = rig.fires("DiskFull", host="a")
    rig.passes("5s")
    rig.slack.delete_message(rig.parents()[0])
    rig.posts(rig.alert("DiskFull", host="a"), rig.alert("DiskFull", host="b"))
    rig.passes("10s")
    assert len(rig.parents()) == 1  # the mock has deleted the former one
    rig.slack.delete_message(rig.parents()[0])
    rig.answers(incident, "resolve")
    rig.passes("1h")
    assert rig.parents() == []


def test_a_hanging_slack_delays_no_page(rig: Rig) -> None:
    rig.posts(rig.alert("DiskFull"))
    rig.clock.moment += 0.6
    rig.works(("pagerduty",))
    assert rig.paged() == ["on-call"]
    rig.clock.moment += 300
    rig.works(("pagerduty",))
    assert rig.paged() == ["on-call", "team-lead"]


def test_the_page_links_the_message_if_slack_is_fast(rig: Rig) -> None:
    rig.fires("DiskFull")
    links = [link["href"] for link in rig.pagerduty.events[0].body["links"]]
    assert any("/archives/" in link for link in links)


def test_slack_failing_for_a_while_loses_nothing_and_doubles_nothing(rig: Rig) -> None:
    rig.slack.fail_next("chat.postMessage", status=503, times=4)
    rig.fires("DiskFull")
    rig.passes("30s")
    assert len(rig.parents()) == 1
    assert rig.paged() == ["on-call"]


def test_a_200_without_ok_is_no_delivery(rig: Rig) -> None:
    rig.slack.fail_next("chat.postMessage", error="internal_error")
    rig.fires("DiskFull")
    assert rig.parents() == []
    rig.passes("5s")
    assert len(rig.parents()) == 1


def test_a_message_whose_response_was_lost_is_found_again(rig: Rig) -> None:
    """It was perhaps posted, so it is searched before it is sent again."""
    rig.slack.drop_answer("chat.postMessage")
    rig.fires("DiskFull")
    rig.passes("30s")
    assert len(rig.parents()) == 1


def test_a_deleted_channel_prevents_no_page(rig: Rig) -> None:
    rig.slack.archive("#alerts-critical")
    incident = rig.fires("DiskFull")
    rig.passes("10m")
    assert rig.paged() == ["on-call", "team-lead", "manager"]
    parent = next(d for d in rig.shows(incident)["deliveries"] if d["id"] == "message")
    assert (parent["state"], parent["reason"]) == ("failed", "is_archived")
    assert "receiver_failed_deliveries 1.0" in rig.client.get("/metrics").text


def test_edits_that_follow_one_another_are_merged(rig: Rig) -> None:
    rig.fires("DiskFull", host="0")
    rig.passes("5s")
    edits = rig.parents()[0].edits
    for host in range(1, 11):
        rig.posts(*(rig.alert("DiskFull", host=str(n)) for n in range(host + 1)))
    rig.passes("5s")
    assert rig.parents()[0].edits == edits + 1
    assert len([reply for reply in rig.replies() if "joined" in reply]) == 1


def test_an_incident_has_one_message_that_is_updated(rig: Rig) -> None:
    incident = rig.fires("DiskFull", host="a")
    rig.passes("6m")
    rig.posts(rig.alert("DiskFull", host="a"), rig.alert("DiskFull", host="b"))
    rig.passes("5s")
    rig.answers(incident, "acknowledge", "alice")
    rig.passes("5s")
    rig.posts(rig.alert("DiskFull", host="a", ended=True), rig.alert("DiskFull", host="b", ended=True))
    rig.passes("5s")
    assert len(rig.parents()) == 1
    assert all(reply.thread_ts == rig.parents()[0].ts for reply in rig.slack.replies())


def test_buttons_have_the_incidents_id(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    buttons = rig.parents()[0].buttons
    assert {name: value for name, value in buttons.items() if value} == {
        "acknowledge": incident,
        "resolve": incident,
    }  # no Alertmanager is configured that could silence it


def test_no_label_can_mention_anyone(rig: Rig) -> None:
    rig.fires("DiskFull", host="<!channel> <@U12345678> @here", team="&lt;!channel&gt;")
    rig.posts(
        rig.alert("DiskFull", host="<!channel> <@U12345678> @here", team="&lt;!channel&gt;"),
        rig.alert("DiskFull", host="<!here>", nasty="*bold* `tick` <http://evil|good>"),
    )
    rig.passes("20m")
    pings = [ping for message in rig.slack.messages for ping in message.pings]
    assert set(pings) <= {"@team-lead", "@manager"}


def test_a_message_that_is_found_is_updated_to_the_current_state(rig: Rig) -> None:
    rig.slack.drop_answer("chat.postMessage")
    rig.posts(rig.alert("DiskFull"))
    rig.works(("slack",))
    rig.posts(rig.alert("DiskFull", ended=True))
    rig.passes("30s")
    assert len(rig.parents()) == 1
    assert "esolved" in rig.parents()[0].text


def test_a_long_outage_of_slack_shortens_no_wait(rig: Rig) -> None:
    """Before, a step with a Slack target timed out two minutes after the first attempt of the incident's
    message.

    That was before the step was due, so its wait was over before it started.
    """
    rig.slack.fail_next("chat.postMessage", status=503, times=10_000)
    rig.fires("DiskFull")
    rig.passes("5m2s")
    assert rig.paged() == ["on-call", "team-lead"]
    rig.passes("4m50s")
    assert rig.paged() == ["on-call", "team-lead"]
    rig.passes("10s")
    assert rig.paged() == ["on-call", "team-lead", "manager"]
