"""Looking for a message of ours among a channel's latest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from receiver.channels.slack.client import SlackClient, list_objects, next_cursor

# Few messages come between an attempt and the look for it.
_PAGES = 3
_PAGE_SIZE = 200


def find_ts(
    client: SlackClient, method: str, arguments: Mapping[str, Any], is_ours: Callable[[dict[str, Any]], bool]
) -> str | None:
    """Return the ts of the first message that *is_ours*, None if there is none; raises a DeliveryError.

    *method* is one that gives pages of `messages`.
    """
    query = {**arguments, "limit": _PAGE_SIZE, "include_all_metadata": True}
    for _ in range(_PAGES):
        page = client.get(method, query)
        found = next((message for message in list_objects(page, "messages") if is_ours(message)), None)
        if found is not None:
            return str(found.get("ts"))
        query["cursor"] = next_cursor(page)
        if not query["cursor"]:
            return None
    return None
