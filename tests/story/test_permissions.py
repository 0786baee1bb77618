"""Who may make changes from Slack: members of our workspace, or those that `slack.responders` names."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.integrations.slack.permissions import GUEST
from tests.rig import ROUTING, Rig
from tests.slack_people import SECRET, SlackPeople, a_click, a_submission
from tests.support.log_lines import written_log

OTHERS = "T0OTHER"
TOKEN = 'slack: {token: "${SLACK_BOT_TOKEN}"}'


@pytest.fixture
def people(rig: Rig) -> SlackPeople:
    return configure(rig)


def configure(rig: Rig, *responders: str) -> SlackPeople:
    """Allow only *responders* to make changes; without any, every member of the workspace."""
    rig.environ["SLACK_SIGNING_SECRET"] = SECRET
    listed = ", ".join(f'"{one}"' for one in responders)
    slack = f'slack: {{token: "${{SLACK_BOT_TOKEN}}", responders: [{listed}]}}' if responders else TOKEN
    rig.configure(ROUTING.replace(TOKEN, slack))
    return SlackPeople(rig.client, rig.clock, rig.slack)


def last_reply(rig: Rig) -> str:
    """Return the last ephemeral reply."""
    return str(rig.slack.followups[-1]["text"]) if rig.slack.followups else ""


def clicks(rig: Rig, people: SlackPeople, incident: str, by: str = "alice", **changes: Any) -> str:
    """Click the button of an incident; return who has acknowledged it then."""
    people.interacts(a_click("acknowledge", incident, by, response_url=rig.slack.response_url, **changes))
    rig.works()
    return str(rig.shows(incident)["acknowledged_by"] or "")


def test_a_member_may_acknowledge(rig: Rig, people: SlackPeople) -> None:
    assert clicks(rig, people, rig.fires("DiskFull")) == "alice"


@pytest.mark.parametrize(
    "fields",
    [
        {"is_stranger": True, "team_id": OTHERS},
        {"team_id": OTHERS},
        {"is_restricted": True},
        {"is_ultra_restricted": True},
        {"deleted": True},
    ],
    ids=["of a shared channel", "of another workspace", "guest", "guest of one channel", "gone"],
)
def test_a_user_who_is_no_full_member_may_not(rig: Rig, people: SlackPeople, fields: dict[str, Any]) -> None:
    rig.slack.add_user("U0ALICE1", "alice", **fields)
    incident = rig.fires("DiskFull")
    assert clicks(rig, people, incident) == ""
    assert "can't answer here" in last_reply(rig)
    for asked in (f"ack {incident}", f"resolve {incident}", "list", f"show {incident}"):
        assert "can't answer here" in people.reply_to(asked)
    form = people.submits(incident)
    assert "can't answer here" in form.json["errors"]["choice"]
    assert rig.state(incident) == "open"


def test_a_user_unknown_to_slack_may_not(rig: Rig, people: SlackPeople) -> None:
    rig.slack.workspace.users = []
    assert clicks(rig, people, rig.fires("DiskFull")) == ""


def test_while_slack_does_not_return_the_user_the_request_decides(rig: Rig, people: SlackPeople) -> None:
    rig.slack.fail_next("users.info", error="missing_scope", times=100)
    incident = rig.fires("DiskFull")
    guest = {"id": "U0ALICE1", "username": "alice", "team_id": OTHERS}
    assert clicks(rig, people, incident, user=guest) == ""
    assert clicks(rig, people, incident) == "alice"


def test_what_slack_says_of_the_user_outweighs_the_workspace_of_the_request(
    rig: Rig, people: SlackPeople
) -> None:
    """In a shared channel or an Enterprise organization the request may name another workspace."""
    incident = rig.fires("DiskFull")
    alice = {"id": "U0ALICE1", "username": "alice", "team_id": OTHERS}
    assert clicks(rig, people, incident, user=alice) == "alice"


def test_while_slack_is_unavailable_the_workspace_of_the_request_decides(
    rig: Rig, people: SlackPeople
) -> None:
    incident = rig.fires("DiskFull")
    for method in ("users.info", "auth.test"):
        rig.slack.fail_next(method, error="internal_error", times=100)
    guest = {"id": "U0ALICE1", "username": "alice", "team_id": OTHERS}
    assert clicks(rig, people, incident, user=guest) == ""
    assert clicks(rig, people, incident) == "alice"


def test_a_colleague_in_another_workspace_of_the_organization_may(rig: Rig, people: SlackPeople) -> None:
    rig.slack.workspace.enterprise = "E0OURS"
    rig.slack.add_user(
        "U0ALICE1", "alice", team_id=OTHERS, enterprise_user={"enterprise_id": "E0OURS", "teams": [OTHERS]}
    )
    assert clicks(rig, people, rig.fires("DiskFull")) == "alice"


@pytest.mark.parametrize("name", ["@oncall", "@alice", "U0ALICE1", "#responders", "#responders members"])
def test_only_configured_responders_may_make_changes(rig: Rig, name: str) -> None:
    rig.slack.add_usergroup("S0ONCALL", "oncall", "U0ALICE1")
    rig.slack.workspace.add_channel("#responders")
    rig.slack.add_members("#responders", "U0ALICE1")
    people = configure(rig, "@nobody-yet", name)
    incident = rig.fires("DiskFull")
    assert clicks(rig, people, incident, "bob") == ""
    assert "not among those who may answer" in last_reply(rig) or "does not tell just now" in last_reply(rig)
    assert "1 open incident" in people.reply_to("list", "bob")
    assert clicks(rig, people, incident, "alice") == "alice"


def test_a_user_who_is_not_configured_gets_a_message(rig: Rig) -> None:
    people = configure(rig, "U0ALICE1")
    incident = rig.fires("DiskFull")
    assert clicks(rig, people, incident, "bob") == ""
    assert "not among those who may answer" in last_reply(rig)
    assert "not among those who may answer" in people.reply_to(f"ack {incident}", "bob")
    form = people.interacts(a_submission(incident, by="bob"))
    assert "not among those who may answer" in form.json["errors"]["choice"]
    assert rig.state(incident) == "open"


def test_while_slack_does_not_return_the_responders_no_one_else_may(rig: Rig) -> None:
    people = configure(rig, "@oncall")
    rig.slack.fail_next("usergroups.list", error="internal_error", times=100)
    incident = rig.fires("DiskFull")
    assert clicks(rig, people, incident) == ""
    assert "does not tell just now who may answer" in last_reply(rig)


def test_the_cached_responders_are_used_while_slack_is_unavailable(rig: Rig) -> None:
    rig.slack.add_usergroup("S0ONCALL", "oncall", "U0ALICE1")
    people = configure(rig, "@oncall")
    assert clicks(rig, people, rig.fires("DiskFull")) == "alice"
    for method in ("users.info", "auth.test", "usergroups.list", "usergroups.users.list"):
        rig.slack.fail_next(method, error="internal_error", times=100)
    rig.passes("20m")
    assert clicks(rig, people, rig.fires("DiskSlow")) == "alice"


def test_a_configured_guest_may_not_either(rig: Rig) -> None:
    rig.slack.add_user("U0ALICE1", "alice", is_restricted=True)
    people = configure(rig, "U0ALICE1")
    assert clicks(rig, people, rig.fires("DiskFull")) == ""


def test_a_refused_change_is_logged_with_the_reason_and_without_a_secret(
    rig: Rig, people: SlackPeople
) -> None:
    rig.slack.add_user("U0ALICE1", "alice", is_restricted=True)
    incident = rig.fires("DiskFull")
    with written_log() as log:
        clicks(rig, people, incident)
    lines = [line for line in log.getvalue().splitlines() if '"request refused"' in line]
    assert len(lines) == 1
    assert GUEST in lines[0]
    assert rig.slack.response_url not in log.getvalue()
