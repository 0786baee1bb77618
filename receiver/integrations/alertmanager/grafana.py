"""What Grafana adds to the alerts of its webhooks: links, an image, and the values of a rule's queries.

`ExtendedAlert`: https://github.com/grafana/alerting/blob/main/templates/template_data.go
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import isnan

from msgspec import DecodeError, json

from receiver.model.labels import is_private
from receiver.text import one_line

# The fields of an alert that become annotations of the same name.
LINKS = ("silenceURL", "dashboardURL", "panelURL", "imageURL")
VALUES = "values"
_MAX_VALUES = 20
_MAX_NAME = 60
# `[ var='B0' metric='up' labels={job=node} value=97.25 ], […]`, the only form before Grafana 9
_VALUE = re.compile(
    r"\[ var='([^']{1,200})'(?: metric='[^']{0,1000}')? labels=\{[^\[\]]{0,4000}\} value=([^ \]]{1,60})"
)


def add_grafana_fields(
    annotations: Mapping[str, str], links: Iterable[tuple[str, str]], values: object, value_string: str
) -> dict[str, str]:
    """Return *annotations* with the *links*, by name, and with the values as `A=97.25, C=1`, without private
    annotations. Grafana sends the values as private annotations to an Alertmanager that is not its own.
    """
    found = {name: text for name, text in annotations.items() if not is_private(name)}
    for name, url in links:
        if url:
            found.setdefault(name, url)
    text = _format_values(values) or _format_values(_parse_object(annotations.get("__values__", "")))
    text = text or _format_pairs(_VALUE.findall(value_string or annotations.get("__value_string__", "")))
    if text:
        found.setdefault(VALUES, text)
    return found


def _parse_object(text: str) -> object:
    try:
        return json.decode(text)
    except (DecodeError, UnicodeError, RecursionError):
        return None


def _format_values(values: object) -> str:
    if not isinstance(values, Mapping):
        return ""
    return _format_pairs((str(name), values[name]) for name in sorted(values, key=str))


def _format_pairs(pairs: Iterable[tuple[str, object]]) -> str:
    formatted = [f"{one_line(name, _MAX_NAME)}={_format_value(value)}" for name, value in pairs]
    more = len(formatted) - _MAX_VALUES
    return ", ".join(formatted[:_MAX_VALUES]) + (f" +{more} more" if more > 0 else "")


def _format_value(value: object) -> str:
    """Return a number with six digits that count; `no value` for null and NaN."""
    try:
        number = float(str(value))
    except ValueError:
        return "no value" if value is None else one_line(str(value), _MAX_NAME)
    if isnan(number):
        return "no value"
    return f"{number:.0f}" if 1e6 <= abs(number) < 1e15 else f"{number:.6g}"
