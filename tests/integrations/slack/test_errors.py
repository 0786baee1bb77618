"""What each of Slack's failures means: again later, or never."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path

import pytest

from receiver.errors import PermanentDeliveryError, RefusalKind, TemporaryDeliveryError
from receiver.integrations.slack.channel import SlackChannel
from receiver.integrations.slack.errors import PERMANENT_ERRORS, TEMPORARY_ERRORS
from receiver.text import Secret
from tests.builders import a_notification
from tests.mocks.slack import MockSlack

POST = "chat.postMessage"


def temporary(url: str, timeout_s: float = 2.0) -> TemporaryDeliveryError:
    """Return the error that a post to *url* ends with; nothing is slept away."""
    began = time.monotonic()
    with pytest.raises(TemporaryDeliveryError) as caught:
        SlackChannel(Secret("xoxb-test"), url, timeout_s).send(a_notification())
    assert time.monotonic() - began < timeout_s + 1.5
    return caught.value


@pytest.mark.parametrize(
    "code", ["channel_not_found", "is_archived", "invalid_auth", "missing_scope", "not_in_channel"]
)
def test_what_only_a_person_can_fix_is_a_permanent_error(slack: MockSlack, code):
    slack.fail_next(POST, error=code)
    with pytest.raises(PermanentDeliveryError) as caught:
        SlackChannel(Secret("xoxb-test"), slack.url).send(a_notification())
    assert caught.value.reason == code
    assert slack.messages == []


def test_no_permanent_error_is_a_temporary_one_too():
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
def test_every_code_that_slack_documents_is_sorted_on_purpose(method):
    """The file holds, by method, what Slack's reference names under "Errors"."""
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
def test_what_is_under_way_at_slack_passes_by_itself(slack: MockSlack, code):
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
def test_a_refusal_for_good_says_what_it_is_about(slack: MockSlack, code, kind):
    slack.fail_next(POST, error=code)
    with pytest.raises(PermanentDeliveryError) as caught:
        SlackChannel(Secret("xoxb-test"), slack.url).send(a_notification())
    assert caught.value.kind is kind


def test_the_wait_that_slack_asks_for_is_kept(slack: MockSlack):
    slack.fail_next(POST, status=429, retry_after=30)
    error = temporary(slack.url)
    assert (error.reason, error.retry_after, error.maybe_sent) == ("rate_limited", 30.0, False)


@pytest.mark.parametrize("retry_after", [None, 0, -3])
def test_a_rate_limit_without_a_wait_waits_five_seconds(slack: MockSlack, retry_after):
    slack.fail_next(POST, status=429, retry_after=retry_after)
    assert temporary(slack.url).retry_after == 5.0


def test_a_rate_limit_in_no_words_of_slacks_is_one_too(slack: MockSlack):
    slack.fail_next(POST, status=429, body=b"<html>slow down</html>", content_type="text/html")
    error = temporary(slack.url)
    assert (error.reason, error.retry_after) == ("rate_limited", 5.0)


def test_a_wait_beyond_all_reason_is_cut(slack: MockSlack):
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
        (200, b"\xff\xfe", "not_json", True),
        (200, b'{"ok": true}', "odd_answer", True),
        (200, b'{"ok": true, "channel": ["C1"], "ts": 5}', "odd_answer", True),
        (503, b"<html>Bad gateway</html>", "http_503", True),
        (502, b"", "http_502", True),
        (404, b"<html>Not here</html>", "http_404", False),
    ],
)
def test_an_answer_that_is_no_delivery_is_tried_again(slack: MockSlack, status, body, reason, maybe_sent):
    slack.fail_next(POST, status=status, body=body)
    error = temporary(slack.url)
    assert (error.reason, error.maybe_sent) == (reason, maybe_sent)


@pytest.mark.parametrize("content_type", ["application/json; charset=klingon", "application/gzip"])
def test_an_answer_in_an_odd_form_is_tried_again(slack: MockSlack, content_type):
    slack.fail_next(POST, body=b'{"ok": true}', content_type=content_type)
    assert temporary(slack.url).reason == "not_json"


def test_an_answer_nested_without_end_is_tried_again(slack: MockSlack):
    slack.fail_next(POST, body=b"[" * 200_000)
    assert temporary(slack.url).reason == "not_json"


def test_silence_may_hide_a_delivery(slack: MockSlack):
    slack.is_silent = True
    error = temporary(slack.url, 0.3)
    assert (error.reason, error.maybe_sent) == ("no_answer", True)


def test_a_cut_connection_may_hide_a_delivery(slack: MockSlack):
    slack.drop_answer(POST)
    error = temporary(slack.url)
    assert (error.reason, error.maybe_sent) == ("no_answer", True)
    assert len(slack.messages) == 1


def test_nothing_is_sent_twice_in_one_call(slack: MockSlack):
    slack.drop_answer(POST, times=5)
    temporary(slack.url)
    assert len(slack.calls_of(POST)) == 1


def test_half_an_answer_may_hide_a_delivery():
    with RawAnswer(b'HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{"ok": true') as url:
        error = temporary(url)
    assert (error.reason, error.maybe_sent) == ("no_answer", True)


def test_an_answer_that_is_no_http_may_hide_a_delivery():
    with RawAnswer(b"SSH-2.0-OpenSSH_9.2\r\n\r\n") as url:
        error = temporary(url)
    assert (error.reason, error.maybe_sent) == ("no_answer", True)


def test_where_nobody_listens_nothing_was_sent():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = temporary(f"http://127.0.0.1:{port}/api/")
    assert (error.reason, error.maybe_sent) == ("no_answer", False)


def test_a_name_nobody_has_means_nothing_was_sent():
    error = temporary("http://slack.invalid/api/", 5.0)
    assert (error.reason, error.maybe_sent) == ("no_answer", False)


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1/", "127.0.0.1:1/api/", "http://127.0.0.1:port/", "http://[::/"]
)
def test_an_address_that_is_none_is_a_permanent_error(url):
    with pytest.raises(PermanentDeliveryError, match="bad_request"):
        SlackChannel(Secret("xoxb-test"), url).send(a_notification())


def test_a_missing_scope_is_named(slack: MockSlack):
    slack.fail_next(POST, body=b'{"ok": false, "error": "missing_scope", "needed": "chat:write"}')
    with pytest.raises(PermanentDeliveryError, match="missing_scope: needs the scope chat:write"):
        SlackChannel(Secret("xoxb-test"), slack.url).send(a_notification())


class RawAnswer:
    """A server that says *answer* to whoever comes first, and hangs up."""

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
