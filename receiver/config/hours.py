"""The business hours of routing.yaml."""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo

from receiver.config.nodes import Item, Table, describe, walk
from receiver.config.report import Report
from receiver.config.values import read_table, read_text
from receiver.domain.calendar import BusinessHours, find_country

KEYS = ("timezone", "days", "from", "to", "holidays")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = re.compile(r"([01]?[0-9]|2[0-4]):([0-5][0-9])", re.ASCII)


def read_business_hours(root: Table, report: Report) -> BusinessHours | None:
    """Return the business hours, None where the file has none; what is left out has a default."""
    table = read_table(root.find("business_hours"), report, KEYS)
    if table is None:
        return None
    standard = BusinessHours()
    start = _read_time(table.find("from"), report, standard.start)
    end = _read_time(table.find("to"), report, standard.end)
    if start >= end:
        report.fault(table.line, "business_hours.from is not before business_hours.to", "an earlier time")
    return BusinessHours(
        timezone=_read_timezone(table.find("timezone"), report, standard.timezone),
        days=_read_days(table.find("days"), report, standard.days),
        start=start,
        end=end,
        holidays=_read_country(table.find("holidays"), report),
    )


def _read_timezone(item: Item | None, report: Report, default: str) -> str:
    name = read_text(item, report)
    if item is None or not name:
        return default
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        # Not every machine has the list of zones, and UTC needs none.
        if name != "UTC":
            report.fault(item.line, f"{describe(item)} is no time zone", "one like UTC or Europe/Berlin")
            return default
    return name


def _read_days(item: Item | None, report: Report, default: frozenset[int]) -> frozenset[int]:
    """Read `mon-fri`, `mon,wed` or a list of such; a span may run over the week's end."""
    days: set[int] = set()
    for member in walk(item):
        for span in re.split(r"\s*,\s*", read_text(member, report)):
            first, _, last = span.lower().partition("-")
            first, last = first.strip()[:3], (last or first).strip()[:3]
            if first not in _DAYS or last not in _DAYS:
                report.fault(member.line, f"{describe(member)} are no days", "mon-fri or mon,wed")
                break
            start = _DAYS.index(first)
            days.update((start + n) % 7 for n in range((_DAYS.index(last) - start) % 7 + 1))
    return frozenset(days) or default


def _read_time(item: Item | None, report: Report, default: int) -> int:
    """Return the minutes since midnight of `09:00`; `24:00` is the day's end."""
    text = read_text(item, report)
    if item is None or not text:
        return default
    found = _TIME.fullmatch(text)
    minutes = int(found[1]) * 60 + int(found[2]) if found else -1
    if 0 <= minutes <= 24 * 60:
        return minutes
    report.fault(item.line, f"{describe(item)} is no time of day", 'one like "09:00"')
    return default


def _read_country(item: Item | None, report: Report) -> str:
    text = read_text(item, report)
    if item is None or not text:
        return ""
    country = find_country(text)
    if country is None:
        is_part = find_country(text.partition("-")[0]) is not None
        expected = "one of its parts, like DE-BY" if is_part else "a code of two letters like US"
        report.fault(item.line, f"{describe(item)} is no country", expected)
        return ""
    return country
