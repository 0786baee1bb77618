"""A reply whose thread takes none: it is said as a message of its own in the channel."""

from __future__ import annotations

from receiver.channels.slack.blocks import section
from receiver.channels.slack.message import MAX_TEXT, Message
from receiver.channels.slack.mrkdwn import cut_escaped, disable_mentions, escape_line, link
from receiver.errors import PermanentDeliveryError, RefusalKind

# The note of a receipt that was found after a crash: for which reason it was is not known any more.
FOUND_OUTSIDE_THREAD = "The thread takes no reply: said in the channel"
_MAX_NAME = 100
# A reply to a message that is gone has no thread either.
_NO_THREAD = (RefusalKind.THREAD, RefusalKind.MESSAGE_GONE)


def is_thread_refusal(error: Exception) -> bool:
    """Tell whether a reply was refused for its thread's sake: the channel may take it."""
    return isinstance(error, PermanentDeliveryError) and error.kind in _NO_THREAD


def render_outside_thread(reply: Message, url: str, name: str) -> Message:
    """Return what the *reply* is in the channel: the same, and to which message it belongs.

    *url* leads to that message, empty where it is not known; *name* comes from strangers.
    """
    tail = (
        f"↪️ In place of a reply to {link(url, disable_mentions(escape_line(name, _MAX_NAME))) or 'a message'}"
    )
    text = f"{cut_escaped(reply.text, MAX_TEXT - len(tail) - 1)}\n{tail}"
    blocks = (*reply.blocks, section(tail)) if reply.blocks else ()
    return Message(text, blocks, reply.links_names)


def format_outside_thread_note(error: Exception) -> str:
    """Return the note for the receipt of a reply that was said in the channel."""
    reason = error.reason if isinstance(error, PermanentDeliveryError) else type(error).__name__
    return f"The thread takes no reply ({reason}): said in the channel"
