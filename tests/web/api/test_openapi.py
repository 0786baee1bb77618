"""The API's description, and that the API is as it says: tried with questions that are made from it."""

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
from receiver.web.api.openapi import AnyOperation
from receiver.web.api.routes import OPERATIONS
from receiver.web.app import create_app
from tests.rig import ROUTING, Rig

BEARER = {"Authorization": "Bearer api-token"}
EXAMPLES = 25
# A duration can be well written and still be longer than a year, or nothing.
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
def test_every_answer_is_as_described(guarded: Rig, operation: AnyOperation, mode: GenerationMode) -> None:
    """Right questions are answered, wrong ones refused, and none meets a fault of ours."""
    guarded.slack.archive("#alerts-critical")
    incident = guarded.fires("DiskFull", host="a")
    storm = Storm(new_storm_id("channel:#a", guarded.clock()), "channel:#a", guarded.clock())
    guarded.services.storm_store.start_storm(storm, "", guarded.clock())
    known = {
        "incident_id": incident,
        "alertname": "DiskFull",
        "delivery_id": delivery_id(incident, "root"),
        "storm_id": storm.id,
    }
    schema = schemathesis.openapi.from_dict(describe(guarded))
    schema.app = create_app(guarded.services)
    excluded = []
    if operation.id in LIMITED:
        excluded.append(positive_data_acceptance)
    if operation.id == "silenceIncident":
        excluded.append(not_a_server_error)  # no Alertmanager here: 502, which is described

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        schema[f"/api/v1{operation.path}"][operation.method].as_strategy(generation_mode=mode), st.booleans()
    )
    def ask(case: Case, is_known: bool) -> None:
        if operation.name and is_known:
            case.path_parameters[operation.name] = known[operation.name]
        case.call_and_validate(headers=BEARER, excluded_checks=excluded)

    ask()


def test_every_route_of_the_api_is_described(guarded: Rig) -> None:
    rules = create_app(guarded.services).url_map.iter_rules()
    served = {
        rule.rule.replace("<", "{").replace(">", "}") for rule in rules if rule.rule.startswith("/api/")
    }
    assert served == set(describe(guarded)["paths"])


def test_a_row_is_described_as_it_is_given(guarded: Rig) -> None:
    guarded.fires("DiskFull")
    (row,) = guarded.client.get("/api/v1/incidents", headers=BEARER).json["incidents"]
    schema = describe(guarded)["components"]["schemas"]["IncidentRow"]
    assert list(row) == list(schema["properties"]) == schema["required"]


def test_questions_of_the_address_are_parameters_and_no_schemas(guarded: Rig) -> None:
    description = describe(guarded)
    parameters = description["paths"]["/api/v1/history"]["get"]["parameters"]
    assert [one["name"] for one in parameters] == ["alertname", "since", "limit", "cursor"]
    assert all(one["in"] == "query" and one["description"] for one in parameters)
    assert "HistoryQuery" not in description["components"]["schemas"]


def test_what_an_answer_needs_is_required(guarded: Rig) -> None:
    paths = describe(guarded)["paths"]
    bodies = {
        name: paths[f"/api/v1/incidents/{{incident_id}}/{name}"]["post"] for name in ("resolve", "snooze")
    }
    assert {name: body["requestBody"]["required"] for name, body in bodies.items()} == {
        "resolve": False,
        "snooze": True,
    }


def test_the_token_is_described_where_one_is_asked_for(rig: Rig, guarded: Rig) -> None:
    assert describe(guarded)["security"] == [{"bearer": []}, {"basic": []}]
    assert guarded.client.get("/api/v1/openapi.json").status_code == 401
    rig.environ["RECEIVER_API_TOKEN"] = ""
    rig.configure(ROUTING)
    assert {} in describe(rig)["security"]


def test_the_address_is_the_public_one(guarded: Rig) -> None:
    assert describe(guarded)["servers"] == [{"url": "/"}]
    guarded.environ["PUBLIC_URL"] = "https://ops.example/receiver/"
    guarded.configure(ROUTING)
    assert describe(guarded)["servers"] == [{"url": "https://ops.example/receiver"}]


def test_another_method_is_told_what_is_allowed(guarded: Rig) -> None:
    response = guarded.client.delete("/api/v1/incidents", headers=BEARER)
    assert response.status_code == 405
    assert response.json["error"]["type"] == "method_not_allowed"
    assert "GET" in response.headers["Allow"]
