"""What Slack refuses of a modal, as far as our form could have such faults.

Limits are from https://docs.slack.dev/reference/views/modal-views and the pages of the input block, radio
buttons and plain-text input.
"""

from __future__ import annotations

from typing import Any

from tests.mocks import blockkit

MAX_TITLE = 24
MAX_METADATA = 3000
MAX_BLOCKS = 100
MAX_LABEL, MAX_HINT = 2000, 2000
MAX_OPTIONS, MAX_OPTION_TEXT, MAX_OPTION_VALUE = 10, 75, 150
MAX_INPUT = 3000


def check(view: Any) -> list[str]:
    """Return every fault of a view; an empty list if Slack accepts it."""
    if not isinstance(view, dict) or view.get("type") != "modal":
        return ["must be a modal"]
    faults = [
        f"{name} must be plain text of 1 to {MAX_TITLE} characters"
        for name in ("title", "submit", "close")
        if not _is_plain(view.get(name), MAX_TITLE)
    ]
    if len(view.get("private_metadata", "")) > MAX_METADATA:
        faults.append("private_metadata is too long")
    if len(view.get("callback_id", "")) > blockkit.MAX_ID:
        faults.append("callback_id is too long")
    blocks = view.get("blocks")
    if not isinstance(blocks, list) or not 1 <= len(blocks) <= MAX_BLOCKS:
        return [*faults, f"1 to {MAX_BLOCKS} blocks"]
    ids = [block.get("block_id") for block in blocks if block.get("block_id")]
    if len(set(ids)) < len(ids):
        faults.append("block_id already exists")
    faults += blockkit.check([block for block in blocks if block.get("type") != "input"])
    for block in blocks:
        if block.get("type") == "input":
            faults += _input(block)
    return faults


def _input(block: dict[str, Any]) -> list[str]:
    name, element = block.get("block_id"), block.get("element", {})
    faults = [] if _is_plain(block.get("label"), MAX_LABEL) else [f"{name}: label"]
    if "hint" in block and not _is_plain(block["hint"], MAX_HINT):
        faults.append(f"{name}: hint")
    if element.get("type") == "plain_text_input":
        if not 1 <= element.get("max_length", 1) <= MAX_INPUT:
            faults.append(f"{name}: max_length")
    elif element.get("type") == "radio_buttons":
        faults += _options(str(name), element)
    else:
        faults.append(f"{name}: unsupported element")
    return faults


def _options(name: str, element: dict[str, Any]) -> list[str]:
    options = element.get("options", [])
    faults = [] if 1 <= len(options) <= MAX_OPTIONS else [f"{name}: 1 to {MAX_OPTIONS} options"]
    for option in options:
        if not _is_plain(option.get("text"), MAX_OPTION_TEXT):
            faults.append(f"{name}: an option's text")
        if not 1 <= len(option.get("value", "")) <= MAX_OPTION_VALUE:
            faults.append(f"{name}: an option's value")
    if "initial_option" in element and element["initial_option"] not in options:
        faults.append(f"{name}: initial_option must be one of the options")
    return faults


def _is_plain(text: Any, limit: int) -> bool:
    return isinstance(text, dict) and text.get("type") == "plain_text" and 1 <= len(text["text"]) <= limit
