"""The OpenAPI description, checked with requests that are generated from it."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import positive_data_acceptance

from receiver.incidents.failures import delivery_id
from receiver.storms.model import Storm, new_storm_id
from receiver.web.api.openapi import Operation
from receiver.web.api.routes import OPERATIONS
from receiver.web.app import create_app
from tests.rig import ROUTING, Rig
from tests.sampling import count_examples

BEARER = {"Authorization": "Bearer api-token"}
EXAMPLES = count_examples(30)
# A duration can be well-formed and still be longer than a year, or zero.
LIMITED = {"snoozeIncident", "silenceIncident", "beginMaintenance"}
ASKED = [
    (operation, mode)
    for operation in OPERATIONS
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE
    or operation.has_body
    or operation.id in ("listIncidents", "listHistory", "listDeliveries")
]


@pytest.fixture
def guarded(rig: Rig) -> Rig:
    rig.environ |= {"RECEIVER_API_TOKEN": "api-token"}
    rig.configure(ROUTING)
    (rig.folder / "runbooks" / "a.md").write_text("### DiskFull (Critical)\n\n**Impact**: all stops\n")
    rig.clock.moment += 10
    return rig


def describe(rig: Rig) -> dict[str, Any]:
    response = rig.client.get("/api/v1/openapi.json", headers=BEARER)
    assert response.status_code == 200
    return dict(response.json)


@pytest.mark.parametrize(("operation", "mode"), ASKED, ids=lambda each: getattr(each, "id", each))
def test_every_response_is_as_described(guarded: Rig, operation: Operation, mode: GenerationMode) -> None:
    """Valid requests are answered, invalid ones refused, and none causes an unexpected error."""
    guarded.slack.archive("#alerts-critical")
    incident = guarded.fires("DiskFull", host="a")
    storm = Storm(new_storm_id("channel:#a", guarded.clock()), "channel:#a", guarded.clock())
    guarded.services.storm_store.start_storm(storm, "", guarded.clock())
    known = {
        "incident_id": incident,
        "alertname": "DiskFull",
        "delivery_id": delivery_id(incident, "message"),
        "storm_id": storm.id,
    }
    schema = schemathesis.openapi.from_dict(describe(guarded))
    schema.app = create_app(guarded.services, rate_limits=None)
    excluded = []
    if operation.id in LIMITED:
        excluded.append(positive_data_acceptance)
    if operation.id == "silenceIncident":
        excluded.append(not_a_server_error)  # without an Alertmanager the response is 502, as described

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        schema[f"/api/v1{operation.path}"][operation.verb].as_strategy(generation_mode=mode), st.booleans()
    )
    def send(case: Case, is_known: bool) -> None:
        if operation.name and is_known:
            case.path_parameters[operation.name] = known[operation.name]
        case.call_and_validate(headers=BEARER, excluded_checks=excluded)

    send()


def test_every_route_of_the_api_is_described(guarded: Rig) -> None:
    rules = create_app(guarded.services, rate_limits=None).url_map.iter_rules()
    served = {
        rule.rule.replace("<path:", "{").replace("<", "{").replace(">", "}")
        for rule in rules
        if rule.rule.startswith("/api/v1/")
    }
    assert served == set(describe(guarded)["paths"])


def test_the_schema_of_a_row_has_its_fields(guarded: Rig) -> None:
    guarded.fires("DiskFull")
    (row,) = guarded.client.get("/api/v1/incidents", headers=BEARER).json["incidents"]
    schema = describe(guarded)["components"]["schemas"]["IncidentRow"]
    assert list(row) == list(schema["properties"]) == schema["required"]


def test_query_parameters_are_described_as_parameters(guarded: Rig) -> None:
    description = describe(guarded)
    parameters = description["paths"]["/api/v1/history"]["get"]["parameters"]
    assert [one["name"] for one in parameters] == ["alertname", "since", "limit", "cursor"]
    assert all(one["in"] == "query" and one["description"] for one in parameters)
    assert "HistoryQuery" not in description["components"]["schemas"]


def test_required_fields_are_marked_as_required(guarded: Rig) -> None:
    paths = describe(guarded)["paths"]
    bodies = {
        name: paths[f"/api/v1/incidents/{{incident_id}}/{name}"]["post"] for name in ("resolve", "snooze")
    }
    assert {name: body["requestBody"]["required"] for name, body in bodies.items()} == {
        "resolve": False,
        "snooze": True,
    }


def test_the_token_is_described_if_one_is_required(rig: Rig, guarded: Rig) -> None:
    assert describe(guarded)["security"] == [{"bearer": []}, {"basic": []}]
    assert guarded.client.get("/api/v1/openapi.json").status_code == 401
    rig.environ["RECEIVER_API_TOKEN"] = ""
    rig.configure(ROUTING)
    assert {} in describe(rig)["security"]


def test_the_server_url_is_public_url(guarded: Rig) -> None:
    assert describe(guarded)["servers"] == [{"url": "/"}]
    guarded.environ["PUBLIC_URL"] = "https://ops.example/receiver/"
    guarded.configure(ROUTING)
    assert describe(guarded)["servers"] == [{"url": "https://ops.example/receiver"}]


def test_a_405_lists_the_allowed_methods(guarded: Rig) -> None:
    response = guarded.client.delete("/api/v1/incidents", headers=BEARER)
    assert response.status_code == 405
    assert response.json["error"]["type"] == "method_not_allowed"
    assert "GET" in response.headers["Allow"]
