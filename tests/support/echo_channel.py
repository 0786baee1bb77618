"""A notification channel of the tests: one package and one entry in the registry, as a new vendor would be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from receiver.app.channels import ChannelContext, ChannelType
from receiver.engine.notification import Notification
from receiver.errors import TemporaryDeliveryError
from receiver.http_client import parse_base_url, send_request
from receiver.model.delivery import Receipt

ECHO = "echo"


class EchoChannel:
    """Sends the key of each action to *url*; without one it is simulated."""

    def __init__(
        self, url: str, record: Callable[[Mapping[str, Any]], None], clock: Callable[[], float]
    ) -> None:
        self._url = url
        self._record = record
        self._clock = clock

    def send(self, notification: Notification) -> Receipt:
        subject, key = notification.subject, notification.action.key
        reference = f"{subject.kind}:{subject.id}:{key}"
        if not self._url:
            self._record({"at": self._clock(), subject.kind: subject.id, "to": ECHO, "key": key, "text": ""})
            return Receipt(self._clock(), reference, is_simulated=True)
        response = send_request("POST", parse_base_url(self._url), "/echo", timeout_s=1.0, max_bytes=1024)
        if not response.is_ok:
            raise TemporaryDeliveryError(f"status_{response.status}")
        return Receipt(self._clock(), reference)

    def find_receipt(self, notification: Notification) -> Receipt | None:
        return None


def echo_type(url: str = "") -> ChannelType:
    """Return the entry of a channel that sends to *url*."""

    def build(context: ChannelContext) -> EchoChannel:
        return EchoChannel(url, context.record, context.services.clock)

    return ChannelType(ECHO, limits=(), threads=2, responder_key="", build=build)
