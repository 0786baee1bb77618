"""What `receiver check --online` asks Slack: whether the token is good, and the channels are there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from receiver.cli.calls import JsonResponse, NoResponse, bearer_header, send_request, strip_login
from receiver.cli.findings import Findings
from receiver.config.model import Routing
from receiver.config.readers import is_channel
from receiver.text import Secret, lowercase_ascii, one_line

Json = dict[str, Any]

# Slack gives at most 1000 at once, and takes some twenty requests a minute:
# https://docs.slack.dev/reference/methods/conversations.list
PAGE_SIZE = 1000
MAX_PAGES = 15
_RESPONDERS = "a user group, a user or a channel of this workspace"


@dataclass(frozen=True)
class _Listing:
    """Channels by their ID and by their `#name`; none where there is a *reason* why not."""

    channels: dict[str, Json] = field(default_factory=dict)
    reason: str = ""
    has_private: bool = True


class SlackProbe:
    """Asks Slack with one token; *file* is where a fault is put."""

    def __init__(self, base_url: str, token: Secret, file: str, timeout_s: float) -> None:
        self._base_url = base_url
        self._token = token
        self._file = file
        self._timeout_s = timeout_s

    def run(self, routing: Routing, findings: Findings) -> None:
        """Note whether the token is taken, and then what is wrong with the channels that *routing* names."""
        try:
            answer = self._call_api("auth.test")
        except NoResponse as error:
            findings.error(self._file, f"Slack at {strip_login(self._base_url)}: {error}", "an answer")
            return
        found = _read(answer)
        if "ok" not in found:
            what = f"what answers at {strip_login(self._base_url)} (status {answer.status}) is not Slack"
            findings.error(self._file, what, "Slack's API, see SLACK_API_URL")
            return
        if not found["ok"]:
            findings.error(self._file, f"Slack refuses slack.token: {_error(found, answer)}", "a bot's token")
            return
        scopes = _scopes(answer)
        if scopes and "chat:write" not in scopes:
            findings.error(self._file, "slack.token lacks the scope chat:write", "a bot that may post")
        who, where = (one_line(str(found.get(key, "?")), 60) for key in ("user", "team"))
        findings.ok(f"Slack takes the token: {who} in {where}")
        try:
            listing = self._list_channels()
            self._probe_channels(listing, _list_routed_channels(routing), scopes, findings)
            self._probe_responders(listing, routing.slack_responders, findings)
        except NoResponse as error:
            findings.warning(self._file, f"Slack's channels and people could not be listed: {error}")

    def _probe_responders(self, listing: _Listing, names: tuple[str, ...], findings: Findings) -> None:
        """Note who of `slack.responders` Slack does not know: a name that is misspelt lets nobody answer."""
        handles = self._list_handles() if any(name.startswith("@") for name in names) else frozenset[str]()
        for name in names:
            is_channel_known = name in listing.channels or bool(listing.reason)
            if name.startswith("@") and handles is None:
                what = f"slack.responders: whether there is {name} can't be told"
                findings.warning(self._file, what, "the scopes usergroups:read and users:read")
            elif (name.startswith("@") and lowercase_ascii(name[1:]) not in (handles or ())) or (
                name.startswith("#") and not is_channel_known
            ):
                findings.error(self._file, f"slack.responders: Slack shows no {name}", _RESPONDERS)
            else:
                findings.ok(f"{name} may answer in Slack")

    def _list_handles(self) -> frozenset[str] | None:
        """Return the handles of all user groups and users; None where Slack does not list them."""
        handles: set[str] = set()
        for method, kind in (("usergroups.list", "usergroups"), ("users.list", "members")):
            cursor = ""
            for _ in range(MAX_PAGES):
                found = _read(self._call_api(method, limit=PAGE_SIZE, cursor=cursor))
                if not found.get("ok"):
                    return None
                people = found.get(kind)
                for one in people if isinstance(people, list) else []:
                    handles |= _list_handles_of(one) if isinstance(one, dict) else set()
                cursor = _next_cursor(found)
                if not cursor:
                    break
        return frozenset(handles)

    def _probe_channels(
        self, listing: _Listing, wanted: list[str], scopes: frozenset[str], findings: Findings
    ) -> None:
        if listing.reason:
            what = f"the channels are not tried: Slack says {listing.reason}"
            findings.warning(self._file, what, "the scopes channels:read and, for private ones, groups:read")
            return
        for name in wanted:
            channel = listing.channels.get(name)
            if channel is None and not listing.has_private:
                what = (
                    f"Slack shows no public channel {name}, and private ones only with the scope groups:read"
                )
                findings.warning(self._file, what)
            elif channel is None:
                what = f"Slack shows no channel {name}"
                findings.error(self._file, what, "a channel there, and for a private one the bot in it")
            elif channel.get("is_member") is False and not _may_post_anywhere(channel, scopes):
                what = f"the bot is not in {name}"
                findings.warning(self._file, what, "`/invite` it there, or the scope chat:write.public")
            else:
                findings.ok(f"Slack has {name}")

    def _list_channels(self) -> _Listing:
        """Return the channels that the bot can see, the private ones too where it may."""
        listing = self._list_kinds("public_channel,private_channel")
        if listing.reason.startswith("missing_scope"):
            return replace(self._list_kinds("public_channel"), has_private=False)
        return listing

    def _list_kinds(self, kinds: str) -> _Listing:
        channels: dict[str, Json] = {}
        cursor = ""
        for _ in range(MAX_PAGES):
            answer = self._call_api(
                "conversations.list", types=kinds, limit=PAGE_SIZE, exclude_archived="true", cursor=cursor
            )
            found = _read(answer)
            page = found.get("channels")
            if not found.get("ok") or not isinstance(page, list):
                return _Listing(reason=_error(found, answer))
            for channel in page:
                if isinstance(channel, dict):
                    channels |= {str(channel.get("id")): channel, f"#{channel.get('name')}": channel}
            cursor = _next_cursor(found)
            if not cursor:
                return _Listing(channels)
        return _Listing(reason=f"more than {MAX_PAGES * PAGE_SIZE} channels, too many to look through")

    def _call_api(self, method: str, **arguments: object) -> JsonResponse:
        query = urlencode({name: value for name, value in arguments.items() if value})
        url = f"{self._base_url}{method}" + (f"?{query}" if query else "")
        return send_request(
            "GET", url, authorization=bearer_header(self._token.reveal()), timeout_s=self._timeout_s
        )


def _list_handles_of(one: Json) -> set[str]:
    """Return by which handles a user group, or a user who is still there, goes."""
    profile = one.get("profile")
    shown = profile.get("display_name") if isinstance(profile, dict) else ""
    names = (
        [] if one.get("deleted") else [one.get("handle"), one.get("name") if "profile" in one else "", shown]
    )
    return {lowercase_ascii(name) for name in names if isinstance(name, str) and name}


def _next_cursor(found: Json) -> str:
    more = found.get("response_metadata")
    return str(more.get("next_cursor") or "") if isinstance(more, dict) else ""


def _list_routed_channels(routing: Routing) -> list[str]:
    """Return every channel that may be posted to, each once; a direct message (D…) is in no list."""
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


def _scopes(answer: JsonResponse) -> frozenset[str]:
    """Return what the token may do, as Slack says in a header; empty where it doesn't say."""
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return frozenset(scope.strip() for scope in headers.get("x-oauth-scopes", "").split(",") if scope.strip())


def _read(answer: JsonResponse) -> Json:
    found = answer.parse_json()
    return found if isinstance(found, dict) else {}


def _error(found: Json, answer: JsonResponse) -> str:
    """Return Slack's own word for what is wrong."""
    word = one_line(str(found.get("error") or f"status {answer.status}"), 100)
    needed = one_line(str(found.get("needed") or ""), 100)
    return f"{word} (needed: {needed})" if needed else word
