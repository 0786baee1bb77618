"""The faults that Slack's Block Kit refuses, as far as our messages could have them.

`check(blocks)` returns sentences in Slack's own form, each ending in a JSON pointer, as in
`response_metadata.messages` of an `invalid_blocks` response. Limits are from
https://docs.slack.dev/reference/block-kit/blocks (and its pages for each block, element and composition
object) unless another source is given beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from json import dumps
from typing import Any

MAX_BLOCKS = 50
MAX_ID = 255  # block_id, action_id
MAX_SECTION_TEXT = 3000
MAX_FIELDS, MAX_FIELD_TEXT = 10, 2000
MAX_HEADER_TEXT = 150
MAX_CONTEXT_ELEMENTS = 10
MAX_ACTIONS = 25
MAX_BUTTON_TEXT, MAX_BUTTON_VALUE, MAX_URL = 75, 2000, 3000
MAX_IMAGE_URL, MAX_ALT_TEXT, MAX_IMAGE_TITLE = 3000, 2000, 2000
MAX_MARKDOWN = 12_000  # of all markdown blocks of a message together
MAX_CONFIRM_TITLE, MAX_CONFIRM_TEXT, MAX_CONFIRM_BUTTON = 100, 300, 30
# Not documented; refused from about 13,200 characters of JSON on:
# https://github.com/slackapi/bolt-js/issues/2509
MAX_TOTAL = 13_000

Faults = Iterator[str]


def is_too_long(blocks: list[Any]) -> bool:
    """Return whether all blocks together are longer than Slack accepts (`msg_blocks_too_long`)."""
    return len(dumps(blocks, ensure_ascii=False)) > MAX_TOTAL


def check(blocks: Any) -> list[str]:
    """Return every fault of a message's blocks; an empty list if Slack accepts them."""
    return list(_blocks(blocks))


def _blocks(blocks: Any) -> Faults:
    if not isinstance(blocks, list):
        yield _fault("must provide an array", "/blocks")
        return
    if len(blocks) > MAX_BLOCKS:
        yield _fault(f"no more than {MAX_BLOCKS} items allowed", "/blocks")
    for number, block in enumerate(blocks):
        yield from _block(block, f"/blocks/{number}")
    yield from _unique(blocks, "block_id", "/blocks")
    written = sum(
        len(str(b.get("text"))) for b in blocks if isinstance(b, dict) and b.get("type") == "markdown"
    )
    if written > MAX_MARKDOWN:
        yield _fault(f"markdown text must be less than {MAX_MARKDOWN + 1} characters", "/blocks")


def _block(block: Any, at: str) -> Faults:
    if not isinstance(block, dict):
        yield _fault("must provide an object", at)
        return
    kind = block.get("type")
    checker = _BLOCKS.get(kind) if isinstance(kind, str) else None
    if checker is None:
        yield _fault(f"unsupported type: {kind}", f"{at}/type")
        return
    yield from _string(block.get("block_id"), MAX_ID, f"{at}/block_id", needed=False)
    yield from checker(block, at)


def _section(block: dict[str, Any], at: str) -> Faults:
    yield from _known(block, {"text", "fields", "accessory", "expand"}, at)
    if block.get("text") is None and not block.get("fields"):
        yield _fault("missing required field: text", at)
    if block.get("text") is not None:
        yield from _text(block["text"], MAX_SECTION_TEXT, f"{at}/text")
    fields = block.get("fields")
    if fields is None:
        return
    if not isinstance(fields, list) or not 1 <= len(fields) <= MAX_FIELDS:
        yield _fault(f"must provide 1 to {MAX_FIELDS} fields", f"{at}/fields")
        return
    for number, field in enumerate(fields):
        yield from _text(field, MAX_FIELD_TEXT, f"{at}/fields/{number}")


def _header(block: dict[str, Any], at: str) -> Faults:
    yield from _known(block, {"text", "level"}, at)
    yield from _text(block.get("text"), MAX_HEADER_TEXT, f"{at}/text", kinds=("plain_text",))


def _context(block: dict[str, Any], at: str) -> Faults:
    yield from _known(block, {"elements"}, at)
    elements = block.get("elements")
    if not isinstance(elements, list) or not 1 <= len(elements) <= MAX_CONTEXT_ELEMENTS:
        yield _fault(f"must provide 1 to {MAX_CONTEXT_ELEMENTS} elements", f"{at}/elements")
        return
    for number, element in enumerate(elements):
        place = f"{at}/elements/{number}"
        if isinstance(element, dict) and element.get("type") == "image":
            yield from _image_element(element, place)
        else:
            yield from _text(element, MAX_SECTION_TEXT, place)


def _actions(block: dict[str, Any], at: str) -> Faults:
    yield from _known(block, {"elements"}, at)
    elements = block.get("elements")
    if not isinstance(elements, list) or not 1 <= len(elements) <= MAX_ACTIONS:
        yield _fault(f"must provide 1 to {MAX_ACTIONS} elements", f"{at}/elements")
        return
    for number, element in enumerate(elements):
        yield from _button(element, f"{at}/elements/{number}")
    yield from _unique(elements, "action_id", f"{at}/elements")


def _button(element: Any, at: str) -> Faults:
    if not isinstance(element, dict) or element.get("type") != "button":
        yield _fault("unsupported element (this checker knows buttons only)", at)
        return
    yield from _known(
        element, {"text", "action_id", "url", "value", "style", "confirm", "accessibility_label"}, at
    )
    yield from _text(element.get("text"), MAX_BUTTON_TEXT, f"{at}/text", kinds=("plain_text",))
    yield from _string(element.get("action_id"), MAX_ID, f"{at}/action_id", needed=False)
    yield from _string(element.get("value"), MAX_BUTTON_VALUE, f"{at}/value", needed=False)
    yield from _url(element.get("url"), MAX_URL, f"{at}/url", needed=False)
    if element.get("style") not in (None, "primary", "danger"):
        yield _fault("must be one of: primary, danger", f"{at}/style")
    confirm = element.get("confirm")
    if isinstance(confirm, dict):
        plain = ("plain_text",)
        yield from _text(confirm.get("title"), MAX_CONFIRM_TITLE, f"{at}/confirm/title", kinds=plain)
        yield from _text(confirm.get("text"), MAX_CONFIRM_TEXT, f"{at}/confirm/text")
        for name in ("confirm", "deny"):
            yield from _text(confirm.get(name), MAX_CONFIRM_BUTTON, f"{at}/confirm/{name}", kinds=plain)


def _image(block: dict[str, Any], at: str) -> Faults:
    yield from _known(block, {"image_url", "alt_text", "title", "slack_file"}, at)
    yield from _image_element(block, at)
    if block.get("title") is not None:
        yield from _text(block["title"], MAX_IMAGE_TITLE, f"{at}/title", kinds=("plain_text",))


def _image_element(element: dict[str, Any], at: str) -> Faults:
    yield from _url(element.get("image_url"), MAX_IMAGE_URL, f"{at}/image_url")
    yield from _string(element.get("alt_text"), MAX_ALT_TEXT, f"{at}/alt_text")


def _divider(block: dict[str, Any], at: str) -> Faults:
    yield from _known(block, set(), at)


def _markdown(block: dict[str, Any], at: str) -> Faults:
    yield from _known(block, {"text"}, at)
    yield from _string(block.get("text"), MAX_MARKDOWN, f"{at}/text")


def _rich_text(block: dict[str, Any], at: str) -> Faults:
    yield from _known(block, {"elements"}, at)
    if not isinstance(block.get("elements"), list) or not block["elements"]:
        yield _fault("missing required field: elements", at)


_BLOCKS: dict[str, Callable[[dict[str, Any], str], Faults]] = {
    "section": _section,
    "header": _header,
    "context": _context,
    "actions": _actions,
    "image": _image,
    "divider": _divider,
    "markdown": _markdown,
    "rich_text": _rich_text,
}


def _text(text: Any, limit: int, at: str, *, kinds: tuple[str, ...] = ("mrkdwn", "plain_text")) -> Faults:
    if not isinstance(text, dict):
        yield _fault("must provide an object", at)
        return
    kind = text.get("type")
    if kind not in kinds:
        yield _fault(f"must be one of: {', '.join(kinds)}", f"{at}/type")
        return
    yield from _known(text, {"text", "emoji"} if kind == "plain_text" else {"text", "verbatim"}, at)
    for flag in ("emoji", "verbatim"):
        if text.get(flag) not in (None, True, False):
            yield _fault("must provide a boolean", f"{at}/{flag}")
    yield from _string(text.get("text"), limit, f"{at}/text")


def _string(text: Any, limit: int, at: str, *, needed: bool = True) -> Faults:
    if text is None and not needed:
        return
    if not isinstance(text, str):
        yield _fault("must provide a string", at)
    elif not text and needed:
        yield _fault("must be more than 0 characters", at)
    elif len(text) > limit:
        yield _fault(f"must be less than {limit + 1} characters", at)


def _url(url: Any, limit: int, at: str, *, needed: bool = True) -> Faults:
    yield from _string(url, limit, at, needed=needed)
    if isinstance(url, str) and not url.lower().startswith(("http://", "https://")):
        yield _fault("must be a valid URL", at)


def _known(thing: dict[str, Any], names: set[str], at: str) -> Faults:
    for name in thing:
        if name not in names | {"type", "block_id"}:
            yield _fault(f"invalid additional property: {name}", at)


def _unique(things: list[Any], name: str, at: str) -> Faults:
    seen: set[str] = set()
    for number, thing in enumerate(things):
        value = thing.get(name) if isinstance(thing, dict) else None
        if isinstance(value, str) and value in seen:
            yield _fault(f"{name} already exists: {value}", f"{at}/{number}/{name}")
        elif isinstance(value, str):
            seen.add(value)


def _fault(what: str, at: str) -> str:
    return f"[ERROR] {what} [json-pointer:{at}]"
