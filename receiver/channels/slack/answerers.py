"""Who may answer in Slack: people of our own workspace, and of those whom `slack.responders` names.

A signature tells that Slack sent a request, not whose it is: in a shared channel people of other workspaces
press our buttons, too. A request names the workspace its user is of, and `users.info` says the rest:
https://docs.slack.dev/reference/methods/users.info
"""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec import Struct

from receiver.channels.slack.address_book import AddressBook
from receiver.channels.slack.client import Client, next_cursor
from receiver.channels.slack.directory import Directory
from receiver.channels.slack.people import is_user
from receiver.domain.request import Request, is_reading
from receiver.errors import DeliveryError, PermanentDeliveryError
from receiver.recall import Recall

# Slack waits 3 s for an answer, and the store needs its time, too.
_WAIT_S = 1.0
_KEEP_S = 600.0
_RETRY_S = 30.0
# Not of our workspace, and nobody whom it shares a channel with.
_UNKNOWN = ("user_not_found", "user_not_visible")
_PAGES = 20
_PAGE_SIZE = 1000
_OURS = "ours"

ELSEWHERE = "You are not of the workspace that this receiver is installed in, so you can't answer here"
GUEST = "Guests of this workspace can't answer here"
UNLISTED = "You are not among those who may answer: slack.responders in routing.yaml says who may"
UNTOLD = (
    "Slack does not tell just now who may answer (slack.responders), so nothing was done. Try again, or use "
    "the receiver's page or its command line"
)


class _Team(Struct, frozen=True):
    """Our workspace, and the organization it is part of; empty where there is none."""

    id: str
    enterprise: str

    def has(self, team: str, enterprise: str) -> bool:
        """Tell whether a user of *team* is one of us, or a colleague in another workspace of ours."""
        ours = {self.id, self.enterprise} - {""}
        return not ours or not team or team in ours or enterprise in ours


class _User(Struct, frozen=True):
    """What Slack says of a user."""

    team: str = ""
    enterprise: str = ""
    is_guest: bool = False
    is_stranger: bool = False  # of another workspace, by a shared channel
    is_gone: bool = False


class Answerers:
    """Tells who may answer. Threads may share it; what Slack told is kept for ten minutes.

    *listed* are `@group`, `@user`, the ID of a user, or `#channel` for its members; with none, every full
    member of our workspace may. While Slack does not say who somebody is, the workspace in their request
    decides.
    """

    def __init__(
        self,
        client: Client,
        clock: Callable[[], float],
        listed: tuple[str, ...] = (),
        wait_s: float = _WAIT_S,
    ) -> None:
        self._client = client
        self._listed = listed
        self._wait_s = wait_s
        self._book = AddressBook(client, clock)
        self._directory = Directory(client, clock)
        self._team: Recall[_Team] = Recall(
            "auth.test", lambda _: self._ask_team(), clock, keep_s=_KEEP_S, retry_s=_RETRY_S
        )
        self._users: Recall[_User] = Recall(
            "users.info", self._ask_user, clock, keep_s=_KEEP_S, retry_s=_RETRY_S
        )
        self._members: Recall[frozenset[str]] = Recall(
            "slack.responders", self._ask_members, clock, keep_s=_KEEP_S, retry_s=_RETRY_S
        )

    def refuse(self, request: Request) -> str:
        """Return why *request* is not done, in a sentence; empty where it may be. Never raises, and waits for
        a second at most in all.
        """
        deadline = time.monotonic() + self._wait_s
        user_id = request.by.slack_id
        team = self._team.find(_OURS, _left(deadline))
        user = self._users.find(user_id, _left(deadline))
        ours = team.value if team is not None else _Team(request.place, "")
        known = user.value if user is not None else _User(request.team)
        if known.is_stranger or known.is_gone or not ours.has(known.team or request.team, known.enterprise):
            return ELSEWHERE
        return GUEST if known.is_guest else self._refuse_unlisted(request, deadline)

    def _refuse_unlisted(self, request: Request, deadline: float) -> str:
        if not self._listed or is_reading(request):
            return ""
        user_id, is_told = request.by.slack_id, True
        for name in self._listed:
            if name == user_id:
                return ""
            if is_user(name):
                continue
            members = self._members.find(name, _left(deadline))
            if members is None:
                is_told = False
            elif user_id in members.value:
                return ""
        return UNLISTED if is_told else UNTOLD

    def _ask_team(self) -> _Team:
        told = self._client.post("auth.test", {})
        return _Team(str(told.get("team_id") or ""), str(told.get("enterprise_id") or ""))

    def _ask_user(self, user_id: str) -> _User:
        try:
            user = self._client.get("users.info", {"user": user_id}).get("user")
        except DeliveryError as error:
            if error.reason in _UNKNOWN:
                return _User(is_stranger=True)
            raise
        if not isinstance(user, dict):
            raise PermanentDeliveryError("no_user")
        organization = user.get("enterprise_user")
        return _User(
            team=str(user.get("team_id") or ""),
            enterprise=str(organization.get("enterprise_id") or "") if isinstance(organization, dict) else "",
            is_guest=bool(user.get("is_restricted") or user.get("is_ultra_restricted")),
            is_stranger=bool(user.get("is_stranger")),
            is_gone=bool(user.get("deleted")),
        )

    def _ask_members(self, name: str) -> frozenset[str]:
        """Return the IDs of those whom a name of *listed* stands for; raises a DeliveryError."""
        if name.startswith("#"):
            channel = self._directory.find_channel(name)
            if channel is None:
                raise PermanentDeliveryError("channel_not_found")
            return frozenset(self._pages_of_members(channel))
        found = self._book.find_handle(name)
        if not found:
            raise PermanentDeliveryError("handle_not_found")
        if is_user(found):
            return frozenset({found})
        return frozenset(_texts(self._client.get("usergroups.users.list", {"usergroup": found}).get("users")))

    def _pages_of_members(self, channel: str) -> list[str]:
        members: list[str] = []
        cursor = ""
        for _ in range(_PAGES):
            asked = {"channel": channel, "limit": _PAGE_SIZE} | ({"cursor": cursor} if cursor else {})
            page = self._client.get("conversations.members", asked)
            members += _texts(page.get("members"))
            cursor = next_cursor(page)
            if not cursor:
                break
        return members


def _texts(found: object) -> list[str]:
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())
