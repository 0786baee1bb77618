"""Messages of no single incident (reviews, storms, notices): posted, found again after a crash, edited."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from msgspec.structs import replace
from slack_sdk.errors import SlackObjectFormationError

from receiver import clock as real_clock
from receiver.channels.slack.aside import (
    FOUND_OUTSIDE_THREAD,
    format_outside_thread_note,
    is_thread_refusal,
    render_outside_thread,
)
from receiver.channels.slack.client import SlackClient
from receiver.channels.slack.directory import ChannelDirectory
from receiver.channels.slack.errors import FORMAT_ERRORS
from receiver.channels.slack.history import find_ts
from receiver.channels.slack.message import FormattingLevel, Message
from receiver.channels.slack.references import Reference, parse_reference, permalink
from receiver.errors import DeliveryError, PermanentDeliveryError, RefusalKind, TemporaryDeliveryError
from receiver.model.delivery import Receipt
from receiver.text import one_line

Record = Callable[[Mapping[str, object]], None]
Render = Callable[[FormattingLevel], Message]

_LOG = logging.getLogger(__name__)
# Clocks of ours and Slack's differ; looking back too far finds nothing wrong, as marks are exact.
_CLOCK_SLACK_S = 60.0


@dataclass(frozen=True)
class MessageMetadata:
    """What one message is known by, in its metadata and to us: whose it is, and which of theirs."""

    kind: str
    id: str
    key: str
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def slack_metadata(self) -> dict[str, Any]:
        return {"event_type": self.kind, "event_payload": {self.kind: self.id, **self.extra}}


class MessagePoster(Protocol):
    """Sends once for each call, and never sleeps. A *thread* is the reference of the message it hangs on."""

    def post_message(
        self, metadata: MessageMetadata, channel: str, render: Render, thread: str = ""
    ) -> Receipt: ...
    def edit_message(
        self, metadata: MessageMetadata, channel: str, render: Render, message: str
    ) -> Receipt: ...
    def find_receipt(
        self, metadata: MessageMetadata, channel: str, since: float, thread: str = ""
    ) -> Receipt | None: ...


class SlackPoster:
    """Posts to Slack. Threads may share one."""

    def __init__(self, client: SlackClient, clock: Callable[[], float] = real_clock.now) -> None:
        self._client = client
        self._channel_directory = ChannelDirectory(client, clock)
        self._clock = clock

    def post_message(
        self, metadata: MessageMetadata, channel: str, render: Render, thread: str = ""
    ) -> Receipt:
        """Post a message, or a reply in *thread*; return the receipt with the reference `CHANNEL:TS`.

        Formatting that Slack refuses is given up within this one call, and a reply that its thread refuses
        is posted in the channel; the receipt's note says so. Raises a DeliveryError for anything else.
        """
        where: dict[str, Any] = {
            "channel": channel,
            "metadata": metadata.slack_metadata,
            "unfurl_links": False,
            "unfurl_media": False,
        }
        if not thread:
            receipt, reference = self._send_formatted("chat.postMessage", where, metadata, render)
            self._channel_directory.remember_channel(channel, reference.channel)
            return receipt
        root = _require_reference(thread)
        where["channel"] = root.channel
        try:
            return self._send_formatted(
                "chat.postMessage", {**where, "thread_ts": root.ts}, metadata, render, root.ts
            )[0]
        except PermanentDeliveryError as error:
            if not is_thread_refusal(error):
                raise
            _log_warning("slack's thread takes no reply", metadata, error)
            note = format_outside_thread_note(error)
        url = permalink(self._channel_directory.find_team_url(), root)

        def render_in_channel(level: FormattingLevel) -> Message:
            return render_outside_thread(render(level), url, "this message")

        receipt, _ = self._send_formatted("chat.postMessage", where, metadata, render_in_channel)
        return replace(receipt, note="; ".join(filter(None, (note, receipt.note))))

    def edit_message(self, metadata: MessageMetadata, channel: str, render: Render, message: str) -> Receipt:
        """Bring *message* up to what is so now; twice is harmless. Raises a DeliveryError."""
        del channel  # Poster's
        reference = _require_reference(message)
        where = {"channel": reference.channel, "ts": reference.ts}
        return self._send_formatted("chat.update", where, metadata, render)[0]

    def find_receipt(
        self, metadata: MessageMetadata, channel: str, since: float, thread: str = ""
    ) -> Receipt | None:
        """Return the receipt of a post tried since *since* that did arrive.

        None also where Slack won't tell: then it is sent again.
        """
        oldest = f"{since - _CLOCK_SLACK_S:.6f}"
        root = parse_reference(thread)
        try:
            if root is not None and (ts := self._find_reply(metadata, root, oldest)):
                return self._build_receipt({"channel": root.channel, "ts": ts}, thread_ts=root.ts)[0]
            channel_id = root.channel if root is not None else self._channel_directory.find_channel(channel)
            if channel_id is None:
                return None
            ts = self._search_messages(
                "conversations.history", metadata, {"channel": channel_id, "oldest": oldest}
            )
        except DeliveryError as error:
            _log_warning("slack could not be searched", metadata, error)
            return None
        note = FOUND_OUTSIDE_THREAD if thread else ""
        return self._build_receipt({"channel": channel_id, "ts": ts}, note)[0] if ts else None

    def _find_reply(self, metadata: MessageMetadata, root: Reference, oldest: str) -> str | None:
        where = {"channel": root.channel, "ts": root.ts, "oldest": oldest}
        try:
            return self._search_messages("conversations.replies", metadata, where)
        except PermanentDeliveryError as error:
            if not is_thread_refusal(error):
                raise
            return None

    def _search_messages(
        self, method: str, metadata: MessageMetadata, where: Mapping[str, Any]
    ) -> str | None:
        return find_ts(
            self._client, method, where, lambda found: found.get("metadata") == metadata.slack_metadata
        )

    def _send_formatted(
        self,
        method: str,
        where: Mapping[str, Any],
        metadata: MessageMetadata,
        render: Render,
        thread_ts: str = "",
    ) -> tuple[Receipt, Reference]:
        for level in (FormattingLevel.FULL, FormattingLevel.PLAIN):
            try:
                content = _render_content(render(level), is_edit=method == "chat.update")
                response = self._client.post(method, {**where, **content})
            except (PermanentDeliveryError, SlackObjectFormationError) as error:
                if isinstance(error, DeliveryError) and error.reason not in FORMAT_ERRORS:
                    raise
                _log_warning("slack refused the formatting", metadata, error)
            else:
                note = "" if level is FormattingLevel.FULL else "Slack refused the formatting: sent as plain"
                return self._build_receipt(response, note, thread_ts)
        raise PermanentDeliveryError("invalid_blocks")

    def _build_receipt(
        self, response: Mapping[str, Any], note: str = "", thread_ts: str = ""
    ) -> tuple[Receipt, Reference]:
        at = self._clock()
        reference = parse_reference(f"{response.get('channel')}:{response.get('ts')}")
        if reference is None:
            raise TemporaryDeliveryError("odd_answer", "no channel or ts", maybe_sent=True)
        link = permalink(self._channel_directory.find_team_url(), reference, thread_ts)
        return Receipt(at, str(reference), link=link, note=note), reference


class SimulatedPoster:
    """Stands in for SlackPoster without a token: what would have been sent is handed to a recorder."""

    def __init__(self, record: Record, clock: Callable[[], float] = real_clock.now) -> None:
        self._record = record
        self._clock = clock

    def post_message(
        self, metadata: MessageMetadata, channel: str, render: Render, thread: str = ""
    ) -> Receipt:
        """Record what Slack would have been sent."""
        name = f"{metadata.kind}:{metadata.id}:{metadata.key}"
        action = "reply" if thread else "post"
        return self._record_message(
            metadata, channel, render, action=action, message=f"simulated:{name}", thread=thread
        )

    def edit_message(self, metadata: MessageMetadata, channel: str, render: Render, message: str) -> Receipt:
        """Record the edit; it keeps the message's reference."""
        return self._record_message(metadata, channel, render, action="update", message=message)

    def find_receipt(
        self, metadata: MessageMetadata, channel: str, since: float, thread: str = ""
    ) -> Receipt | None:
        """Return None: what was recorded twice does no harm."""
        del metadata, channel, since, thread  # Poster's
        return None

    def _record_message(
        self,
        metadata: MessageMetadata,
        channel: str,
        render: Render,
        *,
        action: str,
        message: str,
        thread: str = "",
    ) -> Receipt:
        at, rendered = self._clock(), render(FormattingLevel.FULL)
        self._record(
            {
                "at": at,
                "incident": "",
                metadata.kind: metadata.id,
                "to": f"slack:{channel}",
                "key": metadata.key,
                "action": action,
                "channel": channel,
                "thread": thread,
                "message": message,
                "text": rendered.text,
                "blocks": list(rendered.blocks),
            }
        )
        return Receipt(at, message, is_simulated=True)


def _require_reference(text: str) -> Reference:
    """Return the message to edit or reply to; one that was only simulated is none in Slack."""
    reference = parse_reference(text)
    if reference is None:
        raise PermanentDeliveryError(
            "message_not_found", "the reference is none of Slack's", kind=RefusalKind.MESSAGE_GONE
        )
    return reference


def _render_content(message: Message, *, is_edit: bool) -> dict[str, Any]:
    """Return the words as Slack takes them: it makes no links and mentions of its own of them.

    In an edit an empty list of blocks takes away those of before.
    """
    content: dict[str, Any] = {"text": message.text, "parse": "none"}
    if message.links_names:
        content["link_names"] = True
    return {**content, "blocks": list(message.blocks)} if message.blocks or is_edit else content


def _log_warning(event: str, metadata: MessageMetadata, error: Exception) -> None:
    fields: dict[str, object] = {metadata.kind: metadata.id, "error": one_line(str(error), 500)}
    _LOG.warning(event, extra={"fields": fields})
