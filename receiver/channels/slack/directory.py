"""What we learn of the workspace along the way: its address, its channels' IDs."""

from __future__ import annotations

from collections.abc import Callable

from receiver.channels.slack.client import SlackClient, list_objects, next_cursor
from receiver.channels.slack.references import is_channel_id
from receiver.errors import DeliveryError

# A workspace may have ten thousand channels; a look-up after a crash must not take minutes.
_PAGES = 3
_PAGE_SIZE = 1000
_RETRY_AFTER_S = 300.0


class ChannelDirectory:
    """Channel IDs by name and the team's address, each asked for once. Threads may share it."""

    def __init__(self, client: SlackClient, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._channels: dict[str, str] = {}
        self._team_url = ""
        self._requested_at = 0.0

    def remember_channel(self, address: str, channel_id: str) -> None:
        """Remember the ID that Slack answered with for *address*."""
        self._channels[address.lstrip("#")] = channel_id

    def find_channel(self, address: str) -> str | None:
        """Return the ID of the channel at *address*; None where that can't be told."""
        name = address.lstrip("#")
        if is_channel_id(name):
            return name
        if name not in self._channels:
            self._fetch_channels(name)
        return self._channels.get(name)

    def _fetch_channels(self, name: str) -> None:
        cursor = ""
        for _ in range(_PAGES):
            page = self._client.get("conversations.list", _list_arguments(cursor))
            for channel in list_objects(page, "channels"):
                self.remember_channel(str(channel.get("name", "")), str(channel.get("id", "")))
            cursor = next_cursor(page)
            if name in self._channels or not cursor:
                return

    def find_team_url(self) -> str:
        """Return the workspace's address; empty while Slack won't tell, and then asked again later."""
        now = self._clock()
        # abs: a clock that was set back must not stop the asking.
        if not self._team_url and abs(now - self._requested_at) >= _RETRY_AFTER_S:
            self._requested_at = now
            try:
                self._team_url = str(self._client.post("auth.test", {}).get("url") or "")
            except DeliveryError:
                return ""
        return self._team_url


def _list_arguments(cursor: str) -> dict[str, str | int | bool]:
    arguments: dict[str, str | int | bool] = {
        "limit": _PAGE_SIZE,
        "types": "public_channel,private_channel",
        "exclude_archived": True,
    }
    return {**arguments, "cursor": cursor} if cursor else arguments
