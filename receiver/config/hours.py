"""The business hours of routing.yaml."""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo

from receiver.business_hours import BusinessHours, find_country
from receiver.config.nodes import MappingNode, Node, describe_node, iter_items
from receiver.config.report import Diagnostics
from receiver.config.values import read_table, read_text

KEYS = ("timezone", "days", "from", "to", "holidays")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = re.compile(r"([01]?[0-9]|2[0-4]):([0-5][0-9])", re.ASCII)


def read_business_hours(root: MappingNode, diagnostics: Diagnostics) -> BusinessHours | None:
    """Return the business hours, None where the file has none; what is left out has a default."""
    table = read_table(root.find_node("business_hours"), diagnostics, KEYS)
    if table is None:
        return None
    standard = BusinessHours()
    start = _read_time(table.find_node("from"), diagnostics, standard.start)
    end = _read_time(table.find_node("to"), diagnostics, standard.end)
    if start >= end:
        diagnostics.error(
            table.line, "business_hours.from is not before business_hours.to", "an earlier time"
        )
    return BusinessHours(
        timezone=_read_timezone(table.find_node("timezone"), diagnostics, standard.timezone),
        days=_read_days(table.find_node("days"), diagnostics, standard.days),
        start=start,
        end=end,
        holidays=_read_country(table.find_node("holidays"), diagnostics),
    )


def _read_timezone(node: Node | None, diagnostics: Diagnostics, default: str) -> str:
    name = read_text(node, diagnostics)
    if node is None or not name:
        return default
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        # Not every machine has the list of zones, and UTC needs none.
        if name != "UTC":
            diagnostics.error(
                node.line, f"{describe_node(node)} is no time zone", "one like UTC or Europe/Berlin"
            )
            return default
    return name


def _read_days(node: Node | None, diagnostics: Diagnostics, default: frozenset[int]) -> frozenset[int]:
    """Read `mon-fri`, `mon,wed` or a list of such; a span may run over the week's end."""
    days: set[int] = set()
    for member in iter_items(node):
        for span in re.split(r"\s*,\s*", read_text(member, diagnostics)):
            first, _, last = span.lower().partition("-")
            first, last = first.strip()[:3], (last or first).strip()[:3]
            if first not in _DAYS or last not in _DAYS:
                diagnostics.error(member.line, f"{describe_node(member)} are no days", "mon-fri or mon,wed")
                break
            start = _DAYS.index(first)
            days.update((start + n) % 7 for n in range((_DAYS.index(last) - start) % 7 + 1))
    return frozenset(days) or default


def _read_time(node: Node | None, diagnostics: Diagnostics, default: int) -> int:
    """Return the minutes since midnight of `09:00`; `24:00` is the day's end."""
    text = read_text(node, diagnostics)
    if node is None or not text:
        return default
    found = _TIME.fullmatch(text)
    minutes = int(found[1]) * 60 + int(found[2]) if found else -1
    if 0 <= minutes <= 24 * 60:
        return minutes
    diagnostics.error(node.line, f"{describe_node(node)} is no time of day", 'one like "09:00"')
    return default


def _read_country(node: Node | None, diagnostics: Diagnostics) -> str:
    text = read_text(node, diagnostics)
    if node is None or not text:
        return ""
    country = find_country(text)
    if country is None:
        is_part = find_country(text.partition("-")[0]) is not None
        expected = "one of its parts, like DE-BY" if is_part else "a code of two letters like US"
        diagnostics.error(node.line, f"{describe_node(node)} is no country", expected)
        return ""
    return country
