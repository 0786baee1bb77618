"""A client for PagerDuty's REST API: status of incidents, dedup keys of their alerts, people on call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

from msgspec.structs import replace

from receiver import clock as wall
from receiver.cache import Cache
from receiver.errors import DeliveryError, PermanentDeliveryError, RefusalKind, TemporaryDeliveryError
from receiver.http_client import as_object, as_objects, gather, measure_clock_lead, parse_timestamp
from receiver.http_connection import HttpResponse
from receiver.integrations.pagerduty.session import find_retry_after, get_json
from receiver.integrations.pagerduty.webhook import USER_TYPES, parse_id, parse_text
from receiver.model.incident import OnCallPerson
from receiver.model.page_confirmation import PagerDutyStatus
from receiver.model.routing import Responder
from receiver.text import Secret

Json = dict[str, Any]
_ON_CALL_TIMEOUT_S = 3.0
# The check is done three seconds before a step is due.
_STATUSES_TIMEOUT_S = 2.5
# The newest incidents of one key; a key has few in a month.
_LATEST = 25
_WAIT_WHEN_LIMITED_S = 5.0
_LONGEST_WAIT_S = 600.0
_TRY_LATER = (408, 425)
_CLOCKS_AGREE_WITHIN_S = 2.0
_PAGE_SIZE = 100
_PAGES_AT_MOST = 5
_WORST_LEVEL = 99


@dataclass(frozen=True)
class PagerDutyRestClient:
    """Reads from one PagerDuty account. Thread-safe; sends each request once and never sleeps.

    Every method raises TemporaryDeliveryError, or PermanentDeliveryError `not_found`, `invalid_token`,
    `refused`. *timeout_s* limits each request.
    """

    url: str
    token: Secret
    timeout_s: float = 5.0
    clock: Callable[[], float] = wall.now

    def find_alert_keys(self, incident_id: str) -> tuple[str, ...]:
        """Return the dedup keys of the alerts in a PagerDuty incident, without repeats."""
        alerts = self._list_objects(f"incidents/{_require_id(incident_id)}/alerts", {})
        return tuple(dict.fromkeys(filter(None, (parse_text(alert.get("alert_key")) for alert in alerts))))

    def find_status(self, incident_id: str) -> PagerDutyStatus:
        """Return the current status of a PagerDuty incident; `merged` if it was merged into another."""
        path = f"incidents/{_require_id(incident_id)}"
        body, ahead_s = self._send_request(path, {}, self.timeout_s, "incident", dict)
        return _parse_status(body["incident"], ahead_s)

    def find_open(self, dedup_key: str) -> tuple[str, ...]:
        """Return the IDs of the open PagerDuty incidents with a page of that key."""
        query = {"incident_key": dedup_key, "statuses[]": ["triggered", "acknowledged"]}
        return tuple(parse_text(incident.get("id")) for incident in self._list_objects("incidents", query))

    def find_statuses(self, dedup_keys: Sequence[str]) -> dict[str, tuple[PagerDutyStatus, ...]]:
        """Return the statuses of the latest PagerDuty incidents with a page of each key, newest first.

        A request takes one key, so all keys are requested in parallel, within 2.5 s in total:
        https://developer.pagerduty.com/api-reference/9d0b4b12e36f9-list-incidents
        """
        found: dict[str, tuple[PagerDutyStatus, ...]] = {}
        requests = [partial(self._list_latest, dedup_key) for dedup_key in dedup_keys]
        for dedup_key, statuses in zip(dedup_keys, gather(requests, _STATUSES_TIMEOUT_S), strict=True):
            if isinstance(statuses, DeliveryError):
                raise statuses
            found[dedup_key] = statuses
        return found

    def _list_latest(self, dedup_key: str) -> tuple[PagerDutyStatus, ...]:
        query = {
            "incident_key": dedup_key,
            "statuses[]": ["triggered", "acknowledged", "resolved"],
            "sort_by": "created_at:desc",
            # By default PagerDuty searches one month, and an older open incident would seem to be missing.
            "date_range": "all",
            "limit": _LATEST,
        }
        body, ahead_s = self._send_request("incidents", query, self.timeout_s, "incidents", list)
        found = tuple(_parse_status(incident, ahead_s) for incident in as_objects(body["incidents"]))
        if found and found[0].status == "merged" and not any(status.is_open for status in found):
            # The incident it was merged into has the alert; it is usually in the list, else request it.
            return (*found, self.find_status(found[0].merged_into))
        return found

    def find_on_call(self, schedule: str) -> tuple[OnCallPerson, ...]:
        """Return who is on call now by the schedule with that ID: lowest level first, each person once."""
        query = {"schedule_ids[]": [schedule], "include[]": ["users"], "earliest": "true"}
        found: dict[str, OnCallPerson] = {}
        for entry in self._list_objects("oncalls", query, _ON_CALL_TIMEOUT_S):
            person, user_id = _parse_person(entry), parse_text(as_object(entry.get("user")).get("id"))
            known = found.get(user_id or person.name)
            if person.name and (known is None or person.level < known.level):
                found[user_id or person.name] = person
        return tuple(sorted(found.values(), key=lambda person: (person.level, person.name)))

    def _list_objects(
        self, path: str, query: Mapping[str, Any], timeout_s: float | None = None
    ) -> Iterator[Json]:
        """Yield the objects of a list, which *path* ends with, page by page."""
        name, timeout_s = path.rpartition("/")[2], timeout_s or self.timeout_s
        for number in range(_PAGES_AT_MOST):
            more = {"limit": _PAGE_SIZE, "offset": number * _PAGE_SIZE}
            body, _ = self._send_request(path, {**query, **more}, timeout_s, name, list)
            yield from as_objects(body[name])
            if body.get("more") is not True:
                return

    def _send_request(
        self, path: str, query: Mapping[str, Any], timeout_s: float, name: str, kind: type
    ) -> tuple[Json, float]:
        """Return the response's body, and by how many seconds our clock is ahead of PagerDuty's.

        Raises an error if *name* in the body is not of the *kind*: a gateway's `{}` does not mean that there
        is no incident.
        """
        try:
            response = get_json(self.url, self.token, f"{path}?{urlencode(query, doseq=True)}", timeout_s)
        except TemporaryDeliveryError as error:
            raise TemporaryDeliveryError("no_answer", error.detail) from None
        if not response.is_ok:
            raise _convert_refusal(response)
        body = response.parse_json()
        if not isinstance(body, dict):
            raise TemporaryDeliveryError("not_json", f"HTTP {response.status}")
        if not isinstance(body.get(name), kind):
            raise TemporaryDeliveryError("unexpected_answer", f"HTTP {response.status} without {name}")
        date = response.headers.get("date", "")
        return body, measure_clock_lead(date, self.clock(), _CLOCKS_AGREE_WITHIN_S)


# PagerDuty rate-limits this request, and on-call shifts change rarely.
_ON_CALL_FOR_S = 120.0
_ON_CALL_RETRY_S = 30.0
# The caller is about to send a page; the name is not worth a longer delay.
_ON_CALL_WAIT_S = 2.0


class PagerDutyOnCallLookup:
    """Looks up the people on call of a schedule with *find_on_call*, cached for two minutes. Thread-safe."""

    def __init__(
        self, find_on_call: Callable[[str], tuple[OnCallPerson, ...]], clock: Callable[[], float]
    ) -> None:
        self._clock = clock
        self._on_call = Cache("oncall", find_on_call, clock, ttl_s=_ON_CALL_FOR_S, retry_s=_ON_CALL_RETRY_S)

    def list_on_call(self, responder: Responder) -> tuple[OnCallPerson, ...]:
        """Return who is on call for *responder* now; empty when that is unknown. Waits for 2 s, never raises.

        While PagerDuty is unavailable, returns the last known people whose shift has not ended, with `as_of`.
        """
        if not responder.schedule:
            return ()
        found = self._on_call.find_value(responder.schedule, _ON_CALL_WAIT_S)
        if found is None:
            return ()
        now = self._clock()
        people = tuple(person for person in found.value if not person.until or person.until > now)
        if abs(now - found.fetched_at) < _ON_CALL_FOR_S:
            return people
        return tuple(replace(person, as_of=found.fetched_at) for person in people)


def _convert_refusal(response: HttpResponse) -> DeliveryError:
    status, detail = response.status, f"HTTP {response.status}"
    if status == 429:
        # The time until the rate limit resets: https://developer.pagerduty.com/docs/rest-api-rate-limits
        wait = find_retry_after(response, "retry-after", "ratelimit-reset", at_most=_LONGEST_WAIT_S)
        retry_after = _WAIT_WHEN_LIMITED_S if wait is None else wait
        return TemporaryDeliveryError("rate_limited", detail, retry_after=retry_after)
    if status >= 500 or status in _TRY_LATER:
        return TemporaryDeliveryError("server_error", detail)
    if status in (401, 403):
        return PermanentDeliveryError("invalid_token", detail, kind=RefusalKind.CREDENTIALS)
    if status == 404:
        return PermanentDeliveryError("not_found", detail)
    if status >= 400:
        return PermanentDeliveryError("refused", detail)
    return TemporaryDeliveryError("unexpected_answer", detail)


def _parse_status(incident: Json, ahead_s: float) -> PagerDutyStatus:
    """Return the status of an incident; a resolved one was resolved by the agent that changed it last.

    Times are converted to our clock, which is *ahead_s* seconds ahead of PagerDuty's.

    https://developer.pagerduty.com/api-reference/9d0b4b12e36f9-list-incidents
    """
    reason = as_object(incident.get("resolve_reason"))
    status = "merged" if reason else parse_text(incident.get("status"))
    acknowledgements = as_objects(incident.get("acknowledgements"))
    by = as_object(acknowledgements[-1].get("acknowledger")) if acknowledgements else {}
    if status == "resolved":
        by = as_object(incident.get("last_status_change_by"))
    return PagerDutyStatus(
        status,
        by=parse_text(by.get("summary")),
        changed_at=_convert_time(incident.get("last_status_change_at"), ahead_s),
        is_person=parse_text(by.get("type")) in USER_TYPES,
        created_at=_convert_time(incident.get("created_at"), ahead_s),
        id=parse_id(incident.get("id")),
        link=parse_text(incident.get("html_url")),
        merged_into=parse_id(as_object(reason.get("incident")).get("id")),
    )


def _parse_person(entry: Json) -> OnCallPerson:
    user, level = as_object(entry.get("user")), entry.get("escalation_level")
    return OnCallPerson(
        name=parse_text(user.get("name")) or parse_text(user.get("summary")),
        email=parse_text(user.get("email")),
        level=level if isinstance(level, int) and 0 < level < _WORST_LEVEL else _WORST_LEVEL,
        until=parse_timestamp(entry.get("end")),
    )


def _require_id(incident_id: str) -> str:
    """Return *incident_id* if it is a valid ID, as it becomes part of a URL; else raise `not_found`."""
    if parse_id(incident_id):
        return incident_id
    raise PermanentDeliveryError("not_found", "that is no incident's id")


def _convert_time(value: object, ahead_s: float) -> float:
    """Return the time *value* by our clock, 0 if invalid."""
    timestamp = parse_timestamp(value)
    return max(0.0, timestamp + ahead_s) if timestamp else 0.0
