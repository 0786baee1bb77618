"""Classification of Slack's errors: temporary, or permanent with a RefusalKind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException, InvalidURL

from slack_sdk.errors import SlackApiError, SlackClientError

from receiver.errors import PermanentDeliveryError, RefusalKind, TemporaryDeliveryError
from receiver.http_client import as_object
from receiver.http_connection import RequestNotSent
from receiver.text import one_line

# The permanent error codes by their kind:
# https://docs.slack.dev/reference/methods/chat.postMessage, …/chat.update and the reading methods we call
_CODES: Mapping[RefusalKind, str] = {
    # The request itself is invalid.
    RefusalKind.CONTENT: """
        app_missing_action_url as_user_not_supported bad_timestamp blocked_file_type cant_broadcast_message
        deprecated_endpoint draft_already_deleted draft_already_sent draft_has_conflict draft_not_found
        duplicate_channel_not_found duplicate_external_id duplicate_message_not_found exchanged_trigger_id
        expired_trigger_id failed_for_some_users file_deleted file_is_deleted file_not_found
        file_share_limit_reached insecure_request invalid_arg_name invalid_arguments invalid_array_arg
        invalid_charset invalid_form_data invalid_json invalid_limit invalid_metadata_filter_keys
        invalid_metadata_format invalid_metadata_schema invalid_post_type invalid_trigger_id
        invalid_ts_latest invalid_ts_oldest invalid_types invalid_users json_not_object limit_required
        markdown_text_conflict max_file_sharing_exceeded metadata_too_large method_deprecated missing_args
        missing_argument missing_charset missing_file_data missing_post_type
        no_dual_broadcast_content_update no_text no_users_provided plan_upgrade_required
        send_on_behalf_not_allowed slack_connect_blocked_file_type slack_connect_canvas_sharing_blocked
        slack_connect_clip_sharing_blocked slack_connect_file_link_sharing_blocked
        slack_connect_file_upload_sharing_blocked slack_connect_lists_sharing_blocked
        subteam_max_users_exceeded too_many_contact_cards too_many_members unable_to_share_files
        unknown_method users_not_found view_too_large
    """,
    # The token or its scopes. Slack also returns `invalid_auth` to a client whose network is not allowed.
    RefusalKind.CREDENTIALS: """
        access_denied accesslimited account_inactive app_access_restricted enterprise_is_restricted
        forbidden_team invalid_auth invalid_team is_bot metadata_must_be_sent_from_app missing_scope
        no_permission not_allowed_token_type not_authed permission_denied team_access_not_granted
        token_expired token_revoked two_factor_setup_required user_is_bot user_is_restricted
        user_is_ultra_restricted
    """,
    # `team_not_found`: a channel name, and an org-wide token needs the channel ID
    RefusalKind.TARGET_GONE: """
        cant_post_message channel_is_limited_access channel_not_found channel_type_not_supported
        ekm_access_denied invalid_channel is_archived is_inactive messages_tab_disabled
        method_not_supported_for_channel_type not_in_channel posting_to_channel_denied restricted_action
        restricted_action_read_only_channel restricted_action_thread_only_channel team_not_found
        user_not_found user_not_in_channel
    """,
    RefusalKind.MESSAGE_GONE: "cant_update_message edit_window_closed message_not_found",
    RefusalKind.THREAD: """
        cannot_reply_to_message invalid_thread_ts restricted_action_non_threadable_channel
        restricted_action_thread_locked thread_locked thread_not_found
    """,
}
# Slack refuses the formatting; a lower FormattingLevel may be accepted.
_FORMAT_CODES = """
    attachment_payload_limit_exceeded block_mismatch invalid_attachments invalid_blocks invalid_blocks_format
    markdown_text_too_long msg_blocks_too_long msg_too_long too_many_attachments unsupported_block
"""
FORMAT_ERRORS = frozenset(_FORMAT_CODES.split())
# Any other code counts as temporary, so that a new code loses no alert.
PERMANENT_ERRORS: Mapping[str, RefusalKind] = dict.fromkeys(FORMAT_ERRORS, RefusalKind.CONTENT) | {
    code: kind for kind, codes in _CODES.items() for code in codes.split()
}
# According to Slack, the request may have been executed before one of these errors was raised.
_MAYBE_DONE = frozenset({"fatal_error", "internal_error", "request_timeout", "service_unavailable"})
# Slack sends Retry-After with every 429; a 429 of a proxy may have none.
_WAIT_S = 5.0
_LONGEST_WAIT_S = 600.0


@contextmanager
def slack_errors() -> Iterator[None]:
    """Convert every exception of slack_sdk into a TemporaryDeliveryError or a PermanentDeliveryError.

    A failure before the request was sent (DNS, refused connection) never has `maybe_sent`.
    """
    try:
        yield
    except SlackApiError as error:
        raise _convert_api_error(error) from error
    except RequestNotSent as error:
        # Its text may contain the token, if the header can't be encoded.
        cause = error.__cause__ or error
        if isinstance(cause, ValueError | InvalidURL) and not isinstance(cause, OSError):
            raise PermanentDeliveryError("bad_request", type(cause).__name__) from None
        raise TemporaryDeliveryError("no_answer", one_line(str(cause), 200)) from error
    except OSError as error:
        raise TemporaryDeliveryError("no_answer", one_line(str(error), 200), maybe_sent=True) from error
    except SlackClientError as error:
        raise PermanentDeliveryError("bad_request", type(error).__name__) from None
    except HTTPException as error:
        raise TemporaryDeliveryError("no_answer", type(error).__name__, maybe_sent=True) from error
    except UnicodeEncodeError as error:
        raise PermanentDeliveryError("bad_request", type(error).__name__) from None
    except (ValueError, LookupError, AttributeError, RecursionError) as error:
        # slack_sdk fails on a response with an unknown charset, on JSON that is not an object, and on numbers
        # of thousands of digits.
        raise TemporaryDeliveryError("not_json", type(error).__name__, maybe_sent=True) from error


def _convert_api_error(error: SlackApiError) -> TemporaryDeliveryError | PermanentDeliveryError:
    status = int(error.response.status_code)
    code = _parse_code(error)
    if status == 429 or code in ("ratelimited", "rate_limited"):
        return TemporaryDeliveryError("rate_limited", retry_after=parse_retry_after(error) or _WAIT_S)
    if code in PERMANENT_ERRORS:
        return PermanentDeliveryError(code, _parse_detail(error), kind=PERMANENT_ERRORS[code])
    wait = parse_retry_after(error)
    if not code:
        reason = "not_json" if status == 200 else f"http_{status}"
        return TemporaryDeliveryError(reason, retry_after=wait, maybe_sent=not 300 <= status < 500)
    is_maybe = status >= 500 or code in _MAYBE_DONE
    return TemporaryDeliveryError(code, _parse_detail(error), retry_after=wait, maybe_sent=is_maybe)


def _parse_code(error: SlackApiError) -> str:
    """Return Slack's error code; empty if the response did not come from Slack."""
    code = as_object(error.response.data).get("error")
    return code if isinstance(code, str) and code.isidentifier() and len(code) <= 80 else ""


def _parse_detail(error: SlackApiError) -> str:
    """Return Slack's details of the error: the place in the blocks, the missing scope."""
    data = as_object(error.response.data)
    messages = as_object(data.get("response_metadata")).get("messages")
    details = [str(message) for message in messages[:5]] if isinstance(messages, list) else []
    if isinstance(data.get("needed"), str):
        details.append(f"needs the scope {data['needed']}")
    return one_line("; ".join(details), 500)


def parse_retry_after(error: SlackApiError) -> float:
    """Return the wait that Slack asks for, in seconds and at most ten minutes; 0 if it asks for none."""
    headers = {str(key).lower(): value for key, value in error.response.headers.items()}
    try:
        wait = float(headers.get("retry-after", 0))
    except (TypeError, ValueError):
        return 0.0
    return min(wait, _LONGEST_WAIT_S) if wait > 0 else 0.0
