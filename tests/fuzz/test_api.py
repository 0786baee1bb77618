"""Any request to API and pages: never a 5xx, never a traceback."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.web.api.openapi import PREFIX
from receiver.web.api.routes import OPERATIONS
from tests.fuzz.mutations import FUZZED, NASTY, bodies
from tests.fuzz.oracle import LoggedErrors
from tests.rig import ROUTING, Rig

TEXTS = [str(text).encode("utf-8", "replace").decode() for text in NASTY]
FIELDS = ["state", "severity", "alertname", "limit", "cursor", "since", "a", ""]
PAGES = ["/", "/incidents/{}", "/runbooks/{}", "/history", "/runbooks", "/routing", "/static/{}", "/metrics"]


def test_no_request_causes_an_error(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.configure(ROUTING + 'alertmanager: {url: "http://127.0.0.1:1"}\n')
    errors, incident = LoggedErrors(caplog), rig.fires("DiskFull")
    names = st.sampled_from([incident, "DiskFull", "..", "../..", "..%2f..", *TEXTS]) | st.text(max_size=10)
    # A silence needs a worker that sends it to Alertmanager, and there is none here.
    operations = [one for one in OPERATIONS if one.id != "silenceIncident"]
    paths = [(one.verb, PREFIX + one.path.replace(f"{{{one.name}}}", "{}")) for one in operations]
    originals = [
        {"by": "alice"},
        {"by": "alice", "for": "1h", "via": "page"},
        {"for": "2h", "comment": "why"},
    ]

    @FUZZED
    @given(
        st.sampled_from(paths + [("GET", page) for page in PAGES]),
        names,
        st.lists(
            st.tuples(st.sampled_from(FIELDS), st.sampled_from(TEXTS) | st.text(max_size=9)), max_size=3
        ),
        bodies(originals),
        st.booleans(),
    )
    def send(
        operation: tuple[str, str], name: str, query: list[tuple[str, str]], body: bytes, is_quoted: bool
    ) -> None:
        method, path = operation
        written = quote(name.encode("utf-8", "replace"), safe="") if is_quoted else quote(name.encode())
        tail = "&".join(f"{field}={quote(value.encode('utf-8', 'replace'))}" for field, value in query)
        answer = rig.client.open(
            f"{path.format(written)}?{tail}", method=method, data=body if method == "POST" else None
        )
        errors.assert_none(answer)
        if not 200 <= answer.status_code < 400:
            assert len(answer.json["error"]["message"]) > 5
        rig.works()
        errors.assert_none()

    send()
