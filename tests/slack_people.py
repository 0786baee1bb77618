"""People in Slack: they click buttons, submit forms and type commands; Slack signs what it posts.

people = SlackPeople(rig.client, rig.clock, rig.slack)
people.clicks("acknowledge", incident, by="alice")
people.types("ack 0h2k")
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from receiver.integrations.slack.requests import sign_body
from receiver.text import Secret
from tests.mocks.slack import MockSlack
from tests.mocks.slack_workspace import PEOPLE

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
USERS = PEOPLE


def user_of(name: str) -> dict[str, str]:
    return {"id": USERS[name], "username": name, "name": name, "team_id": "T0EXAMPLE"}


def a_click(button: str, value: str, by: str = "alice", **changes: Any) -> dict[str, Any]:
    """Return the payload that Slack sends for a click on a button, as Slack documents it."""
    action = {
        "action_id": button,
        "block_id": "answers",
        "text": {"type": "plain_text", "text": "Button", "emoji": True},
        "value": value,
        "type": "button",
        "action_ts": "1596530385.194939",
    }
    return {
        "type": "block_actions",
        "user": user_of(by),
        "api_app_id": "A0EXAMPLE",
        "token": "deprecated",
        "container": {"type": "message", "message_ts": "111.222", "channel_id": "C0", "is_ephemeral": False},
        "trigger_id": "111.222.valid",
        "team": {"id": "T0EXAMPLE", "domain": "example"},
        "channel": {"id": "C0", "name": "alerts-critical"},
        "actions": [action],
        **changes,
    }


def a_submission(
    incident: str,
    choice: str | None = "1h",
    own: str | None = None,
    comment: str | None = None,
    by: str = "alice",
) -> dict[str, Any]:
    """Return the payload that Slack sends for the silence form."""
    selected = {"text": {"type": "plain_text", "text": "…"}, "value": choice} if choice else None
    values = {
        "choice": {"choice": {"type": "radio_buttons", "selected_option": selected}},
        "own": {"own": {"type": "plain_text_input", "value": own}},
        "comment": {"comment": {"type": "plain_text_input", "value": comment}},
    }
    view = {
        "id": "V1",
        "type": "modal",
        "callback_id": "silence",
        "private_metadata": incident,
        "state": {"values": values},
        "hash": "1596530361.3wRYuk3R",
    }
    return {"type": "view_submission", "user": user_of(by), "view": view, "response_urls": []}


def a_command(text: str, by: str = "alice", **changes: str) -> dict[str, str]:
    """Return the fields of a slash command."""
    return {
        "token": "deprecated",
        "team_id": "T0EXAMPLE",
        "channel_id": "C0",
        "channel_name": "alerts-critical",
        "user_id": USERS[by],
        "user_name": by,
        "command": "/alerts",
        "text": text,
        "trigger_id": "111.222.valid",
        **changes,
    }


class SlackPeople:
    """People whose actions reach the receiver over HTTP."""

    def __init__(
        self, client: Any, clock: Callable[[], float], slack: MockSlack, secret: str = SECRET
    ) -> None:
        self.client = client
        self.clock = clock
        self.slack = slack
        self.secret = Secret(secret)

    def posts(self, path: str, body: bytes, *, at: float | None = None, **headers: str) -> Any:
        """Post a signed body; *headers* replace Slack's (`signature=…`, `timestamp=…`)."""
        timestamp = headers.get("timestamp", str(int(self.clock() if at is None else at)))
        signature = headers.get("signature")
        if signature is None:
            signature = sign_body(self.secret, timestamp, body)
        answer = self.client.post(
            f"/webhooks/slack/{path}",
            data=body,
            content_type="application/x-www-form-urlencoded",
            headers={"X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": signature},
        )
        answer.close()  # runs what the receiver does after its response
        return answer

    def interacts(self, payload: dict[str, Any], **how: Any) -> Any:
        return self.posts("interactions", urlencode({"payload": json.dumps(payload)}).encode(), **how)

    def clicks(self, button: str, value: str, by: str = "alice", **how: Any) -> Any:
        return self.interacts(a_click(button, value, by, response_url=self.slack.response_url), **how)

    def submits(self, incident: str, **form: Any) -> Any:
        return self.interacts(a_submission(incident, **form))

    def types(self, text: str, by: str = "alice", **how: Any) -> Any:
        fields = a_command(text, by, response_url=self.slack.response_url)
        return self.posts("commands", urlencode(fields).encode(), **how)

    def reply_to(self, text: str, by: str = "alice") -> str:
        """Type a command and return the whole text of the reply."""
        answer = self.types(text, by)
        assert answer.status_code == 200, answer.text
        assert answer.json["response_type"] == "ephemeral"
        return "\n".join(block["text"]["text"] for block in answer.json["blocks"])
