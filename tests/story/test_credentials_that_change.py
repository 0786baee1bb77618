"""Deliveries that were refused because of a token or a key are sent again once the secret has changed."""

from __future__ import annotations

import pytest

from receiver.config.model import AlertmanagerConfig, Routing
from receiver.errors import PermanentDeliveryError, RefusalKind
from receiver.incidents.failures import Failure, has_new_credentials
from receiver.model.delivery import Delivery
from receiver.text import Secret
from tests.builders import an_incident
from tests.rig import NAMES, ROUTING, Rig
from tests.story.outage import with_fallback

CODES = [
    "account_inactive",
    "invalid_auth",
    "missing_scope",
    "not_allowed_token_type",
    "not_authed",
    "token_expired",
    "token_revoked",
]
OTHER_KEY = "0" * 31 + "d"


def reload(rig: Rig, text: str = ROUTING, **environ: str) -> None:
    """Reload with other secrets, as a worker does after SIGHUP and after a restart."""
    rig.environ |= environ
    rig.configure(text)
    rig.reconcilers.periodic_tasks.enqueue_all(rig.services.work_queue)
    rig.works()


def failed(rig: Rig) -> list[str]:
    rows = rig.client.get("/api/v1/deliveries", query_string={"state": "failed"}).json["deliveries"]
    return sorted(row["what"] for row in rows)


def posts(rig: Rig) -> int:
    return len(rig.slack.calls_of("chat.postMessage"))


@pytest.mark.parametrize("code", CODES)
def test_a_message_refused_for_its_token_is_posted_with_the_next_one(rig: Rig, code: str) -> None:
    rig.slack.fail_next("chat.postMessage", error=code)
    incident = rig.fires("DiskFull")
    rig.passes("10m")
    assert (rig.parents(), failed(rig)) == ([], ["message"])
    reload(rig, SLACK_BOT_TOKEN="xoxb-other")
    (parent,) = rig.parents()
    assert "DiskFull" in parent.text
    assert failed(rig) == []
    texts = [event["text"] for event in rig.shows(incident)["timeline"]]
    assert "Other credentials: sending message to slack:#alerts-critical again" in texts
    rig.passes("1h")
    assert len(rig.parents()) == 1
    assert rig.paged() == ["on-call", "team-lead", "manager"]


def test_with_the_same_secret_nothing_is_retried(rig: Rig) -> None:
    rig.slack.fail_next("chat.postMessage", error="invalid_auth")
    rig.fires("DiskFull")
    before = posts(rig)
    reload(rig)
    rig.passes("1h")
    assert (posts(rig), failed(rig)) == (before, ["message"])


def test_each_delivery_is_retried_once_per_secret(rig: Rig) -> None:
    rig.slack.token = "xoxb-right"
    rig.fires("DiskFull", "info")
    assert posts(rig) == 1
    for n, token in enumerate(("xoxb-1", "xoxb-2", "xoxb-right"), start=2):
        reload(rig, SLACK_BOT_TOKEN=token)
        rig.passes("10m")
        assert posts(rig) == n
    assert len(rig.parents()) == 1


@pytest.mark.parametrize("code", ["is_archived", "channel_not_found", "invalid_arguments"])
def test_failures_not_caused_by_the_secret_are_not_retried(rig: Rig, code: str) -> None:
    rig.slack.fail_next("chat.postMessage", error=code)
    rig.fires("DiskFull")
    reload(rig, SLACK_BOT_TOKEN="xoxb-other")
    rig.passes("10m")
    assert (rig.parents(), failed(rig)) == ([], ["message"])


def test_a_page_refused_for_its_key_is_sent_under_the_next_one(rig: Rig) -> None:
    rig.refuses("on-call")
    rig.fires("DiskFull")
    rig.passes("1m")
    assert (rig.paged(), failed(rig)) == ([], ["page:on-call"])
    rig.pagerduty.routing_keys = [*NAMES, OTHER_KEY]
    reload(rig, PAGERDUTY_ONCALL_KEY=OTHER_KEY)
    assert [event.routing_key for event in rig.pagerduty.triggers()] == [OTHER_KEY]
    assert failed(rig) == []


def test_another_responders_key_changes_nothing(rig: Rig) -> None:
    rig.refuses("on-call")
    rig.fires("DiskFull")
    reload(rig, PAGERDUTY_MANAGER_KEY=OTHER_KEY)
    rig.passes("1m")
    assert failed(rig) == ["page:on-call"]


def test_no_page_is_sent_for_an_incident_acknowledged_meanwhile(rig: Rig) -> None:
    rig.refuses("on-call")
    incident = rig.fires("DiskFull")
    rig.answers(incident, "acknowledge")
    rig.pagerduty.routing_keys = []
    reload(rig, PAGERDUTY_ONCALL_KEY=OTHER_KEY)
    rig.passes("1h")
    assert rig.triggered() == []


def test_an_incident_resolved_meanwhile_is_posted_as_resolved(rig: Rig) -> None:
    rig.slack.token = "xoxb-right"
    rig.fires("DiskFull")
    rig.ends("DiskFull")
    reload(rig, SLACK_BOT_TOKEN="xoxb-right")
    (parent,) = rig.parents()
    assert "Resolved" in parent.text


def test_edits_and_replies_refused_for_the_token_are_sent_later(rig: Rig) -> None:
    incident = rig.fires("DiskFull", host="a")
    rig.passes("5s")
    rig.slack.token = "xoxb-right"
    rig.posts(rig.alert("DiskFull", host="a"), rig.alert("DiskFull", host="b"))
    rig.answers(incident, "acknowledge", "alice")
    rig.passes("5s")
    assert failed(rig) == ["joined", "update"]
    reload(rig, SLACK_BOT_TOKEN="xoxb-right")
    rig.passes("5s")
    (parent,) = rig.parents()
    assert "Acknowledged by alice" in parent.words
    assert len([reply for reply in rig.replies() if "joined" in reply]) == 1
    assert failed(rig) == []


def test_the_message_returns_from_the_fallback_channel_with_a_valid_token(rig: Rig) -> None:
    rig.slack.workspace.add_channel("#ops")
    rig.configure(with_fallback("#ops"))
    rig.slack.fail_next("chat.postMessage", error="invalid_auth")
    rig.fires("DiskFull")
    assert [parent.channel for parent in rig.parents()] == ["#ops"]
    reload(rig, with_fallback("#ops"), SLACK_BOT_TOKEN="xoxb-other")
    rig.passes("5s")
    assert [parent.channel for parent in rig.parents()] == ["#ops", "#alerts-critical"]
    assert "goes on in" in rig.parents()[0].words


def test_a_removed_token_causes_no_retry(rig: Rig) -> None:
    """Without a token Slack is simulated, which delivers nothing."""
    rig.slack.fail_next("chat.postMessage", error="invalid_auth")
    rig.fires("DiskFull")
    reload(rig, SLACK_BOT_TOKEN="")
    rig.passes("1m")
    assert failed(rig) == ["message"]


def test_the_resolve_of_a_former_incident_does_not_resolve_the_page_of_the_next_one(rig: Rig) -> None:
    rig.fires("DiskFull")
    rig.passes("5s")
    rig.refuses("on-call")
    rig.ends("DiskFull")
    rig.passes("20m")
    rig.pagerduty.routing_keys = []
    rig.fires("DiskFull")
    rig.passes("5s")
    reload(rig, PAGERDUTY_ONCALL_KEY=OTHER_KEY)
    rig.passes("1m")
    assert [event.action for event in rig.pagerduty.events if event.routing_key == OTHER_KEY] == []


def test_a_host_that_reloads_later_does_not_prevent_the_retry(rig: Rig) -> None:
    rig.slack.token = "xoxb-right"
    rig.fires("DiskFull")
    old = rig.reconcilers
    reload(rig, SLACK_BOT_TOKEN="xoxb-right")
    rig.slack.workspace.messages.clear()
    rig.slack.token = "xoxb-newest"
    rig.fires("CpuHigh")
    rig.environ["SLACK_BOT_TOKEN"] = "xoxb-newest"
    rig.configure(ROUTING)
    new, rig.reconcilers = (
        rig.reconcilers,
        old,
    )  # the periodic task runs on the host that has not reloaded yet
    new.periodic_tasks.enqueue_all(rig.services.work_queue)
    rig.works()
    rig.reconcilers = new
    rig.passes("1m")
    assert [parent.text for parent in rig.parents() if "CpuHigh" in parent.text]


def test_a_storms_message_is_posted_with_the_next_token(rig: Rig) -> None:
    limits = "limits: {slack_posts: 1/m, slack_updates: 1000/s, pagerduty: 1000/s}\n"
    rig.storms_after_s = 0.0
    rig.configure(limits + ROUTING)
    for n in range(4):
        rig.posts(rig.alert(f"Disk{n}", "info"))
    rig.slack.token = "xoxb-right"
    rig.passes("3m")
    assert rig.parents() == []
    reload(rig, limits + ROUTING, SLACK_BOT_TOKEN="xoxb-right")
    rig.passes("3m")
    assert any("1 incident in #alerts-info: 1 open" in parent.text for parent in rig.parents())


def test_no_secret_is_stored_in_redis(rig: Rig) -> None:
    rig.slack.fail_next("chat.postMessage", error="invalid_auth")
    rig.refuses("on-call")
    rig.fires("DiskFull")
    rig.passes("1m")
    redis = rig.services.incidents._redis
    stored = b"".join(name + redis.dump(name) for name in redis.scan_iter())
    for name in ("SLACK_BOT_TOKEN", "PAGERDUTY_ONCALL_KEY"):
        secret = rig.environ[name]
        assert secret.encode() not in stored
        assert Secret(secret).digest != secret


def test_the_login_of_alertmanager_counts_as_a_secret() -> None:
    def routing(url: str) -> Routing:
        return Routing(routes=(), alertmanagers={"": AlertmanagerConfig((url,))})

    before, after = routing("http://me:old@am:9093"), routing("http://me:new@am:9093")
    assert "old" not in "".join(before.secret_digests.values())
    error = PermanentDeliveryError("unauthorized", kind=RefusalKind.CREDENTIALS)
    attempt = Delivery().with_attempt("", None, "alertmanager:eu", 1.0)
    refused = attempt.with_failure(
        error, 1.0, was_maybe_sent=False, salt="x", secret_digest=before.secret_digests["alertmanager:"]
    )
    assert not has_new_credentials(Failure(an_incident(), "silence:1", refused), before.secret_digests)
    assert has_new_credentials(Failure(an_incident(), "silence:1", refused), after.secret_digests)


def test_the_timeline_names_the_event_that_was_refused(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.refuses("on-call")
    rig.ends("DiskFull")
    texts = [event["text"] for event in rig.shows(incident)["timeline"]]
    assert "Resolve to pagerduty:on-call failed permanently: invalid_routing_key" in texts
    assert not [text for text in texts if text.startswith("Page to pagerduty:on-call failed permanently")]
