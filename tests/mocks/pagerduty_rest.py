"""The REST API of the mock PagerDuty: it reads the state that events and people changed."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tests.mocks.pagerduty_account import Account, PagedIncident, reference_of

Answer = tuple[int, dict[str, str], dict[str, Any] | bytes]
Query = Mapping[str, Sequence[str]]

_ACCEPT = "application/vnd.pagerduty+json;version=2"


class Rest:
    """The reading part of the REST API over one account.

    *token* is the only valid one (empty: any). *on_call* holds the entries of each schedule: name, e-mail,
    and whatever else an entry has.
    """

    def __init__(self, account: Account, token: str = "") -> None:
        self.token = token
        self.on_call: dict[str, list[dict[str, Any]]] = {}
        self.page_size = 100
        self.odd_body: bytes | None = None  # replaces the body of every successful response
        self.asked: list[tuple[str, Query]] = []
        self._account = account

    def puts_on_call(self, schedule: str, name: str, email: str = "", **entry: Any) -> None:
        """Add a person to those on call in a schedule."""
        entries = self.on_call.setdefault(schedule, [])
        user = {"id": f"PUSER{len(entries)}{schedule[-3:]}", "type": "user", "name": name, "summary": name}
        fields = {"escalation_level": 1, "start": "2026-11-20T09:00:00Z", "end": "2026-11-27T09:00:00Z"}
        entries.append({"user": {**user, "email": email}, **fields, **entry})

    def answer(self, path: str, query: Query, headers: Mapping[str, str]) -> Answer:
        """Return the response to a GET."""
        self.asked.append((path, query))
        token = (headers.get("Authorization") or "").removeprefix("Token token=")
        if not token or self.token not in ("", token):
            return 401, {}, {"error": {"message": "Unauthorized", "code": 2006}}
        if _ACCEPT not in (headers.get("Accept") or ""):
            return 400, {}, {"error": {"message": "Invalid Accept header", "code": 2001}}
        if self.odd_body is not None:
            return 200, {}, self.odd_body
        if path == "/oncalls":
            return self._list("oncalls", self._find_on_call(query), query)
        if path == "/incidents":
            found = self._find_incidents(query)
            is_newest_first = query.get("sort_by") == ["created_at:desc"]
            return self._list("incidents", found[::-1] if is_newest_first else found, query)
        match = re.fullmatch(r"/incidents/([A-Z0-9]+)(/alerts)?", path)
        incident = self._account.find(match[1]) if match else None
        if match is None or incident is None:
            return 404, {}, {"error": {"message": "Not Found", "code": 2100}}
        if match[2]:
            return self._list("alerts", self._render_alerts(incident), query)
        return 200, {}, {"incident": self._render(incident)}

    def _find_on_call(self, query: Query) -> list[dict[str, Any]]:
        return [
            entry for schedule in query.get("schedule_ids[]", ()) for entry in self.on_call.get(schedule, [])
        ]

    def _find_incidents(self, query: Query) -> list[dict[str, Any]]:
        """Find incidents by the dedup keys of their alerts."""
        keys, states = query.get("incident_key", ()), query.get("statuses[]", ())
        return [
            self._render(incident)
            for incident in self._account.opened()
            if (not keys or set(keys) & set(self._account.alert_keys(incident)))
            and (not states or incident.state in states)
        ]

    def _render(self, incident: PagedIncident) -> dict[str, Any]:
        by = {"type": "user_reference", "summary": incident.acknowledged_by}
        acknowledgements = [{"at": iso(incident.changed_at), "acknowledger": by}]
        merged = {"id": incident.merged_into, "type": "incident_reference"}
        return {
            "id": incident.id,
            "type": "incident",
            "summary": incident.summary,
            "status": incident.state,
            "incident_key": None,
            "created_at": iso(incident.opened_at),
            "last_status_change_at": iso(incident.changed_at),
            "last_status_change_by": {
                "type": reference_of(incident.changed_by),
                "summary": incident.changed_by,
            }
            if incident.changed_by
            else None,
            "html_url": f"https://acme.pagerduty.com/incidents/{incident.id}",
            "acknowledgements": acknowledgements if incident.state == "acknowledged" else [],
            "assignments": [{"assignee": {"type": "user_reference", "summary": incident.assigned_to}}],
            "resolve_reason": {"type": "merge_resolve_reason", "incident": merged}
            if incident.merged_into
            else None,
        }

    def _render_alerts(self, incident: PagedIncident) -> list[dict[str, Any]]:
        return [
            {"id": f"Q{n:04d}", "type": "alert", "alert_key": key, "status": incident.state}
            for n, key in enumerate(self._account.alert_keys(incident))
        ]

    def _list(self, name: str, found: list[dict[str, Any]], query: Query) -> Answer:
        offset = int((query.get("offset") or ["0"])[0])
        size = min(self.page_size, int((query.get("limit") or ["25"])[0]))
        page = found[offset : offset + size]
        is_more = offset + size < len(found)
        return 200, {}, {name: page, "limit": size, "offset": offset, "more": is_more, "total": None}


def iso(moment: float) -> str:
    """Return a time in the format of PagerDuty's REST API: in whole seconds."""
    return dt.datetime.fromtimestamp(int(moment), dt.UTC).isoformat().replace("+00:00", "Z")
