"""What Slack's failures mean for us: try again, or tell the fallback."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, InvalidURL
from urllib.error import URLError

from slack_sdk.errors import SlackApiError, SlackClientError

from receiver.errors import PermanentDeliveryError, TemporaryDeliveryError
from receiver.text import one_line

# Formatting that Slack refuses; a lower rung of the ladder may pass.
REFUSED_FORMATS = frozenset(
    {
        "invalid_blocks",
        "invalid_blocks_format",
        "msg_blocks_too_long",
        "msg_too_long",
        "markdown_text_too_long",
        "unsupported_block",
        "block_mismatch",
    }
)
# Sending the same again can't help: somebody has to change a token, a channel or a permission.
# https://docs.slack.dev/reference/methods/chat.postMessage, …/chat.update
HOPELESS = REFUSED_FORMATS | frozenset(
    {
        "access_denied",
        "account_inactive",
        "app_missing_action_url",
        "as_user_not_supported",
        "bad_timestamp",
        "cannot_reply_to_message",
        "cant_broadcast_message",
        "cant_post_message",
        "cant_update_message",
        "channel_not_found",
        "edit_window_closed",
        "ekm_access_denied",
        "enterprise_is_restricted",
        "invalid_arg_name",
        "invalid_arguments",
        "invalid_array_arg",
        "invalid_auth",
        "invalid_channel",
        "invalid_charset",
        "invalid_form_data",
        "invalid_json",
        "invalid_metadata_format",
        "invalid_metadata_schema",
        "invalid_post_type",
        "invalid_thread_ts",
        "is_archived",
        "is_inactive",
        "json_not_object",
        "message_not_found",
        "messages_tab_disabled",
        "method_deprecated",
        "missing_charset",
        "missing_post_type",
        "missing_scope",
        "no_permission",
        "no_text",
        "not_allowed_token_type",
        "not_authed",
        "not_in_channel",
        "org_login_required",
        "restricted_action",
        "restricted_action_non_threadable_channel",
        "restricted_action_read_only_channel",
        "restricted_action_thread_locked",
        "restricted_action_thread_only_channel",
        "slack_connect_file_link_sharing_blocked",
        "team_access_not_granted",
        "team_not_found",
        "thread_not_found",
        "token_expired",
        "token_revoked",
        "two_factor_setup_required",
        "unknown_method",
        "user_not_found",
        "user_not_in_channel",
    }
)
# Slack says of these that the work may have been done before they were raised.
_MAYBE_DONE = frozenset({"fatal_error", "internal_error", "request_timeout", "service_unavailable"})
# Slack always names a wait with a 429; a proxy's may lack one.
_WAIT_S = 5.0
_LONGEST_WAIT_S = 600.0


@contextmanager
def slack_errors() -> Iterator[None]:
    """Turn whatever slack_sdk raises into our two kinds of delivery failure.

    A failure before the request left (no name, no connection) is never `maybe_sent`.
    """
    try:
        yield
    except SlackApiError as error:
        raise _refusal(error) from error
    except (URLError, OSError) as error:
        raise _no_answer(error) from error
    except (InvalidURL, UnicodeEncodeError, SlackClientError) as error:
        # Their text may hold the token, as a header that can't be written.
        raise PermanentDeliveryError("bad_request", type(error).__name__) from None
    except HTTPException as error:
        raise TemporaryDeliveryError("no_answer", type(error).__name__, maybe_sent=True) from error
    except (UnicodeDecodeError, LookupError, AttributeError, RecursionError) as error:
        # An answer in no charset, or JSON that is no object: slack_sdk trips over it.
        raise TemporaryDeliveryError("not_json", type(error).__name__, maybe_sent=True) from error
    except ValueError as error:
        raise PermanentDeliveryError("bad_request", type(error).__name__) from None


def _refusal(error: SlackApiError) -> TemporaryDeliveryError | PermanentDeliveryError:
    status = int(error.response.status_code)
    code = _code(error)
    if status == 429 or code in ("ratelimited", "rate_limited"):
        return TemporaryDeliveryError("rate_limited", retry_after=_retry_after(error) or _WAIT_S)
    if code in HOPELESS:
        return PermanentDeliveryError(code, _detail(error))
    wait = _retry_after(error)
    if not code:
        reason = "not_json" if status == 200 else f"http_{status}"
        return TemporaryDeliveryError(reason, retry_after=wait, maybe_sent=not 300 <= status < 500)
    is_maybe = status >= 500 or code in _MAYBE_DONE
    return TemporaryDeliveryError(code, _detail(error), retry_after=wait, maybe_sent=is_maybe)


def _code(error: SlackApiError) -> str:
    """Return Slack's error code; empty where the answer was none of Slack's."""
    data = error.response.data
    code = data.get("error") if isinstance(data, dict) else None
    return code if isinstance(code, str) and code.isidentifier() and len(code) <= 80 else ""


def _detail(error: SlackApiError) -> str:
    """Return what Slack says on top of the code: the place in the blocks, the scope needed."""
    data = error.response.data if isinstance(error.response.data, dict) else {}
    metadata = data.get("response_metadata")
    messages = metadata.get("messages") if isinstance(metadata, dict) else None
    said = [str(message) for message in messages[:5]] if isinstance(messages, list) else []
    if isinstance(data.get("needed"), str):
        said.append(f"needs the scope {data['needed']}")
    return one_line("; ".join(said), 500)


def _retry_after(error: SlackApiError) -> float:
    headers = {str(key).lower(): value for key, value in error.response.headers.items()}
    try:
        wait = float(headers.get("retry-after", 0))
    except (TypeError, ValueError):
        return 0.0
    return min(wait, _LONGEST_WAIT_S) if wait > 0 else 0.0


def _no_answer(error: OSError) -> TemporaryDeliveryError | PermanentDeliveryError:
    cause = error.reason if isinstance(error, URLError) else error
    detail = one_line(str(cause), 200)
    if isinstance(cause, str) and "unknown url type" in cause:
        return PermanentDeliveryError("bad_request", detail)
    return TemporaryDeliveryError("no_answer", detail, maybe_sent=not _never_left(cause))


def _never_left(cause: object) -> bool:
    """Tell whether the request can't have left us: nobody was there to take it."""
    if isinstance(cause, (ConnectionRefusedError, socket.gaierror, ssl.SSLCertVerificationError)):
        return True
    return isinstance(cause, OSError) and cause.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH)
