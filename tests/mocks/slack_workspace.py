"""A Slack workspace as our app sees it: channels, messages, people, and what it refuses.

Responses are the dictionaries that Slack returns; there is no HTTP here. The behaviour follows
https://docs.slack.dev/reference/methods and the sources given beside the single rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.mocks import blockkit, views

TEAM_URL = "https://example.slack.com/"
CHANNELS = ("#alerts-critical", "#alerts-warning", "#alerts-info", "#monitoring")
MAX_TEXT = 40_000  # https://api.slack.com/changelog/2018-04-truncating-really-long-messages
_TOKEN = re.compile(r"<(!channel|!here|!everyone|!subteam\^[A-Z0-9]+|@[UW][A-Z0-9]+)(?:\|[^>]*)?>")
_NAME = re.compile(r"(?<![\w@])@([a-z0-9][\w.-]*)", re.IGNORECASE)

Arguments = dict[str, Any]
Answer = dict[str, Any]


@dataclass
class SlackMessage:
    """A message in its current version; *versions* are the texts before each edit."""

    channel: str
    channel_id: str
    ts: str
    text: str
    blocks: list[dict[str, Any]] = field(default_factory=list)
    metadata: dict[str, Any] | None = None
    thread_ts: str = ""
    makes_mentions: bool = False  # Slack was asked to turn names in the plain text into mentions
    versions: list[tuple[str, list[dict[str, Any]]]] = field(default_factory=list)

    @property
    def is_reply(self) -> bool:
        return bool(self.thread_ts)

    @property
    def reference(self) -> str:
        return f"{self.channel_id}:{self.ts}"

    @property
    def edits(self) -> int:
        return len(self.versions)

    @property
    def words(self) -> str:
        """The whole message, text and blocks, one piece per line."""
        return "\n".join([self.text, *_texts(self.blocks)])

    @property
    def buttons(self) -> dict[str, str]:
        """The values of its buttons by action_id."""
        elements = [e for b in self.blocks if b.get("type") == "actions" for e in b["elements"]]
        return {element["action_id"]: element.get("value", "") for element in elements}

    @property
    def pings(self) -> list[str]:
        """Whom it notifies: mention tokens in mrkdwn, and names if Slack turns names into mentions."""
        texts = [self.text, *_texts(self.blocks, only="mrkdwn")]
        found = [token for text in texts for token in _TOKEN.findall(text)]
        return found + (["@" + name for name in _NAME.findall(self.text)] if self.makes_mentions else [])


def _texts(thing: Any, only: str = "") -> Iterator[str]:
    if isinstance(thing, list):
        for each in thing:
            yield from _texts(each, only)
    elif isinstance(thing, dict):
        if isinstance(thing.get("text"), str) and only in ("", thing.get("type")):
            yield thing["text"]
        for value in thing.values():
            yield from _texts(value, only)


TEAM = "T0EXAMPLE"
# The people who click buttons and type commands in tests.
PEOPLE = {"alice": "U0ALICE1", "bob": "U0BOB001", "carol": "U0CAROL1"}


def a_user(user_id: str, name: str, email: str = "", **fields: Any) -> dict[str, Any]:
    """Return a full member of the workspace; *fields* override the defaults."""
    profile = {"email": email or f"{name}@example.org", "display_name": name, "real_name": name}
    return {"id": user_id, "team_id": TEAM, "name": name, "deleted": False, "profile": profile, **fields}


class Refused(Exception):
    """Slack's `ok: false`."""

    def __init__(self, error: str, messages: list[str] | None = None) -> None:
        super().__init__(error)
        self.answer: Answer = {"ok": False, "error": error}
        if messages:
            self.answer["response_metadata"] = {"messages": messages}


class Workspace:
    """The state of the workspace. It is not thread-safe: the server calls it from one thread at a time."""

    def __init__(self, channels: tuple[str, ...], clock: Callable[[], float]) -> None:
        self.clock = clock
        self.channels: dict[str, str] = {}
        self.archived: set[str] = set()
        self.threads_refused: dict[str, str] = {}  # the error by message reference or channel ID
        self.messages: list[SlackMessage] = []
        self.users: list[dict[str, Any]] = [a_user(user_id, name) for name, user_id in PEOPLE.items()]
        self.enterprise = ""  # the Enterprise Grid organization of the workspace
        self.members: dict[str, list[str]] = {}  # of channels and user groups, by their ID
        self.usergroups: list[dict[str, Any]] = []
        self.views: list[dict[str, Any]] = []
        self._last_us = 0
        for name in channels:
            self.add_channel(name)

    def add_channel(self, name: str, channel_id: str = "") -> str:
        """Return the ID of a new channel, derived from its name unless given."""
        name = name.lstrip("#")
        made_up = "C0" + re.sub(r"[^A-Z0-9]", "", name.upper()).ljust(8, "0")[:18]
        self.channels[name] = channel_id or made_up
        return self.channels[name]

    def call(self, method: str, arguments: Arguments) -> Answer:
        handler = getattr(self, "_" + method.replace(".", "_").lower(), None)
        if handler is None or "." not in method:
            raise Refused("unknown_method")
        answer: Answer = handler(arguments)
        return {"ok": True, **answer}

    def find(self, channel_id: str, ts: str) -> SlackMessage | None:
        return next((m for m in self.messages if (m.channel_id, m.ts) == (channel_id, ts)), None)

    # --- writing ---------------------------------------------------------------------------

    def _auth_test(self, _arguments: Arguments) -> Answer:
        return {
            "url": TEAM_URL,
            "team": "Example",
            "user": "receiver",
            "team_id": TEAM,
            **({"enterprise_id": self.enterprise} if self.enterprise else {}),
            "user_id": "U0RECEIVER",
            "bot_id": "B0RECEIVER",
        }

    def _chat_postmessage(self, arguments: Arguments) -> Answer:
        name, channel_id = self._channel(arguments, by_name=True)
        text, blocks = _content(arguments)
        warning = {"warning": "message_truncated"} if len(text) > MAX_TEXT else {}
        if not text and not blocks:
            raise Refused("no_text")
        thread_ts = str(arguments.get("thread_ts") or "")
        for place in (channel_id, f"{channel_id}:{thread_ts}"):
            if thread_ts and place in self.threads_refused:
                raise Refused(self.threads_refused[place])
        message = SlackMessage(
            channel=f"#{name}",
            channel_id=channel_id,
            ts=self._next_ts(),
            text=text[:MAX_TEXT],
            blocks=blocks or [],
            metadata=_metadata(arguments),
            thread_ts=thread_ts,
            makes_mentions=_is_true(arguments.get("link_names")) or arguments.get("parse") == "full",
        )
        self.messages.append(message)
        shown = {"text": message.text, "blocks": message.blocks, "type": "message", "ts": message.ts}
        return {"channel": channel_id, "ts": message.ts, "message": shown, **warning}

    def _chat_update(self, arguments: Arguments) -> Answer:
        """Blocks that are left out stay; an empty list removes them."""
        _, channel_id = self._channel(arguments, by_name=False)
        text, blocks = _content(arguments)
        if len(text) > MAX_TEXT:
            raise Refused("msg_too_long")
        if not text and not blocks:
            raise Refused("no_text")
        message = self.find(channel_id, str(arguments.get("ts") or ""))
        if message is None:
            raise Refused("message_not_found")
        message.versions.append((message.text, message.blocks))
        message.text = text
        message.blocks = message.blocks if blocks is None else blocks
        # Unlike a post, an edit turns plain names into mentions and links unless told not to.
        parse = arguments.get("parse") or "client"
        message.makes_mentions = _is_true(arguments.get("link_names")) or parse != "none"
        return {"channel": channel_id, "ts": message.ts, "text": text}

    def _views_open(self, arguments: Arguments) -> Answer:
        if not arguments.get("trigger_id"):
            raise Refused("invalid_arguments", ["[ERROR] missing required field: trigger_id"])
        asked = _parsed(arguments, "view", "invalid_arguments")
        if faults := views.check(asked):
            raise Refused("invalid_arguments", faults)
        view = {"id": f"V{len(self.views) + 1:08d}", **asked}
        self.views.append(view)
        return {"view": view}

    # --- reading ---------------------------------------------------------------------------

    def _conversations_list(self, arguments: Arguments) -> Answer:
        hides = _is_true(arguments.get("exclude_archived"))
        found = [
            {"id": channel_id, "name": name, "is_channel": True, "is_archived": name in self.archived}
            for name, channel_id in self.channels.items()
            if not (hides and name in self.archived)
        ]
        return _page("channels", found, arguments, 100)

    def _conversations_history(self, arguments: Arguments) -> Answer:
        _, channel_id = self._channel(arguments, by_name=False)
        oldest = float(arguments.get("oldest") or 0)
        found = [m for m in self.messages if m.channel_id == channel_id and not m.is_reply]
        found = [m for m in found if float(m.ts) > oldest]
        shown = [_shown(message, arguments) for message in reversed(found)]
        return {**_page("messages", shown, arguments, 100)}

    def _conversations_replies(self, arguments: Arguments) -> Answer:
        _, channel_id = self._channel(arguments, by_name=False)
        parent = self.find(channel_id, str(arguments.get("ts") or ""))
        if parent is None:
            raise Refused("thread_not_found")
        oldest = float(arguments.get("oldest") or 0)
        replies = [m for m in self.messages if (m.channel_id, m.thread_ts) == (channel_id, parent.ts)]
        found = [parent, *(m for m in replies if float(m.ts) > oldest)]
        return _page("messages", [_shown(message, arguments) for message in found], arguments, 1000)

    def _usergroups_list(self, _arguments: Arguments) -> Answer:
        return {"usergroups": self.usergroups}

    def _usergroups_users_list(self, arguments: Arguments) -> Answer:
        group = str(arguments.get("usergroup") or "")
        if not any(one["id"] == group for one in self.usergroups):
            raise Refused("no_such_subteam")
        return {"users": self.members.get(group, [])}

    def _conversations_members(self, arguments: Arguments) -> Answer:
        _, channel_id = self._channel(arguments, by_name=False)
        return _page("members", self.members.get(channel_id, []), arguments, 100)

    def _users_info(self, arguments: Arguments) -> Answer:
        for user in self.users:
            if user["id"] == arguments.get("user"):
                return {"user": user}
        raise Refused("user_not_found")

    def _users_list(self, arguments: Arguments) -> Answer:
        return _page("members", self.users, arguments, 1000)

    def _users_lookupbyemail(self, arguments: Arguments) -> Answer:
        for user in self.users:
            if user["profile"]["email"] == arguments.get("email"):
                return {"user": user}
        raise Refused("users_not_found")

    def _channel(self, arguments: Arguments, *, by_name: bool) -> tuple[str, str]:
        """Return name and ID of the requested channel; only posting accepts a name."""
        asked = str(arguments.get("channel") or "")
        for name, channel_id in self.channels.items():
            if asked == channel_id or (by_name and asked.lstrip("#") == name):
                if name in self.archived:
                    raise Refused("is_archived")
                return name, channel_id
        raise Refused("channel_not_found")

    def name_channel(self, asked: str) -> str:
        """Return the name of a channel given by name or ID."""
        return next((name for name, one in self.channels.items() if asked == one), asked.lstrip("#"))

    def _next_ts(self) -> str:
        self._last_us = max(int(self.clock() * 1_000_000), self._last_us + 1)
        return f"{self._last_us // 1_000_000}.{self._last_us % 1_000_000:06d}"


def _content(arguments: Arguments) -> tuple[str, list[dict[str, Any]] | None]:
    """Return text and blocks (None if left out); raise Refused as Slack refuses them."""
    text = arguments.get("text") or ""
    if not isinstance(text, str):
        raise Refused("invalid_arguments", ["[ERROR] must provide a string [json-pointer:/text]"])
    if arguments.get("blocks") is None:
        return text, None
    blocks = _parsed(arguments, "blocks", "invalid_blocks_format")
    if faults := blockkit.check(blocks):
        raise Refused("invalid_blocks", faults)
    if blockkit.is_too_long(blocks):
        raise Refused("msg_blocks_too_long")
    return text, blocks


def _metadata(arguments: Arguments) -> dict[str, Any] | None:
    if arguments.get("metadata") is None:
        return None
    metadata = _parsed(arguments, "metadata", "invalid_metadata_format")
    is_good = isinstance(metadata, dict) and isinstance(metadata.get("event_type"), str)
    if not is_good or not isinstance(metadata.get("event_payload"), dict):
        raise Refused("invalid_metadata_format")
    return dict(metadata)


def _parsed(arguments: Arguments, name: str, error: str) -> Any:
    value = arguments.get(name)
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise Refused(error) from None


def _shown(message: SlackMessage, arguments: Arguments) -> dict[str, Any]:
    """Return the message as history returns it; the metadata's payload only on request."""
    shown: dict[str, Any] = {"type": "message", "ts": message.ts, "text": message.text}
    shown["blocks"] = message.blocks
    if message.thread_ts:
        shown["thread_ts"] = message.thread_ts
    if message.metadata is not None:
        is_all = _is_true(arguments.get("include_all_metadata"))
        shown["metadata"] = message.metadata if is_all else {"event_type": message.metadata["event_type"]}
    return shown


def _page(name: str, found: list[dict[str, Any]], arguments: Arguments, size: int) -> Answer:
    start = int(arguments.get("cursor") or 0)
    end = start + int(arguments.get("limit") or size)
    cursor = str(end) if end < len(found) else ""
    return {name: found[start:end], "has_more": bool(cursor), "response_metadata": {"next_cursor": cursor}}


def _is_true(value: Any) -> bool:
    return str(value).lower() in ("1", "true")
