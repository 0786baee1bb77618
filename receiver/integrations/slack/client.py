"""Client of Slack's Web API (no retries, no sleeps, only DeliveryErrors); references and permalinks."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from slack_sdk import WebClient
from slack_sdk.webhook import WebhookClient

from receiver.errors import PermanentDeliveryError, TemporaryDeliveryError
from receiver.http_client import get_tls_context
from receiver.integrations.slack.errors import slack_errors
from receiver.text import Secret, one_line

# slack_sdk logs each failure, which we log ourselves; and it formats a debug line for each request unless
# its logger has an explicit level.
_SILENT: Final = logging.getLogger("receiver.integrations.slack.sdk")
_SILENT.setLevel(logging.CRITICAL)


class SlackClient:
    """Calls methods of the Web API with *timeout_s* in seconds. Threads may share it."""

    def __init__(self, token: Secret, base_url: str, timeout_s: float) -> None:
        self._web = WebClient(
            token=token.reveal(),
            base_url=base_url.rstrip("/") + "/",
            timeout=timeout_s,  # type: ignore[arg-type]  # seconds; urllib accepts fractions
            retry_handlers=[],  # the default one repeats a post whose response was lost: a duplicate message
            logger=_SILENT,
        )
        # urllib reads the proxy settings itself and, unlike slack_sdk, respects NO_PROXY.
        self._web.proxy = None
        self._is_encrypted = base_url.lower().startswith("https:")

    def post(self, method: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Call *method* with a JSON body; return Slack's response or raise a DeliveryError."""
        return self._call_method(method, json=dict(arguments))

    def get(self, method: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Call a *method* that accepts no JSON body, with query parameters; see `post`."""
        return self._call_method(method, params=dict(arguments))

    def _call_method(self, method: str, **body: dict[str, Any]) -> dict[str, Any]:
        with slack_errors():
            if self._is_encrypted:
                self._web.ssl = get_tls_context()
            response = self._web.api_call(method, **body)  # type: ignore[arg-type]
            data = response.data
        if not isinstance(data, dict):
            raise TemporaryDeliveryError("not_json", maybe_sent=True)
        return data


def post_response(url: str, message: Mapping[str, Any], timeout_s: float) -> None:
    """Post *message* to a response_url, which needs no token; raises a DeliveryError."""
    webhook = WebhookClient(
        url,
        timeout=timeout_s,  # type: ignore[arg-type]  # seconds; urllib accepts fractions
        ssl=get_tls_context() if url.lower().startswith("https:") else None,
        retry_handlers=[],
        logger=_SILENT,
    )
    webhook.proxy = None
    with slack_errors():
        response = webhook.send_dict(dict(message))
    if response.status_code != 200:
        raise PermanentDeliveryError(f"http_{response.status_code}", one_line(str(response.body), 200))


def list_objects(page: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the objects in the list *name* of *page*; other items are skipped."""
    found = page.get(name)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def next_cursor(page: Mapping[str, Any]) -> str:
    """Return the cursor of the next page; empty after the last."""
    metadata = page.get("response_metadata")
    return str(metadata.get("next_cursor") or "") if isinstance(metadata, dict) else ""


_REFERENCE = re.compile(r"(?P<channel>[A-Z][A-Z0-9]+):(?P<ts>\d+\.\d+)")
_CHANNEL_ID = re.compile(r"[CGD](?=[A-Z]*\d)[A-Z0-9]{7,20}")


@dataclass(frozen=True)
class MessageReference:
    """A message in Slack, as text `C024BE91L:1503435956.000247` (channel ID and ts)."""

    channel: str
    ts: str

    def __str__(self) -> str:
        return f"{self.channel}:{self.ts}"


def parse_reference(text: str) -> MessageReference | None:
    """Return the reference in *text*; None if it is not one of Slack's (a simulated one)."""
    found = _REFERENCE.fullmatch(text)
    return MessageReference(found["channel"], found["ts"]) if found else None


def is_channel_id(address: str) -> bool:
    """Return whether *address* is a channel ID, not a channel name."""
    return _CHANNEL_ID.fullmatch(address) is not None


def permalink(team_url: str, reference: MessageReference, thread_ts: str = "") -> str:
    """Return the URL of the message; empty if the URL of the workspace is not known."""
    if not team_url:
        return ""
    url = f"{team_url.rstrip('/')}/archives/{reference.channel}/p{reference.ts.replace('.', '')}"
    return f"{url}?thread_ts={thread_ts}&cid={reference.channel}" if thread_ts else url


# Few messages are posted between an attempt and the search for it.
_PAGES = 3
_PAGE_SIZE = 200


def find_ts(
    client: SlackClient, method: str, arguments: Mapping[str, Any], is_ours: Callable[[dict[str, Any]], bool]
) -> str | None:
    """Return the ts of the first message for which *is_ours* is true, else None; raises a DeliveryError.

    *method* must return pages of `messages`; the first `_PAGES` pages are searched.
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
