"""Alertmanager's webhook: what is accepted, what is refused, and with which message."""

from __future__ import annotations

import gzip
import io
import json
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver.web.webhooks import MAX_BODY
from tests.rig import Rig
from tests.sampling import count_examples
from tests.story.test_notices import NO_CHUNKS

PAYLOADS = sorted((Path(__file__).parents[1] / "integrations" / "alertmanager" / "payloads").glob("*.json"))
HOOK = "/webhooks/alertmanager"


@pytest.mark.parametrize("path", PAYLOADS, ids=lambda path: path.stem)
def test_a_body_is_accepted_or_refused_with_a_message(rig: Rig, path: Path) -> None:
    response = rig.client.post(HOOK, data=path.read_bytes())
    if path.stem.startswith("refused-"):
        assert response.status_code == 400
        assert len(response.json["error"]["message"]) > 10
        return
    assert response.status_code == 200, response.text
    counts = response.json
    assert counts["new"] + counts["duplicates"] + counts["resolved"] + counts["rejected"] == counts["alerts"]
    rig.passes("1m")
    assert len(rig.parents()) == len(counts["incidents"])
    assert [ping for message in rig.slack.messages for ping in message.pings] == []


def test_two_thousand_alerts_are_accepted(rig: Rig) -> None:
    response = rig.posts(*(rig.alert("DiskFull", host=f"host-{n}") for n in range(2000)))
    rig.works()
    assert response["new"] == 2000
    assert "2000" in rig.parents()[0].words
    assert rig.paged() == ["on-call"]


def test_annotations_of_200_kb_are_accepted(rig: Rig) -> None:
    alert = rig.alert("DiskFull")
    alert["annotations"] = {"summary": "x" * 200_000, "description": "<&>`*" * 40_000}
    rig.posts(alert)
    rig.works()
    assert len(rig.parents()) == 1
    assert rig.paged() == ["on-call"]


def test_a_webhook_without_new_alerts_is_200(rig: Rig) -> None:
    for alerts in ([], None):
        response = rig.client.post(HOOK, json={**rig.payload(), "alerts": alerts})
        assert response.status_code == 200
        assert response.json == {
            "alerts": 0,
            "new": 0,
            "duplicates": 0,
            "resolved": 0,
            "rejected": 0,
            "incidents": [],
        }


def test_a_body_with_a_too_large_content_length_is_refused_unread(rig: Rig) -> None:
    response = rig.client.post(HOOK, data=b"{}", environ_overrides={"CONTENT_LENGTH": str(MAX_BODY + 2)})
    assert response.status_code == 413
    assert "32 MiB" in response.json["error"]["message"]


def test_a_chunked_body_that_is_too_large_is_refused(rig: Rig) -> None:
    body = rig.client.post(
        HOOK,
        input_stream=io.BytesIO(b" " * (MAX_BODY + 1)),
        environ_overrides={"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"},
    )
    assert body.status_code == 413


def test_a_body_of_the_maximum_size_is_accepted(rig: Rig) -> None:
    body = json.dumps(rig.payload(rig.alert("DiskFull"))).encode()
    response = rig.client.post(HOOK, data=body + b" " * (MAX_BODY - len(body)))
    assert response.status_code == 200


def test_an_unavailable_redis_is_503_within_5_s(rig: Rig) -> None:
    rig.environ["REDIS_URL"] = "redis://127.0.0.1:1/"
    rig.configure((rig.folder / "routing.yaml").read_text())
    started = time.monotonic()
    response = rig.client.post(HOOK, json=rig.payload(rig.alert("DiskFull")))
    assert response.status_code == 503
    assert time.monotonic() - started < 5
    assert response.json["error"]["type"] == "unavailable"


def test_a_redis_that_refuses_writes_is_503_and_nothing_is_saved_partly(rig: Rig) -> None:
    rig.services.work_queue._redis.config_set("maxmemory", 1)
    try:
        response = rig.client.post(HOOK, json=rig.payload(rig.alert("DiskFull")))
    finally:
        rig.services.work_queue._redis.config_set("maxmemory", 0)
    assert response.status_code == 503
    assert rig.client.get("/api/v1/incidents").json["incidents"] == []
    assert rig.posts(rig.alert("DiskFull"))["new"] == 1


def test_an_unknown_path_and_method_are_json_errors(rig: Rig) -> None:
    assert rig.client.get(HOOK).status_code == 405
    assert rig.client.post("/webhooks/nobody").json["error"]["type"] == "not_found"


def test_duplicates_cost_one_round_trip_and_changes_two(rig: Rig) -> None:
    """Counted by Redis itself; a script with its commands is one round trip."""

    def trips(body: dict[str, object]) -> int:
        client = rig.services.work_queue._redis
        before = client.info("stats")["total_reads_processed"]
        assert rig.client.post(HOOK, json=body).status_code == 200
        return int(client.info("stats")["total_reads_processed"]) - before - 1

    rig.posts(rig.alert("Warmup"))
    body = rig.payload(rig.alert("DiskFull"))
    assert trips(body) == 2
    assert trips(body) == 1
    group = rig.payload(*(rig.alert("Group", host=f"host-{n}") for n in range(100)))
    assert trips(group) <= 4  # Redis may read one large write in parts
    assert trips(group) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@settings(
    max_examples=count_examples(150),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_no_body_gets_a_5xx(rig: Rig, data: st.DataObject) -> None:
    body = rig.payload(rig.alert("DiskFull"))
    for _ in range(data.draw(st.integers(0, 3))):
        alerts = body["alerts"] if isinstance(body["alerts"], list) else []
        place = data.draw(
            st.sampled_from([body, *(alert for alert in alerts if isinstance(alert, dict) and alert)])
        )
        place[data.draw(st.sampled_from(sorted(place)))] = data.draw(JSON)
    response = rig.client.post(HOOK, data=json.dumps(body))
    assert response.status_code in (200, 400)


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "x\r", "deflate, gzip"])
def test_a_compressed_body_is_refused_with_a_message(rig: Rig, encoding: str) -> None:
    """Alertmanager does not compress, and a small compressed body may expand to gigabytes."""
    encoding = encoding.strip()
    response = rig.client.post(
        HOOK,
        data=gzip.compress(json.dumps(rig.payload(rig.alert("A"))).encode()),
        headers={"Content-Encoding": encoding},
    )
    assert response.status_code == 400
    assert "compressed" in response.json["error"]["message"]


@pytest.mark.parametrize(
    ("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('{"alerts":[', "]}"), ("[{", "}]"), ("[", "")]
)
def test_a_deeply_nested_body_is_refused_with_a_message(rig: Rig, opening: str, closing: str) -> None:
    body = opening * 1_000_000 + closing * 1_000_000
    started = time.monotonic()
    response = rig.client.post(HOOK, data=body)
    assert time.monotonic() - started < 5
    assert response.status_code == 413
    assert len(response.json["error"]["message"]) > 10


def test_an_alert_of_a_hundred_thousand_labels_is_accepted(rig: Rig) -> None:
    alert = rig.alert("DiskFull", **{f"label{n}": "x" for n in range(100_000)})
    rig.posts(alert)
    rig.works()
    assert rig.paged() == ["on-call"]


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999", "9" * 100_000, "-0", "1E-999"])
def test_a_number_outside_json_is_accepted_as_a_label(rig: Rig, number: str) -> None:
    body = json.dumps(rig.payload(rig.alert("DiskFull", host="NUMBER"))).replace('"NUMBER"', number)
    response = rig.client.post(HOOK, data=body)
    assert response.status_code == 200
    assert response.json["new"] == 1
    rig.works()
    assert rig.paged() == ["on-call"]


def test_a_truncated_body_is_503_so_that_it_is_sent_again(rig: Rig) -> None:
    """Like a body that arrives too slowly: its connection is closed."""
    body = json.dumps(rig.payload(rig.alert("DiskFull"))).encode()
    response = rig.client.post(HOOK, data=body[:-9], environ_overrides={"CONTENT_LENGTH": str(len(body))})
    assert response.status_code == 503
    assert rig.posts(rig.alert("DiskFull"))["new"] == 1


@pytest.mark.parametrize(
    ("path", "status", "words"), [(HOOK, 400, "hexadecimal"), ("/webhooks/pagerduty", 401, "signed")]
)
def test_malformed_chunks_cause_no_server_error(rig: Rig, path: str, status: int, words: str) -> None:
    """Whether the body is read for processing or only drained after a refusal."""
    response = rig.client.post(
        path,
        **NO_CHUNKS,
    )
    assert response.status_code == status
    assert words in response.json["error"]["message"]
    response.close()
