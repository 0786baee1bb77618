"""The meaning of each of Slack's errors: temporary or permanent."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path

import pytest

from receiver.errors import PermanentDeliveryError, RefusalKind, TemporaryDeliveryError
from receiver.integrations.slack.channel import SlackChannel
from receiver.integrations.slack.errors import PERMANENT_ERRORS
from receiver.text import Secret
from tests.builders import a_notification
from tests.mocks.slack import MockSlack

POST = "chat.postMessage"
# Temporary: a rate limit, an internal error of Slack, a workspace or channel that is being moved.
TEMPORARY_ERRORS = frozenset(
    {
        "external_channel_migrating",
        "fatal_error",
        "internal_error",
        "invalid_cursor",  # a search starts again from the first page
        "list_record_comment_fetch_failed",
        "message_limit_exceeded",
        "org_login_required",
        "rate_limited",
        "ratelimited",
        "request_timeout",
        "service_unavailable",
        "streaming_state_conflict",
        "team_added_to_org",
        "update_failed",
    }
)


def temporary(url: str, timeout_s: float = 2.0) -> TemporaryDeliveryError:
    """Return the error raised by a post to *url*; assert that nothing slept."""
    started = time.monotonic()
    with pytest.raises(TemporaryDeliveryError) as caught:
        SlackChannel(Secret("xoxb-test"), url, timeout_s).send(a_notification())
    assert time.monotonic() - started < timeout_s + 1.5
    return caught.value


@pytest.mark.parametrize(
    "code", ["channel_not_found", "is_archived", "invalid_auth", "missing_scope", "not_in_channel"]
)
def test_an_error_that_only_an_operator_can_fix_is_permanent(slack: MockSlack, code):
    slack.fail_next(POST, error=code)
    with pytest.raises(PermanentDeliveryError) as caught:
        SlackChannel(Secret("xoxb-test"), slack.url).send(a_notification())
    assert caught.value.reason == code
    assert slack.messages == []


def test_no_error_is_both_permanent_and_temporary():
    assert not PERMANENT_ERRORS.keys() & TEMPORARY_ERRORS
    assert {
        "ratelimited",
        "internal_error",
        "fatal_error",
        "service_unavailable",
        "team_added_to_org",
    } <= TEMPORARY_ERRORS


DOCUMENTED = json.loads((Path(__file__).parent / "documented_errors.json").read_text())


@pytest.mark.parametrize("method", DOCUMENTED)
def test_every_documented_error_code_is_classified_explicitly(method):
    """The file lists, by method, the codes of Slack's reference under "Errors"."""
    assert len(DOCUMENTED[method]) >= 29
    assert [
        code for code in DOCUMENTED[method] if code not in PERMANENT_ERRORS and code not in TEMPORARY_ERRORS
    ] == []


@pytest.mark.parametrize(
    "code",
    [
        "external_channel_migrating",
        "message_limit_exceeded",
        "org_login_required",
        "streaming_state_conflict",
        "team_added_to_org",
        "update_failed",
    ],
)
def test_an_error_that_passes_by_itself_is_temporary(slack: MockSlack, code):
    slack.fail_next(POST, error=code)
    assert temporary(slack.url).reason == code


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("token_revoked", RefusalKind.CREDENTIALS),
        ("not_authed", RefusalKind.CREDENTIALS),
        ("missing_scope", RefusalKind.CREDENTIALS),
        ("account_inactive", RefusalKind.CREDENTIALS),
        ("not_allowed_token_type", RefusalKind.CREDENTIALS),
        ("is_archived", RefusalKind.TARGET_GONE),
        ("restricted_action_thread_only_channel", RefusalKind.TARGET_GONE),
        ("ekm_access_denied", RefusalKind.TARGET_GONE),
        ("edit_window_closed", RefusalKind.MESSAGE_GONE),
        ("restricted_action_thread_locked", RefusalKind.THREAD),
        ("too_many_contact_cards", RefusalKind.CONTENT),
    ],
)
def test_a_permanent_error_has_its_kind(slack: MockSlack, code, kind):
    slack.fail_next(POST, error=code)
    with pytest.raises(PermanentDeliveryError) as caught:
        SlackChannel(Secret("xoxb-test"), slack.url).send(a_notification())
    assert caught.value.kind is kind


def test_the_retry_after_of_slack_is_respected(slack: MockSlack):
    slack.fail_next(POST, status=429, retry_after=30)
    error = temporary(slack.url)
    assert (error.reason, error.retry_after, error.maybe_sent) == ("rate_limited", 30.0, False)


@pytest.mark.parametrize("retry_after", [None, 0, -3])
def test_a_rate_limit_without_a_retry_after_waits_five_seconds(slack: MockSlack, retry_after):
    slack.fail_next(POST, status=429, retry_after=retry_after)
    assert temporary(slack.url).retry_after == 5.0


def test_a_429_without_slacks_json_is_a_rate_limit_too(slack: MockSlack):
    slack.fail_next(POST, status=429, body=b"<html>slow down</html>", content_type="text/html")
    error = temporary(slack.url)
    assert (error.reason, error.retry_after) == ("rate_limited", 5.0)


def test_an_excessive_retry_after_is_limited(slack: MockSlack):
    slack.fail_next(POST, status=429, retry_after=1e9)
    assert temporary(slack.url).retry_after == 600.0


@pytest.mark.parametrize(
    ("status", "body", "reason", "maybe_sent"),
    [
        (500, b'{"ok": false, "error": "internal_error"}', "internal_error", True),
        (200, b'{"ok": false, "error": "fatal_error"}', "fatal_error", True),
        (200, b'{"ok": false, "error": "never_heard_of"}', "never_heard_of", False),
        (200, b'{"ok": false}', "not_json", True),
        (200, b"{}", "not_json", True),
        (200, b"", "not_json", True),
        (200, b"<html>Sign in</html>", "not_json", True),
        (200, b'{"ok": false, "error": "a sentence, no code"}', "not_json", True),
        (200, b'{"ok": false, "error": ["no", "text"]}', "not_json", True),
        (200, b'["ok"]', "not_json", True),
        (200, b'"ok"', "not_json", True),
        (200, b"null", "not_json", True),
        (200, b'{"ok": true, "ts": ' + b"1" * 5000 + b"}", "not_json", True),
        (200, b"\xff\xfe", "not_json", True),
        (200, b'{"ok": true}', "odd_answer", True),
        (200, b'{"ok": true, "channel": ["C1"], "ts": 5}', "odd_answer", True),
        (503, b"<html>Bad gateway</html>", "http_503", True),
        (502, b"", "http_502", True),
        (404, b"<html>Not here</html>", "http_404", False),
    ],
)
def test_a_response_that_confirms_no_delivery_is_a_temporary_error(
    slack: MockSlack, status, body, reason, maybe_sent
):
    slack.fail_next(POST, status=status, body=body)
    error = temporary(slack.url)
    assert (error.reason, error.maybe_sent) == (reason, maybe_sent)


@pytest.mark.parametrize(
    "content_type",
    ["application/json; charset=klingon", "application/json; charset=utf-7", "application/gzip"],
)
def test_a_response_with_another_content_type_is_a_temporary_error(slack: MockSlack, content_type):
    slack.fail_next(POST, body=b'{"ok": true}', content_type=content_type)
    assert temporary(slack.url).reason == "not_json"


def test_a_deeply_nested_response_is_a_temporary_error(slack: MockSlack):
    slack.fail_next(POST, body=b"[" * 200_000)
    assert temporary(slack.url).reason == "not_json"


def test_after_a_timeout_the_message_was_perhaps_sent(slack: MockSlack):
    slack.is_silent = True
    error = temporary(slack.url, 0.3)
    assert (error.reason, error.maybe_sent) == ("no_answer", True)


def test_after_a_closed_connection_the_message_was_perhaps_sent(slack: MockSlack):
    slack.drop_answer(POST)
    error = temporary(slack.url)
    assert (error.reason, error.maybe_sent) == ("no_answer", True)
    assert len(slack.messages) == 1


def test_nothing_is_sent_twice_in_one_call(slack: MockSlack):
    slack.drop_answer(POST, times=5)
    temporary(slack.url)
    assert len(slack.calls_of(POST)) == 1


def test_after_a_truncated_response_the_message_was_perhaps_sent():
    with RawAnswer(b'HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{"ok": true') as url:
        error = temporary(url)
    assert (error.reason, error.maybe_sent) == ("no_answer", True)


def test_after_a_response_that_is_no_http_the_message_was_perhaps_sent():
    with RawAnswer(b"SSH-2.0-OpenSSH_9.2\r\n\r\n") as url:
        error = temporary(url)
    assert (error.reason, error.maybe_sent) == ("no_answer", True)


def test_after_a_refused_connection_nothing_was_sent():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = temporary(f"http://127.0.0.1:{port}/api/")
    assert (error.reason, error.maybe_sent) == ("no_answer", False)


def test_with_an_unknown_host_name_nothing_was_sent():
    error = temporary("http://slack.invalid/api/", 5.0)
    assert (error.reason, error.maybe_sent) == ("no_answer", False)


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1/", "127.0.0.1:1/api/", "http://127.0.0.1:port/", "http://[::/"]
)
def test_an_invalid_address_is_a_permanent_error(url):
    with pytest.raises(PermanentDeliveryError, match="bad_request"):
        SlackChannel(Secret("xoxb-test"), url).send(a_notification())


def test_a_missing_scope_is_named(slack: MockSlack):
    slack.fail_next(POST, body=b'{"ok": false, "error": "missing_scope", "needed": "chat:write"}')
    with pytest.raises(PermanentDeliveryError, match="missing_scope: needs the scope chat:write"):
        SlackChannel(Secret("xoxb-test"), slack.url).send(a_notification())


class RawAnswer:
    """A server that sends *answer* to the first client and closes the connection."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(10)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.getsockname()[1]}/api/"

    def __exit__(self, *_error: object) -> None:
        self._thread.join(10)
        self._server.close()

    def _serve(self) -> None:
        line, _ = self._server.accept()
        with line:
            line.settimeout(10)
            line.recv(65536)
            line.sendall(self._answer)
            line.shutdown(socket.SHUT_WR)
            while line.recv(65536):
                pass
