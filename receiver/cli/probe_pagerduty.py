"""What `receiver check --online` asks PagerDuty's REST API: the key, and the services of the responders.

A service that is disabled or in a maintenance window answers 202 and opens no incident; one that resolves
incidents by itself ends pages of alerts that still fire. Sources:
https://developer.pagerduty.com/api-reference/e960cca205c0f-list-services and
https://developer.pagerduty.com/api-reference/4c0936c241cbb-list-maintenance-windows
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from receiver.cli.calls import JsonResponse, NoResponse, send_request, strip_login
from receiver.cli.findings import Findings
from receiver.clock import format_duration
from receiver.model.routing import PAGERDUTY, Responder
from receiver.text import Secret, one_line

Json = dict[str, Any]

_JSON = "application/vnd.pagerduty+json;version=2"
_PAGE_SIZE = 100
_PAGES_AT_MOST = 20
_MAX_NAME = 80


class PagerDutyProbe:
    """Reads what one account says of the responders' services; it pages nobody."""

    def __init__(self, url: str, token: Secret, file: str, timeout_s: float) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._file = file
        self._timeout_s = timeout_s

    def run(self, responders: Mapping[str, Responder], findings: Findings) -> None:
        """Try the key, then look for what keeps the services of *responders* from waking anybody."""
        answer = self._call_api("abilities", {}, findings)
        if answer is None:
            return
        if answer.status in (401, 403):
            findings.error(
                self._file, "PagerDuty refuses pagerduty.api_token", "a REST API key that may read"
            )
            return
        if not answer.is_ok:
            findings.error(self._file, f"PagerDuty's API answers with status {answer.status}", "200")
            return
        findings.ok("PagerDuty takes the API token")
        names = {
            target.secret.reveal(): name
            for name, responder in responders.items()
            if (target := responder.find_target(PAGERDUTY)) is not None and target.secret
        }
        if names:
            self._check_services(names, findings)

    def _check_services(self, names: Mapping[str, str], findings: Findings) -> None:
        """Say what is wrong with the services whose integrations have the keys of *names*."""
        services = list(self._list_objects("services", {"include[]": "integrations"}, findings))
        windows = [
            {**window, "is_ongoing": kind == "ongoing"}
            for kind in ("ongoing", "future")
            for window in self._list_objects("maintenance_windows", {"filter": kind}, findings)
        ]
        if not services:
            findings.warning(
                self._file, "PagerDuty's API shows no service, so nothing is known of the responders'"
            )
            return
        unknown = dict(names)
        for service in services:
            keys = [
                _text(_object(each).get("integration_key")) for each in _array(service.get("integrations"))
            ]
            mine = [unknown.pop(key) for key in keys if key in unknown]
            if mine:
                self._check_service(service, ", ".join(mine), windows, findings)
        for name in unknown.values():
            what = f"no PagerDuty service that the API token may see has the routing key of {name}"
            findings.warning(self._file, f"{what}: its service can't be looked at")

    def _check_service(self, service: Json, who: str, windows: list[Json], findings: Findings) -> None:
        name = one_line(_text(service.get("summary")) or _text(service.get("name")), _MAX_NAME)
        what = f"PagerDuty's service {name!r} of {who}"
        mine = [window for window in windows if _covers(window, _text(service.get("id")))]
        timeout_s = service.get("auto_resolve_timeout")
        is_muted = any(window["is_ongoing"] for window in mine) or service.get("status") == "maintenance"
        if service.get("status") == "disabled":
            findings.error(
                self._file, f"{what} is disabled: it accepts pages and opens no incident", "an enabled one"
            )
        elif is_muted:
            until = next((_text(window.get("end_time")) for window in mine if window["is_ongoing"]), "")
            end = f" until {one_line(until, 40)}" if until else ""
            findings.warning(
                self._file, f"{what} is in a maintenance window{end}: it accepts pages and opens no incident"
            )
        for window in mine:
            if not window["is_ongoing"]:
                start = one_line(_text(window.get("start_time")), 40)
                findings.warning(
                    self._file,
                    f"{what} will be in a maintenance window from {start}: it opens no incident then",
                )
        if isinstance(timeout_s, int) and timeout_s > 0:
            findings.warning(
                self._file,
                f"{what} resolves its incidents after {format_duration(timeout_s)} (auto_resolve_timeout): "
                'what fires longer is paged again, three times an hour at most; choose "Never" there',
            )
        if service.get("status") != "disabled" and not mine and not timeout_s:
            findings.ok(f"{what} is enabled, and resolves nothing by itself")

    def _list_objects(self, name: str, asked: Mapping[str, str], findings: Findings) -> Iterator[Json]:
        """Yield the objects of a list, page by page; what can't be read is a warning."""
        for number in range(_PAGES_AT_MOST):
            more = {"limit": str(_PAGE_SIZE), "offset": str(number * _PAGE_SIZE)}
            answer = self._call_api(name, {**asked, **more}, findings)
            if answer is None:
                return
            body = answer.parse_json() if answer.is_ok else None
            if not isinstance(body, dict):
                words = name.replace("_", " ")
                findings.warning(
                    self._file, f"PagerDuty's API does not tell {words} (status {answer.status})"
                )
                return
            yield from map(_object, _array(body.get(name)))
            if body.get("more") is not True:
                return

    def _call_api(self, path: str, asked: Mapping[str, str], findings: Findings) -> JsonResponse | None:
        url = f"{self._url}/{path}" + (f"?{urlencode(asked)}" if asked else "")
        try:
            return send_request(
                "GET",
                url,
                authorization=f"Token token={self._token.reveal()}",
                headers={"Accept": _JSON},
                timeout_s=self._timeout_s,
            )
        except NoResponse as error:
            what = f"PagerDuty's API at {strip_login(self._url)} can't be asked: {error}"
            findings.error(self._file, what, "an answer")
            return None


def _covers(window: Json, service_id: str) -> bool:
    return any(_object(each).get("id") == service_id for each in _array(window.get("services")))


def _array(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
