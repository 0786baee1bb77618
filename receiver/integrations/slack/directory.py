"""Cached look-ups in the Slack workspace: its URL, channel IDs, IDs of users and user groups."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

from msgspec.structs import replace as change

from receiver.cache import Cache
from receiver.engine.notification import IncidentNotification, Notification
from receiver.errors import DeliveryError, PermanentDeliveryError
from receiver.http_client import as_object, as_objects
from receiver.integrations.slack.client import SlackClient, is_channel_id
from receiver.model.actions import FallbackMention, Reply
from receiver.model.incident import OnCallPerson
from receiver.model.routing import SLACK, Responder
from receiver.text import lowercase_ascii

# A workspace may have ten thousand channels; a search after a crash must not take minutes.
_CHANNEL_PAGES = 3
_RETRY_AFTER_S = 300.0


class ChannelDirectory:
    """Channel IDs by name, and the URL of the workspace; both are kept once known. Threads may share it."""

    def __init__(self, client: SlackClient, clock: Callable[[], float]) -> None:
        self._client = client
        self._channels: dict[str, str] = {}
        self._team_url = Cache(
            "auth.test", lambda _: self._fetch_team_url(), clock, ttl_s=math.inf, retry_s=_RETRY_AFTER_S
        )

    def remember_channel(self, address: str, channel_id: str) -> None:
        """Remember *channel_id*, which Slack returned for the channel *address*."""
        self._channels[address.lstrip("#")] = channel_id

    def find_channel(self, address: str) -> str | None:
        """Return the ID of the channel *address* (name or ID); None if not found. Raises a DeliveryError."""
        name = address.lstrip("#")
        if is_channel_id(name):
            return name
        if name not in self._channels:
            self._fetch_channels(name)
        return self._channels.get(name)

    def _fetch_channels(self, name: str) -> None:
        query = {"types": "public_channel,private_channel", "exclude_archived": True}
        for page in self._client.get_pages("conversations.list", query, at_most=_CHANNEL_PAGES):
            for channel in as_objects(page.get("channels")):
                self.remember_channel(str(channel.get("name", "")), str(channel.get("id", "")))
            if name in self._channels:
                return

    def find_team_url(self) -> str:
        """Return the URL of the workspace; empty if the request failed (retried after five minutes)."""
        try:
            return self._team_url.get_value()
        except DeliveryError:
            return ""

    def _fetch_team_url(self) -> str:
        url = str(self._client.post_json("auth.test", {}).get("url") or "")
        if not url:
            raise PermanentDeliveryError("no_url")
        return url


# A page must not wait long for the look-up of a mention.
_WAIT_S = 2.0
_KEEP_S = 600.0
_RETRY_S = 60.0
# users.list: https://docs.slack.dev/reference/methods/users.list
_PAGES = 20
_ALL = "everybody"
_UNKNOWN = ("users_not_found", "user_not_found")
Ids = dict[str, str]


class UserDirectory:
    """IDs of users and user groups, cached for ten minutes. Threads may share it."""

    def __init__(self, client: SlackClient, clock: Callable[[], float]) -> None:
        self._client = client
        build = partial(Cache[Any], clock=clock, ttl_s=_KEEP_S, retry_s=_RETRY_S)
        self._groups: Cache[Ids] = build("usergroups.list", self._fetch_groups)
        self._users: Cache[Ids] = build("users.list", self._fetch_users)
        self._emails: Cache[str] = build("users.lookupByEmail", self._fetch_id_by_email)

    def resolve_mentions(self, notification: Notification) -> Notification:
        """Return *notification* with Slack IDs for the handles and people that its reply mentions.

        Never raises, and waits two seconds at most in total; what is not found by then stays a name.
        """
        action = notification.action
        if not isinstance(action, Reply | FallbackMention):
            return notification
        deadline = time.monotonic() + _WAIT_S
        if isinstance(notification, IncidentNotification):
            on_call = tuple(self._resolve_person(person, deadline) for person in notification.on_call)
            notification = replace(notification, on_call=on_call)
        if action.step is None:
            return notification
        responder = self._resolve_responder(action.step.responder, deadline)
        return replace(notification, action=change(action, step=replace(action.step, responder=responder)))

    def _resolve_responder(self, responder: Responder, deadline: float) -> Responder:
        targets = (
            replace(target, address=self.find_handle_id(target.address, deadline) or target.address)
            if target.kind == SLACK and target.address.startswith("@")
            else target
            for target in responder.targets
        )
        return replace(responder, targets=tuple(targets))

    def _resolve_person(self, person: OnCallPerson, deadline: float) -> OnCallPerson:
        if not person.email or person.slack_id:
            return person
        cached = self._emails.find_value(person.email, remaining_s(deadline))
        return change(person, slack_id=cached.value) if cached is not None else person

    def find_handle_id(self, handle: str, deadline: float | None = None) -> str:
        """Return the ID of the user group, else of the user, with this *handle*; empty if not found by
        *deadline*, else within two seconds.
        """
        name = lowercase_ascii(handle.removeprefix("@"))
        deadline = time.monotonic() + _WAIT_S if deadline is None else deadline
        for ids in (self._groups, self._users):
            cached = ids.find_value(_ALL, remaining_s(deadline))
            if cached is not None and name in cached.value:
                return cached.value[name]
        return ""

    def _fetch_groups(self, _: str) -> Ids:
        groups = as_objects(self._client.post_form("usergroups.list", {}).get("usergroups"))
        found = {lowercase_ascii(str(group.get("handle", ""))): str(group.get("id", "")) for group in groups}
        return {handle: group_id for handle, group_id in found.items() if handle and group_id}

    def _fetch_users(self, _: str) -> Ids:
        """Return user IDs by user name, which is unique, and by display name.

        A display name that several users share is left out.
        """
        pages = self._client.get_pages("users.list", {}, at_most=_PAGES)
        members = chain.from_iterable(as_objects(page.get("members")) for page in pages)
        users = [user for user in members if not user.get("deleted") and user.get("id")]
        ids = {lowercase_ascii(str(user.get("name") or "")): str(user["id"]) for user in users}
        profiles = [as_object(user.get("profile")) for user in users]
        names = [lowercase_ascii(str(profile.get("display_name") or "")) for profile in profiles]
        times = Counter(names)
        unique = {name: str(user["id"]) for name, user in zip(names, users, strict=True) if times[name] == 1}
        return {name: user_id for name, user_id in (unique | ids).items() if name}

    def _fetch_id_by_email(self, email: str) -> str:
        """Return the ID of the user with that e-mail address; empty if there is none."""
        try:
            user = self._client.post_form("users.lookupByEmail", {"email": email}).get("user")
        except DeliveryError as error:
            if error.reason in _UNKNOWN:
                return ""
            raise
        return "" if as_object(user).get("deleted") else str(as_object(user).get("id") or "")


def remaining_s(deadline: float) -> float:
    """Return the seconds until *deadline*, a time of the monotonic clock; 0 after it."""
    return max(0.0, deadline - time.monotonic())
