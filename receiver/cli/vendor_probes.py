"""The online checks of Slack (token, channels, responders) and PagerDuty (key, services)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from receiver.cli.configuration import Findings
from receiver.clock import format_duration
from receiver.config.formats import is_channel
from receiver.config.model import Routing
from receiver.errors import TemporaryDeliveryError
from receiver.http_client import BaseUrl, as_object, as_objects, send_request
from receiver.http_connection import HttpResponse
from receiver.text import lowercase_ascii, one_line

Json = dict[str, Any]
TIMEOUT_S = 5.0
# Slack returns at most 1000 at once, and allows some twenty requests a minute:
# https://docs.slack.dev/reference/methods/conversations.list
PAGE_SIZE = 1000
MAX_PAGES = 15
_RESPONDERS = "a user group, a user or a channel of this workspace"


@dataclass(frozen=True)
class _ChannelListing:
    """Channels by their ID and by their `#name`; if they can't be listed, *reason* tells why."""

    channels: dict[str, Json] = field(default_factory=dict)
    reason: str = ""
    has_private: bool = True


@dataclass(frozen=True)
class SlackProbe:
    """Queries Slack at *address*, which has the token."""

    address: BaseUrl
    findings: Findings

    def probe_routing(self, routing: Routing) -> None:
        """Check the token, then the channels and responders that *routing* names."""
        findings = self.findings
        try:
            response = self._call_api("auth.test")
        except TemporaryDeliveryError as error:
            findings.add_error(f"Slack at {self.address}: {error.detail}", "an answer")
            return
        found = as_object(response.parse_json())
        if "ok" not in found:
            what = f"what answers at {self.address} (status {response.status}) is not Slack"
            findings.add_error(what, "Slack's API, see SLACK_API_URL")
            return
        if not found["ok"]:
            findings.add_error(
                f"Slack refuses slack.token: {_format_error(found, response)}", "a bot's token"
            )
            return
        scopes = frozenset(response.headers.get("x-oauth-scopes", "").replace(",", " ").split())
        if scopes and "chat:write" not in scopes:
            findings.add_error("slack.token lacks the scope chat:write", "a bot that may post")
        who, where = (one_line(str(found.get(key, "?")), 60) for key in ("user", "team"))
        findings.add_passed(f"Slack takes the token: {who} in {where}")
        try:
            listing = self._list_channels()
            self._probe_channels(listing, _list_routed_channels(routing), scopes)
            self._probe_responders(listing, routing.slack_responders)
        except TemporaryDeliveryError as error:
            findings.add_warning(f"Slack's channels and people could not be listed: {error.detail}")

    def _probe_responders(self, listing: _ChannelListing, names: tuple[str, ...]) -> None:
        """Report unknown members of `slack.responders`: a misspelt name would let no user respond."""
        handles = self._list_handles() if any(name.startswith("@") for name in names) else frozenset[str]()
        for name in names:
            is_channel_known = name in listing.channels or bool(listing.reason)
            if name.startswith("@") and handles is None:
                what = f"slack.responders: whether there is {name} can't be told"
                self.findings.add_warning(what, "the scopes usergroups:read and users:read")
            elif (name.startswith("@") and lowercase_ascii(name[1:]) not in (handles or ())) or (
                name.startswith("#") and not is_channel_known
            ):
                self.findings.add_error(f"slack.responders: Slack shows no {name}", _RESPONDERS)
            else:
                self.findings.add_passed(f"{name} may answer in Slack")

    def _list_handles(self) -> frozenset[str] | None:
        """Return the handles of all user groups and users; None if Slack refuses to list them."""
        handles: set[str] = set()
        for method, kind in (("usergroups.list", "usergroups"), ("users.list", "members")):
            for found, _ in self._fetch_pages(method):
                if not found.get("ok"):
                    return None
                for one in as_objects(found.get(kind)):
                    handles |= _list_handles_of(one)
        return frozenset(handles)

    def _probe_channels(self, listing: _ChannelListing, wanted: list[str], scopes: frozenset[str]) -> None:
        findings, may_post_anywhere = self.findings, "chat:write.public" in scopes
        if listing.reason:
            what = f"the channels are not tried: Slack says {listing.reason}"
            findings.add_warning(what, "the scopes channels:read and, for private ones, groups:read")
            return
        for name in wanted:
            channel = listing.channels.get(name)
            if channel is None and not listing.has_private:
                hidden = "private ones only with the scope groups:read"
                findings.add_warning(f"Slack shows no public channel {name}, and {hidden}")
            elif channel is None:
                expected = "a channel there, and for a private one the bot in it"
                findings.add_error(f"Slack shows no channel {name}", expected)
            elif channel.get("is_member") is False and (channel.get("is_private") or not may_post_anywhere):
                expected = "`/invite` it there, or the scope chat:write.public"
                findings.add_warning(f"the bot is not in {name}", expected)
            else:
                findings.add_passed(f"Slack has {name}")

    def _list_channels(self, kinds: str = "public_channel,private_channel") -> _ChannelListing:
        """Return the channels that the bot can see, including private ones if its scopes allow."""
        channels: dict[str, Json] = {}
        found: Json = {}
        for found, response in self._fetch_pages("conversations.list", types=kinds, exclude_archived="true"):
            if not found.get("ok") or not isinstance(found.get("channels"), list):
                reason = _format_error(found, response)
                if reason.startswith("missing_scope") and "private" in kinds:
                    return replace(self._list_channels("public_channel"), has_private=False)
                return _ChannelListing(reason=reason)
            for channel in as_objects(found["channels"]):
                channels |= {str(channel.get("id")): channel, f"#{channel.get('name')}": channel}
        if _next_cursor(found):
            return _ChannelListing(
                reason=f"more than {MAX_PAGES * PAGE_SIZE} channels, too many to look through"
            )
        return _ChannelListing(channels)

    def _fetch_pages(self, method: str, **arguments: str) -> Iterator[tuple[Json, HttpResponse]]:
        cursor = ""
        for _ in range(MAX_PAGES):
            response = self._call_api(method, **arguments, limit=PAGE_SIZE, cursor=cursor)
            found = as_object(response.parse_json())
            yield found, response
            cursor = _next_cursor(found)
            if not cursor:
                return

    def _call_api(self, method: str, **arguments: object) -> HttpResponse:
        query = urlencode({name: value for name, value in arguments.items() if value})
        path = f"/{method}" + (f"?{query}" if query else "")
        return send_request("GET", self.address, path, timeout_s=TIMEOUT_S)


def _list_handles_of(one: Json) -> set[str]:
    """Return the handles of a user group, or of a user who is not deactivated."""
    if one.get("deleted"):
        return set()
    shown = as_object(one.get("profile")).get("display_name")
    names = map(_text, (one.get("handle"), one.get("name") if "profile" in one else "", shown))
    return {lowercase_ascii(name) for name in names if name}


def _next_cursor(found: Json) -> str:
    return str(as_object(found.get("response_metadata")).get("next_cursor") or "")


def _list_routed_channels(routing: Routing) -> list[str]:
    """Return every channel that we may post to, each once; a direct message (D…) is in no list."""
    routes = routing.routes
    fallbacks = (route.fallback for route in routes if route.fallback not in routing.responders)
    named = [*(route.channel for route in routes), *filter(is_channel, fallbacks), routing.notices_channel]
    return [name for name in dict.fromkeys(named) if name and not name.startswith("D")]


def _format_error(found: Json, response: HttpResponse) -> str:
    word = one_line(str(found.get("error") or f"status {response.status}"), 100)
    needed = one_line(str(found.get("needed") or ""), 100)
    return f"{word} (needed: {needed})" if needed else word


_PAGERDUTY_JSON = "application/vnd.pagerduty+json;version=2"
_PAGE_SIZE = 100
_PAGES_AT_MOST = 20
_MAX_NAME = 80


@dataclass(frozen=True)
class PagerDutyProbe:
    """Reads the responders' services from the API at *address*, which has the token; sends no pages."""

    address: BaseUrl
    findings: Findings

    def probe_services(self, routing: Routing) -> None:
        """Check the key, then whether the services of the responders would notify a user."""
        findings, response = self.findings, self._call_api("abilities", {})
        if response is None:
            return
        if response.status in (401, 403):
            findings.add_error("PagerDuty refuses pagerduty.api_token", "a REST API key that may read")
            return
        if not response.is_ok:
            findings.add_error(f"PagerDuty's API answers with status {response.status}", "200")
            return
        findings.add_passed("PagerDuty takes the API token")
        targets = routing.pagerduty_targets
        names = {target.secret.reveal(): name for name, target in targets.items() if target.secret}
        if names:
            self._check_services(names)

    def _check_services(self, names: Mapping[str, str]) -> None:
        """Report what is wrong with the services whose integrations have the keys of *names*."""
        services = list(self._list_objects("services", {"include[]": "integrations"}))
        windows = defaultdict[tuple[str, str], list[Json]](list)  # by kind and service
        for kind in ("ongoing", "future"):
            for window in self._list_objects("maintenance_windows", {"filter": kind}):
                for each in as_objects(window.get("services")):
                    windows[kind, _text(each.get("id"))].append(window)
        if not services:
            self.findings.add_warning(
                "PagerDuty's API shows no service, so nothing is known of the responders'"
            )
            return
        unknown = dict(names)
        for service in services:
            keys = [_text(each.get("integration_key")) for each in as_objects(service.get("integrations"))]
            mine = [unknown.pop(key) for key in keys if key in unknown]
            if mine:
                self._check_service(service, ", ".join(mine), windows)
        for name in unknown.values():
            what = f"no PagerDuty service that the API token may see has the routing key of {name}"
            self.findings.add_warning(f"{what}: its service can't be looked at")

    def _check_service(self, service: Json, who: str, windows: Mapping[tuple[str, str], list[Json]]) -> None:
        findings, service_id = self.findings, _text(service.get("id"))
        name = one_line(_text(service.get("summary")) or _text(service.get("name")), _MAX_NAME)
        what = f"PagerDuty's service {name!r} of {who}"
        ongoing, future = windows["ongoing", service_id], windows["future", service_id]
        timeout_s, status = service.get("auto_resolve_timeout"), service.get("status")
        if status == "disabled":
            findings.add_error(
                f"{what} is disabled: it accepts pages and opens no incident", "an enabled one"
            )
        elif ongoing or status == "maintenance":
            until = _text(ongoing[0].get("end_time")) if ongoing else ""
            end = f" until {one_line(until, 40)}" if until else ""
            findings.add_warning(
                f"{what} is in a maintenance window{end}: it accepts pages and opens no incident"
            )
        for window in future:
            start = one_line(_text(window.get("start_time")), 40)
            what_then = f"{what} will be in a maintenance window from {start}"
            findings.add_warning(f"{what_then}: it opens no incident then")
        if isinstance(timeout_s, int) and timeout_s > 0:
            findings.add_warning(
                f"{what} resolves its incidents after {format_duration(timeout_s)} (auto_resolve_timeout): "
                'what fires longer is paged again, three times an hour at most; choose "Never" there',
            )
        if status != "disabled" and not (ongoing or future) and not timeout_s:
            findings.add_passed(f"{what} is enabled, and resolves nothing by itself")

    def _list_objects(self, name: str, query: Mapping[str, str]) -> Iterator[Json]:
        """Yield the objects of a list, page by page; unreadable pages are a warning."""
        for number in range(_PAGES_AT_MOST):
            more = {"limit": str(_PAGE_SIZE), "offset": str(number * _PAGE_SIZE)}
            response = self._call_api(name, {**query, **more})
            if response is None:
                return
            body = response.parse_json() if response.is_ok else None
            if not isinstance(body, dict):
                what = f"PagerDuty's API does not tell {name.replace('_', ' ')}"
                self.findings.add_warning(f"{what} (status {response.status})")
                return
            yield from as_objects(body.get(name))
            if body.get("more") is not True:
                return

    def _call_api(self, path: str, query: Mapping[str, str]) -> HttpResponse | None:
        path = f"/{path}" + (f"?{urlencode(query)}" if query else "")
        return send_get(self.address, path, "PagerDuty's API", self.findings, accept=_PAGERDUTY_JSON)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def send_get(
    address: BaseUrl, path: str, who: str, findings: Findings, accept: str = "application/json"
) -> HttpResponse | None:
    """Return the response; None, and a fault is added, if there is none."""
    try:
        return send_request("GET", address, path, accept=accept, timeout_s=TIMEOUT_S)
    except TemporaryDeliveryError as error:
        findings.add_error(f"{who} at {address} can't be asked: {error.detail}", "an answer")
        return None
