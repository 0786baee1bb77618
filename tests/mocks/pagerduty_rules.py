"""What PagerDuty's Events API v2 refuses, in the order in which its reference names the fields.

https://developer.pagerduty.com/docs/events-api-v2/trigger-events/
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

MAX_EVENT = 512_000
ACTIONS = ("trigger", "acknowledge", "resolve")
SEVERITIES = ("critical", "error", "warning", "info")


def find_errors(event: dict[str, Any]) -> list[str]:
    """Return every error of *event*, worded as PagerDuty does; an empty list if it is valid."""
    return [*_check_envelope(event), *_check_payload(event), *_check_links(event), *_check_images(event)]


def _check_envelope(event: dict[str, Any]) -> Iterator[str]:
    key, action = event.get("routing_key"), event.get("event_action")
    if not isinstance(key, str) or not key:
        yield "'routing_key' is missing or blank"
    else:
        if len(key) != 32:
            yield "Length of 'routing_key' is incorrect (should be 32 characters)"
        if not (key.isascii() and key.isalnum()):
            yield "'routing_key' cannot contain non-alphanumeric characters."
    if action not in ACTIONS:
        yield "'event_action' is missing or is none of " + ", ".join(ACTIONS)
    dedup_key = event.get("dedup_key")
    if dedup_key is None and action != "trigger":
        yield "'dedup_key' is missing or blank"
    elif dedup_key is not None and not _is_text(dedup_key, 1, 255):
        yield "Length of 'dedup_key' is incorrect (should be 1 to 255 characters)"
    if not isinstance(event.get("client", ""), str):
        yield "'client' is no string"
    if "client_url" in event and not _is_link(event["client_url"]):
        yield "'client_url' is no URL"


def _check_payload(event: dict[str, Any]) -> Iterator[str]:
    payload = event.get("payload")
    if payload is None and event.get("event_action") != "trigger":
        return
    if not isinstance(payload, dict):
        yield "'payload' is missing or blank"
        return
    if not _is_text(payload.get("summary"), 1, 1024):
        yield "'payload.summary' is missing, blank or longer than 1024 characters"
    if not _is_text(payload.get("source"), 1, MAX_EVENT):
        yield "'payload.source' is missing or blank"
    if payload.get("severity") not in SEVERITIES:
        yield "'payload.severity' is invalid (must be one of the following: 'critical', 'warning', 'error' or 'info')"
    for name in ("component", "group", "class"):
        if not isinstance(payload.get(name, ""), str):
            yield f"'payload.{name}' is no string"
    if "timestamp" in payload and not _is_time(payload["timestamp"]):
        yield "'payload.timestamp' is no time of ISO 8601"
    if not isinstance(payload.get("custom_details", {}), dict):
        yield "'payload.custom_details' is no object"


def _check_links(event: dict[str, Any]) -> Iterator[str]:
    links = event.get("links", [])
    if not isinstance(links, list):
        yield "'links' is no array"
        return
    for link in links:
        if not (
            isinstance(link, dict) and _is_link(link.get("href")) and isinstance(link.get("text", ""), str)
        ):
            yield "'links' holds an entry without a good href"


def _check_images(event: dict[str, Any]) -> Iterator[str]:
    for image in event.get("images", []):
        if not (isinstance(image, dict) and str(image.get("src")).startswith("https://")):
            yield "'images' holds an entry whose src is not https"


def _is_text(value: object, least: int, most: int) -> bool:
    return isinstance(value, str) and bool(value.strip()) and least <= len(value) <= most


def _is_time(value: object) -> bool:
    try:
        return datetime.fromisoformat(str(value)).tzinfo is not None
    except ValueError:
        return False


def _is_link(value: object) -> bool:
    if not isinstance(value, str) or not value.isascii() or any(c <= " " or c == "\x7f" for c in value):
        return False
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme.lower() in ("http", "https") and bool(parts.netloc)
