"""Permission check for Slack requests: full members of our workspace, limited by `slack.responders`.

The signature proves that Slack sent a request, but not that the user may act: in a shared channel, users of
other workspaces can click our buttons. The request has the user's workspace; `users.info` has the rest:
https://docs.slack.dev/reference/methods/users.info
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any

from msgspec import Struct

from receiver.cache import Cache
from receiver.errors import DeliveryError, PermanentDeliveryError
from receiver.http_client import as_object
from receiver.integrations.slack.client import SlackClient
from receiver.integrations.slack.directory import ChannelDirectory, UserDirectory, remaining_s
from receiver.integrations.slack.mrkdwn import is_user
from receiver.integrations.slack.requests import Request, is_read_only

# Slack waits 3 s for a response, and the store needs part of that.
_WAIT_S = 1.0
_KEEP_S = 600.0
_RETRY_S = 30.0
# The user is not in our workspace and shares no channel with it.
_UNKNOWN = ("user_not_found", "user_not_visible")
_PAGES = 20
_OURS = "ours"
OTHER_WORKSPACE = "You are not of the workspace that this receiver is installed in, so you can't answer here"
GUEST = "Guests of this workspace can't answer here"
NOT_LISTED = "You are not among those who may answer: slack.responders in routing.yaml says who may"
MEMBERS_UNKNOWN = (
    "Slack does not tell just now who may answer (slack.responders), so nothing was done. Try again, or use "
    "the receiver's page or its command line"
)


class _User(Struct, frozen=True):
    """The fields of `users.info` that decide on permission."""

    team: str = ""
    enterprise: str = ""
    is_guest: bool = False
    is_external: bool = False  # of another workspace, through a shared channel, or deleted


class SlackResponderCheck:
    """Checks whether the user of a request may act. Threads may share it; look-ups are cached for 10 min.

    *listed* are `@group`, `@user`, the ID of a user, or `#channel` for its members; if empty, every full
    member of our workspace may act. If `users.info` is not available, the workspace in the request decides.
    """

    def __init__(self, client: SlackClient, clock: Callable[[], float], listed: tuple[str, ...] = ()) -> None:
        self._client = client
        self._listed = listed
        self._user_directory = UserDirectory(client, clock)
        self._channel_directory = ChannelDirectory(client, clock)
        build = partial(Cache[Any], clock=clock, ttl_s=_KEEP_S, retry_s=_RETRY_S)
        self._teams: Cache[frozenset[str]] = build("auth.test", self._fetch_teams)
        self._users: Cache[_User] = build("users.info", self._fetch_user)
        self._members: Cache[frozenset[str]] = build("slack.responders", self._fetch_members)

    def find_refusal_reason(self, request: Request) -> str:
        """Return the message for the user why *request* is refused; empty if it is allowed. Never raises, and
        waits one second at most in total.
        """
        deadline = time.monotonic() + _WAIT_S
        teams = self._teams.find_value(_OURS, remaining_s(deadline))
        user = self._users.find_value(request.by.slack_id, remaining_s(deadline))
        ours = (teams.value if teams is not None else {request.origin_team}) - {""}
        known = user.value if user is not None else _User()
        team = known.team or request.team
        # The user counts as ours if our workspace or theirs is not known.
        is_other = bool(ours and team) and ours.isdisjoint({team, known.enterprise})
        if known.is_external or is_other:
            return OTHER_WORKSPACE
        return GUEST if known.is_guest else self._find_unlisted_reason(request, deadline)

    def _find_unlisted_reason(self, request: Request, deadline: float) -> str:
        if not self._listed or is_read_only(request):
            return ""
        user_id, is_known = request.by.slack_id, True
        for name in self._listed:
            if name == user_id:
                return ""
            if is_user(name):
                continue
            members = self._members.find_value(name, remaining_s(deadline))
            if members is None:
                is_known = False
            elif user_id in members.value:
                return ""
        return NOT_LISTED if is_known else MEMBERS_UNKNOWN

    def _fetch_teams(self, _: str) -> frozenset[str]:
        """Return the IDs of our workspace and of its Enterprise organization, if it has one."""
        response = self._client.post_json("auth.test", {})
        return frozenset(str(response.get(name) or "") for name in ("team_id", "enterprise_id"))

    def _fetch_user(self, user_id: str) -> _User:
        try:
            user = self._client.post_form("users.info", {"user": user_id}).get("user")
        except DeliveryError as error:
            if error.reason in _UNKNOWN:
                return _User(is_external=True)
            raise
        if not isinstance(user, dict):
            raise PermanentDeliveryError("no_user")
        organization = as_object(user.get("enterprise_user"))
        return _User(
            team=str(user.get("team_id") or ""),
            enterprise=str(organization.get("enterprise_id") or ""),
            is_guest=bool(user.get("is_restricted") or user.get("is_ultra_restricted")),
            is_external=bool(user.get("is_stranger") or user.get("deleted")),
        )

    def _fetch_members(self, name: str) -> frozenset[str]:
        """Return the user IDs for *name*, an entry of `slack.responders`; raises a DeliveryError."""
        if name.startswith("#"):
            channel = self._channel_directory.find_channel(name)
            if channel is None:
                raise PermanentDeliveryError("channel_not_found")
            query = {"channel": channel}
            pages = self._client.get_pages("conversations.members", query, at_most=_PAGES)
            return frozenset(chain.from_iterable(_parse_texts(page.get("members")) for page in pages))
        found = self._user_directory.find_handle_id(name)
        if not found:
            raise PermanentDeliveryError("handle_not_found")
        if is_user(found):
            return frozenset({found})
        group = self._client.post_form("usergroups.users.list", {"usergroup": found})
        return frozenset(_parse_texts(group.get("users")))


def _parse_texts(found: object) -> list[str]:
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []
