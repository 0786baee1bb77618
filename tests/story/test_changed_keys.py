"""A page is acknowledged and resolved under the routing key that it was sent under, whatever changed since."""

from __future__ import annotations

import pytest

from receiver.integrations.pagerduty.routing_keys import RoutingKeys
from receiver.storage.keys import TASKS
from tests.rig import KEYS, QUEUES, ROUTING, Rig

OLD, NEW = KEYS["PAGERDUTY_ONCALL_KEY"], "0" * 31 + "d"


def rotate_key(rig: Rig) -> None:
    """Give on-call another routing key, and reload."""
    rig.environ["PAGERDUTY_ONCALL_KEY"] = NEW
    rig.configure(ROUTING)


def restart_worker(rig: Rig) -> None:
    """Start a new worker: it has only the routing keys of the configuration."""
    rig.keys = RoutingKeys()
    rig.configure((rig.folder / "routing.yaml").read_text())


def sent(rig: Rig, key: str) -> list[str]:
    return [event.action for event in rig.pagerduty.events if event.routing_key == key]


def test_a_resolve_is_sent_under_the_key_of_its_page(rig: Rig) -> None:
    rig.fires("DiskFull")
    rotate_key(rig)
    rig.ends("DiskFull")
    assert sent(rig, OLD) == ["trigger", "resolve"]
    assert sent(rig, NEW) == []
    assert rig.pagerduty.still_open() == []


def test_an_acknowledgement_is_sent_under_the_key_of_its_page(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rotate_key(rig)
    rig.answers(incident, "acknowledge")
    assert sent(rig, OLD) == ["trigger", "acknowledge"]
    assert sent(rig, NEW) == []


def test_when_paging_again_under_the_new_key_the_old_page_is_resolved(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rotate_key(rig)
    rig.answers(incident, "acknowledge")
    rig.passes("1m")
    rig.answers(incident, "unacknowledge")
    assert sent(rig, NEW) == ["trigger"]
    assert sent(rig, OLD)[-1] == "resolve"
    rig.ends("DiskFull")
    assert sent(rig, NEW) == ["trigger", "resolve"]
    assert sent(rig, OLD).count("resolve") == 1
    assert rig.pagerduty.still_open() == []


def test_a_page_resolved_before_its_key_changed_is_not_resolved_again(rig: Rig) -> None:
    rig.fires("DiskFull")
    rig.passes("1m")
    rig.ends("DiskFull")
    rotate_key(rig)
    rig.passes("1m")
    rig.fires("DiskFull")
    rig.passes("1m")
    rig.ends("DiskFull")
    rig.passes("1m")
    assert sent(rig, OLD) == ["trigger", "resolve"]
    assert sent(rig, NEW) == ["trigger", "resolve"]


def test_the_page_of_a_removed_responder_is_resolved_under_its_key(rig: Rig) -> None:
    rig.fires("DiskFull")
    rig.passes("5m")
    without = "\n".join(line for line in ROUTING.splitlines() if not line.strip().startswith("team-lead:"))
    rig.configure(
        without.replace("{notify: team-lead, after: 5m}, ", "").replace(
            ", {notify: team-lead, after: 30m}", ""
        )
    )
    rig.ends("DiskFull")
    assert rig.events("team-lead") == ["trigger", "resolve"]
    assert rig.pagerduty.still_open() == []


def test_an_acknowledgement_of_a_removed_responder_in_pagerduty_is_applied(rig: Rig) -> None:
    rig.environ |= {
        "PAGERDUTY_WEBHOOK_SECRET": "pagerduty-secret",
        "PAGERDUTY_API_TOKEN": "rest-token",
        "PAGERDUTY_API_URL": rig.pagerduty.url,
    }
    rig.configure(ROUTING)
    incident = rig.fires("DiskFull")
    rig.passes("5m")
    without = "\n".join(line for line in ROUTING.splitlines() if not line.strip().startswith("team-lead:"))
    rig.configure(
        without.replace("{notify: team-lead, after: 5m}, ", "").replace(
            ", {notify: team-lead, after: 30m}", ""
        )
    )
    rig.pagerduty.acknowledges(rig.pagerduty.opened(KEYS["PAGERDUTY_TEAM_LEAD_KEY"])[0], by="Carol")

    def post(body: bytes, headers: dict[str, str]) -> int:
        return rig.client.post("/webhooks/pagerduty", data=body, headers=headers).status_code

    rig.pagerduty.webhooks.deliver(post)
    rig.works()
    assert rig.shows(incident)["acknowledged_by"] == "Carol"


@pytest.mark.parametrize(
    ("answer", "by_hand"), [("acknowledge", "acknowledge it"), ("resolve", "resolve it")]
)
def test_a_key_that_no_worker_has_is_reported_with_the_incident_to_resolve_manually(
    rig: Rig, answer: str, by_hand: str
) -> None:
    rig.environ |= {"PAGERDUTY_API_TOKEN": "rest-token", "PAGERDUTY_API_URL": rig.pagerduty.url}
    rig.configure(ROUTING)
    incident = rig.fires("DiskFull")
    rig.passes("31s")  # the ID of PagerDuty's incident has been loaded
    rotate_key(rig)
    restart_worker(rig)
    rig.answers(incident, answer)
    rig.passes("29s")
    assert not any("by hand" in reply for reply in rig.replies())
    rig.passes("10s")
    texts = [reply for reply in rig.replies() if f"{by_hand} by hand" in reply]
    assert len(texts) == 1
    assert rig.pagerduty.opened()[0].id in texts[0]
    assert sent(rig, OLD) == ["trigger"]
    assert sent(rig, NEW) == []
    rig.passes("1h")
    assert sum("by hand" in reply for reply in rig.replies()) == 1


def test_a_worker_without_the_key_leaves_the_event_to_one_that_has_it(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    old = rig.keys
    rotate_key(rig)
    restart_worker(rig)
    rig.answers(incident, "resolve")
    assert sent(rig, OLD) == ["trigger"]
    rig.clock.moment += 2
    rig.keys = old
    rig.configure((rig.folder / "routing.yaml").read_text())
    rig.works(tuple(queue for queue in QUEUES if queue != TASKS))
    assert sent(rig, OLD) == ["trigger", "resolve"]


def test_a_new_page_does_not_wait_for_a_lost_key(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.answers(incident, "acknowledge")
    rotate_key(rig)
    restart_worker(rig)
    rig.passes("1m")
    rig.answers(incident, "unacknowledge")
    assert sent(rig, NEW) == ["trigger"]


def test_a_page_attempted_before_and_after_the_change_is_resolved_under_both_keys(rig: Rig) -> None:
    rig.pagerduty.drop_answer()
    rig.fires("DiskFull")
    rotate_key(rig)
    rig.passes("1m")
    rig.ends("DiskFull")
    rig.passes("1m")
    assert sent(rig, OLD) == ["trigger", "resolve"]
    assert sent(rig, NEW) == ["trigger", "resolve"]
    assert rig.pagerduty.still_open() == []


def test_no_key_is_stored_with_the_incident(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    assert OLD not in str(rig.shows(incident))
    assert OLD not in str(rig.services.incidents.load_incident(incident))
