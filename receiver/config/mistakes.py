"""Detect values that were probably not meant literally: quotes, unexpanded references, wrong tokens.

A shell removes quotes and expands `$NAME`; Docker's `--env-file`, systemd's `Environment=` (in part) and
routing.yaml do not. The returned texts contain no part of the value, since it may be a secret.
"""

from __future__ import annotations

import re

# (what is wrong, to follow the name of the value; what was expected)
Mistake = tuple[str, str]

_QUOTES = "\"'“”‘’`"
# The syntax of shells and Make, of Kubernetes, and of Windows.
_REFERENCE = re.compile(r"\$[A-Za-z_]\w*|\$\([A-Za-z_]\w*\)|%[A-Za-z_]\w*%", re.ASCII)
_FILLED_BY_OTHERS = re.compile(r"\$\{[^}]*\}|\$\([A-Za-z_]\w*\)", re.ASCII)
# A whole user name, password or host of a URL. Slack's and PagerDuty's tokens contain no `$`.
_PART_OF_ADDRESS = re.compile(r"[/:@]\$[A-Za-z_]\w*(?=[:@/?#]|$)", re.ASCII)
# routing.yaml expands `${NAME}` but not `$NAME`. `\$` and `$$` are not meant as references.
_BARE = re.compile(r"(?<![\\$])\$(?:([A-Za-z_]\w*)|\(([A-Za-z_]\w*)\))", re.ASCII)

BOT_TOKEN, APP_TOKEN = "xoxb-", "xapp-"  # the prefixes of the tokens
# The second is with rotation: https://docs.slack.dev/authentication/using-token-rotation
BOT_TOKENS = (BOT_TOKEN, "xoxe.xoxb-")
# https://docs.slack.dev/authentication/tokens
_SLACK_TOKENS = {
    **dict.fromkeys(BOT_TOKENS, "a bot token"),
    APP_TOKEN: "an app-level token",
    "xoxp-": "a user token",
    "xoxe.xoxp-": "a user token",
    "xoxe-": "a refresh token",
    "xoxa-": "a workspace token",
    "xoxr-": "a refresh token",
    "xoxs-": "a session's token",
    "xoxc-": "a browser's token",
    "xoxd-": "a browser's cookie",
    "xwfp-": "a workflow's token",
}


def find_mistake(value: str) -> Mistake | None:
    """Return what is wrong with *value* of an environment variable; None if nothing is."""
    if mistake := find_quotes(value):
        return mistake
    if _REFERENCE.fullmatch(value) or _FILLED_BY_OTHERS.search(value):
        return (
            "names another variable, which nothing fills in here",
            "the value itself, or ${file:/path} alone",
        )
    if "://" in value and _PART_OF_ADDRESS.search(value):
        return (
            "holds a $NAME, which nothing fills in here",
            "the value itself, with %24 for a $ in a password",
        )
    return None


def find_quotes(value: str) -> Mistake | None:
    """Return a mistake if *value* begins or ends with a quote, else None."""
    if value and (value[0] in _QUOTES or value[-1] in _QUOTES):
        return "stands in quotes", "the value without them: env files keep quotes as a part of the value"
    return None


def list_bare_references(raw: str) -> list[str]:
    """Return the names that *raw*, a text of routing.yaml, refers to in a form that is not expanded."""
    return list(dict.fromkeys(found[1] or found[2] for found in _BARE.finditer(raw)))


def is_bare_reference(text: str) -> bool:
    """Return whether the whole of *text* is an unexpanded reference."""
    return _REFERENCE.fullmatch(text) is not None


def find_wrong_slack_token(token: str, prefix: str) -> Mistake | None:
    """Return a mistake if *token* is a Slack token without *prefix*; if that is empty, any Slack token."""
    begin = next((one for one in _SLACK_TOKENS if token.startswith(one)), "")
    if not begin or begin == prefix or (prefix == BOT_TOKEN and begin in BOT_TOKENS):
        return None
    expected = f"{_SLACK_TOKENS[prefix]}, {prefix}…" if prefix else "no token of Slack's"
    return f"is {_SLACK_TOKENS[begin]} ({begin}…)", expected
