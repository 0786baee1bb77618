"""The online checks of Slack (token, channels, responders) and PagerDuty (key, services)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from receiver.cli.configuration import Findings
from receiver.clock import format_duration
from receiver.config.formats import is_channel
from receiver.config.model import Routing
from receiver.errors import TemporaryDeliveryError
from receiver.http_client import (
    BaseUrl,
    HttpResponse,
    as_object,
    as_objects,
    parse_base_url,
    send_request,
)
from receiver.model.routing import PAGERDUTY, Responder
from receiver.text import Secret, lowercase_ascii, one_line

Json = dict[str, Any]
# Slack returns at most 1000 at once, and allows some twenty requests a minute:
# https://docs.slack.dev/reference/methods/conversations.list
PAGE_SIZE = 1000
MAX_PAGES = 15
_RESPONDERS = "a user group, a user or a channel of this workspace"


@dataclass(frozen=True)
class _Listing:
    """Channels by their ID and by their `#name`; if they can't be listed, *reason* tells why."""

    channels: dict[str, Json] = field(default_factory=dict)
    reason: str = ""
    has_private: bool = True


class SlackProbe:
    """Queries Slack with one token."""

    def __init__(self, base_url: str, token: Secret, timeout_s: float) -> None:
        self._address = parse_base_url(base_url).with_token(token.reveal())
        self._timeout_s = timeout_s

    def run(self, routing: Routing, findings: Findings) -> None:
        """Check the token, then the channels that *routing* names."""
        try:
            answer = self._call_api("auth.test")
        except TemporaryDeliveryError as error:
            findings.error(f"Slack at {self._address}: {error.detail}", "an answer")
            return
        found = as_object(answer.parse_json())
        if "ok" not in found:
            what = f"what answers at {self._address} (status {answer.status}) is not Slack"
            findings.error(what, "Slack's API, see SLACK_API_URL")
            return
        if not found["ok"]:
            findings.error(f"Slack refuses slack.token: {_error(found, answer)}", "a bot's token")
            return
        scopes = _scopes(answer)
        if scopes and "chat:write" not in scopes:
            findings.error("slack.token lacks the scope chat:write", "a bot that may post")
        who, where = (one_line(str(found.get(key, "?")), 60) for key in ("user", "team"))
        findings.ok(f"Slack takes the token: {who} in {where}")
        try:
            listing = self._list_channels()
            self._probe_channels(listing, _list_routed_channels(routing), scopes, findings)
            self._probe_responders(listing, routing.slack_responders, findings)
        except TemporaryDeliveryError as error:
            findings.warning(f"Slack's channels and people could not be listed: {error.detail}")

    def _probe_responders(self, listing: _Listing, names: tuple[str, ...], findings: Findings) -> None:
        """Report unknown members of `slack.responders`: a misspelt name would let no user respond."""
        handles = self._list_handles() if any(name.startswith("@") for name in names) else frozenset[str]()
        for name in names:
            is_channel_known = name in listing.channels or bool(listing.reason)
            if name.startswith("@") and handles is None:
                what = f"slack.responders: whether there is {name} can't be told"
                findings.warning(what, "the scopes usergroups:read and users:read")
            elif (name.startswith("@") and lowercase_ascii(name[1:]) not in (handles or ())) or (
                name.startswith("#") and not is_channel_known
            ):
                findings.error(f"slack.responders: Slack shows no {name}", _RESPONDERS)
            else:
                findings.ok(f"{name} may answer in Slack")

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

    def _probe_channels(
        self, listing: _Listing, wanted: list[str], scopes: frozenset[str], findings: Findings
    ) -> None:
        if listing.reason:
            what = f"the channels are not tried: Slack says {listing.reason}"
            findings.warning(what, "the scopes channels:read and, for private ones, groups:read")
            return
        for name in wanted:
            channel = listing.channels.get(name)
            if channel is None and not listing.has_private:
                what = (
                    f"Slack shows no public channel {name}, and private ones only with the scope groups:read"
                )
                findings.warning(what)
            elif channel is None:
                what = f"Slack shows no channel {name}"
                findings.error(what, "a channel there, and for a private one the bot in it")
            elif channel.get("is_member") is False and not _may_post_anywhere(channel, scopes):
                what = f"the bot is not in {name}"
                findings.warning(what, "`/invite` it there, or the scope chat:write.public")
            else:
                findings.ok(f"Slack has {name}")

    def _list_channels(self) -> _Listing:
        """Return the channels that the bot can see, including private ones if its scopes allow."""
        listing = self._list_kinds("public_channel,private_channel")
        if listing.reason.startswith("missing_scope"):
            return replace(self._list_kinds("public_channel"), has_private=False)
        return listing

    def _list_kinds(self, kinds: str) -> _Listing:
        channels: dict[str, Json] = {}
        found: Json = {}
        for found, answer in self._fetch_pages("conversations.list", types=kinds, exclude_archived="true"):
            if not found.get("ok") or not isinstance(found.get("channels"), list):
                return _Listing(reason=_error(found, answer))
            for channel in as_objects(found["channels"]):
                channels |= {str(channel.get("id")): channel, f"#{channel.get('name')}": channel}
        if _next_cursor(found):
            return _Listing(reason=f"more than {MAX_PAGES * PAGE_SIZE} channels, too many to look through")
        return _Listing(channels)

    def _fetch_pages(self, method: str, **arguments: str) -> Iterator[tuple[Json, HttpResponse]]:
        cursor = ""
        for _ in range(MAX_PAGES):
            answer = self._call_api(method, **arguments, limit=PAGE_SIZE, cursor=cursor)
            found = as_object(answer.parse_json())
            yield found, answer
            cursor = _next_cursor(found)
            if not cursor:
                return

    def _call_api(self, method: str, **arguments: object) -> HttpResponse:
        query = urlencode({name: value for name, value in arguments.items() if value})
        path = f"/{method}" + (f"?{query}" if query else "")
        return send_request("GET", self._address, path, timeout_s=self._timeout_s)


def _list_handles_of(one: Json) -> set[str]:
    """Return the handles of a user group, or of a user who is not deactivated."""
    shown = as_object(one.get("profile")).get("display_name")
    names = (
        [] if one.get("deleted") else [one.get("handle"), one.get("name") if "profile" in one else "", shown]
    )
    return {lowercase_ascii(name) for name in names if isinstance(name, str) and name}


def _next_cursor(found: Json) -> str:
    return str(as_object(found.get("response_metadata")).get("next_cursor") or "")


def _list_routed_channels(routing: Routing) -> list[str]:
    """Return every channel that we may post to, each once; a direct message (D…) is in no list."""
    routes = routing.routes
    fallbacks = [
        route.fallback
        for route in routes
        if route.fallback not in routing.responders and is_channel(route.fallback)
    ]
    named = [*(route.channel for route in routes), *fallbacks, routing.notices_channel]
    return [name for name in dict.fromkeys(named) if name and not name.startswith("D")]


def _may_post_anywhere(channel: Json, scopes: frozenset[str]) -> bool:
    return "chat:write.public" in scopes and not channel.get("is_private")


def _scopes(answer: HttpResponse) -> frozenset[str]:
    """Return the token's scopes from Slack's header; empty if it is missing."""
    scopes = answer.headers.get("x-oauth-scopes", "").split(",")
    return frozenset(scope.strip() for scope in scopes if scope.strip())


def _error(found: Json, answer: HttpResponse) -> str:
    """Return Slack's error code."""
    word = one_line(str(found.get("error") or f"status {answer.status}"), 100)
    needed = one_line(str(found.get("needed") or ""), 100)
    return f"{word} (needed: {needed})" if needed else word


_JSON = "application/vnd.pagerduty+json;version=2"
_PAGE_SIZE = 100
_PAGES_AT_MOST = 20
_MAX_NAME = 80


class PagerDutyProbe:
    """Reads an account's configuration of the responders' services; sends no pages."""

    def __init__(self, url: str, token: Secret, timeout_s: float) -> None:
        self._address = BaseUrl(parse_base_url(url).url, f"Token token={token.reveal()}")
        self._timeout_s = timeout_s

    def run(self, responders: Mapping[str, Responder], findings: Findings) -> None:
        """Check the key, then whether the services of *responders* would notify a user."""
        answer = self._call_api("abilities", {}, findings)
        if answer is None:
            return
        if answer.status in (401, 403):
            findings.error("PagerDuty refuses pagerduty.api_token", "a REST API key that may read")
            return
        if not answer.is_ok:
            findings.error(f"PagerDuty's API answers with status {answer.status}", "200")
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
        """Report what is wrong with the services whose integrations have the keys of *names*."""
        services = list(self._list_objects("services", {"include[]": "integrations"}, findings))
        windows = [
            {**window, "is_ongoing": kind == "ongoing"}
            for kind in ("ongoing", "future")
            for window in self._list_objects("maintenance_windows", {"filter": kind}, findings)
        ]
        if not services:
            findings.warning("PagerDuty's API shows no service, so nothing is known of the responders'")
            return
        unknown = dict(names)
        for service in services:
            keys = [_text(each.get("integration_key")) for each in as_objects(service.get("integrations"))]
            mine = [unknown.pop(key) for key in keys if key in unknown]
            if mine:
                self._check_service(service, ", ".join(mine), windows, findings)
        for name in unknown.values():
            what = f"no PagerDuty service that the API token may see has the routing key of {name}"
            findings.warning(f"{what}: its service can't be looked at")

    def _check_service(self, service: Json, who: str, windows: list[Json], findings: Findings) -> None:
        name = one_line(_text(service.get("summary")) or _text(service.get("name")), _MAX_NAME)
        what = f"PagerDuty's service {name!r} of {who}"
        mine = [window for window in windows if _covers(window, _text(service.get("id")))]
        timeout_s = service.get("auto_resolve_timeout")
        is_muted = any(window["is_ongoing"] for window in mine) or service.get("status") == "maintenance"
        if service.get("status") == "disabled":
            findings.error(f"{what} is disabled: it accepts pages and opens no incident", "an enabled one")
        elif is_muted:
            until = next((_text(window.get("end_time")) for window in mine if window["is_ongoing"]), "")
            end = f" until {one_line(until, 40)}" if until else ""
            findings.warning(
                f"{what} is in a maintenance window{end}: it accepts pages and opens no incident"
            )
        for window in mine:
            if not window["is_ongoing"]:
                start = one_line(_text(window.get("start_time")), 40)
                findings.warning(
                    f"{what} will be in a maintenance window from {start}: it opens no incident then",
                )
        if isinstance(timeout_s, int) and timeout_s > 0:
            findings.warning(
                f"{what} resolves its incidents after {format_duration(timeout_s)} (auto_resolve_timeout): "
                'what fires longer is paged again, three times an hour at most; choose "Never" there',
            )
        if service.get("status") != "disabled" and not mine and not timeout_s:
            findings.ok(f"{what} is enabled, and resolves nothing by itself")

    def _list_objects(self, name: str, asked: Mapping[str, str], findings: Findings) -> Iterator[Json]:
        """Yield the objects of a list, page by page; unreadable pages are a warning."""
        for number in range(_PAGES_AT_MOST):
            more = {"limit": str(_PAGE_SIZE), "offset": str(number * _PAGE_SIZE)}
            answer = self._call_api(name, {**asked, **more}, findings)
            if answer is None:
                return
            body = answer.parse_json() if answer.is_ok else None
            if not isinstance(body, dict):
                words = name.replace("_", " ")
                findings.warning(f"PagerDuty's API does not tell {words} (status {answer.status})")
                return
            yield from as_objects(body.get(name))
            if body.get("more") is not True:
                return

    def _call_api(self, path: str, asked: Mapping[str, str], findings: Findings) -> HttpResponse | None:
        path = f"/{path}" + (f"?{urlencode(asked)}" if asked else "")
        try:
            return send_request("GET", self._address, path, accept=_JSON, timeout_s=self._timeout_s)
        except TemporaryDeliveryError as error:
            what = f"PagerDuty's API at {self._address} can't be asked: {error.detail}"
            findings.error(what, "an answer")
            return None


def _covers(window: Json, service_id: str) -> bool:
    return any(each.get("id") == service_id for each in as_objects(window.get("services")))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
