"""Slack's Web API, one call at a time: no retry, no sleep, and only our own errors."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from slack_sdk import WebClient
from slack_sdk.webhook import WebhookClient

from receiver.channels.slack.errors import slack_errors
from receiver.errors import PermanentDeliveryError, TemporaryDeliveryError
from receiver.text import Secret, one_line

# slack_sdk tells each failure on its own logger, which we tell ourselves; and it builds the
# text of a debug line for each request unless its logger has a level of its own.
_SILENT: Final = logging.getLogger("receiver.channels.slack.sdk")
_SILENT.setLevel(logging.CRITICAL)


class SlackClient:
    """Calls methods of the Web API. Threads may share it."""

    def __init__(self, token: Secret, base_url: str, timeout_s: float) -> None:
        self._web = WebClient(
            token=token.reveal(),
            base_url=base_url.rstrip("/") + "/",
            timeout=timeout_s,  # type: ignore[arg-type]  # seconds; urllib takes parts of them
            retry_handlers=[],  # the default one repeats a post whose answer was lost: a message twice
            logger=_SILENT,
        )
        # urllib reads the proxy settings itself, and unlike slack_sdk it keeps NO_PROXY.
        self._web.proxy = None

    def post(self, method: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Call a writing method with a JSON body; return Slack's answer or raise a DeliveryError."""
        return self._call_method(method, json=dict(arguments))

    def get(self, method: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Call a reading method, which takes no JSON."""
        return self._call_method(method, params=dict(arguments))

    def _call_method(self, method: str, **body: dict[str, Any]) -> dict[str, Any]:
        with slack_errors():
            response = self._web.api_call(method, **body)  # type: ignore[arg-type]
            data = response.data
        if not isinstance(data, dict):
            raise TemporaryDeliveryError("not_json", maybe_sent=True)
        return data


def post_response(url: str, message: Mapping[str, Any], timeout_s: float) -> None:
    """Post *message* to a response_url, which needs no token; raises a DeliveryError."""
    webhook = WebhookClient(
        url,
        timeout=timeout_s,  # type: ignore[arg-type]  # seconds; urllib takes parts of them
        retry_handlers=[],
        logger=_SILENT,
    )
    webhook.proxy = None
    with slack_errors():
        response = webhook.send_dict(dict(message))
    if response.status_code != 200:
        raise PermanentDeliveryError(f"http_{response.status_code}", one_line(str(response.body), 200))


def list_objects(page: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the objects in a page's list *name*; whatever else is there is left out."""
    found = page.get(name)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def next_cursor(page: Mapping[str, Any]) -> str:
    """Return where the next page begins; empty after the last."""
    metadata = page.get("response_metadata")
    return str(metadata.get("next_cursor") or "") if isinstance(metadata, dict) else ""
