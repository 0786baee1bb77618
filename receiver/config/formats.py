"""The formats of single values, such as tokens, URLs, durations, channels and times of day."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from zoneinfo import ZoneInfo

from receiver.business_hours import find_country
from receiver.clock import format_duration, parse_duration
from receiver.config.fields import Fault, Format, Reader
from receiver.config.mistakes import BOT_TOKEN, BOT_TOKENS, find_wrong_slack_token
from receiver.config.urls import find_host, find_store_mistake, find_url_mistake
from receiver.config.yaml_tree import ScalarNode
from receiver.model.alert import LABEL, MAX_WORD, describe_unknown_severity, normalize_word
from receiver.model.routing import Matcher, RateLimit, parse_matcher
from receiver.runbooks.section_titles import normalize_title
from receiver.text import Secret, truncate_text

Network = IPv4Network | IPv6Network
MAX_DURATION_S = 10 * 365 * 86400.0
MAX_COUNT = 1_000_000
TEXT = Format(str, types=("string", "number", "boolean"))
VERSION = Format(str, "1", mistake=("is unknown", "version: 1"), types=("integer", "string"), bounds=(1, 1))


def by_pattern(pattern: str, what: str, expected: str) -> Format[str]:
    """A text of this form; any other is the fault that *what* and *expected* describe."""
    return Format(str, pattern, mistake=(what, expected))


def duration(least: float = 0.0) -> Format[float]:
    """Seconds, from *least* to ten years."""

    def parse(text: str) -> float:
        seconds = parse_duration(text)
        if least <= seconds <= MAX_DURATION_S:
            return seconds
        raise Fault("is out of bounds", f"at least {least:g}s" if seconds < least else "ten years at most")

    return Format(
        parse,
        schema_pattern=r"0|(?:\d+y)?(?:\d+w)?(?:\d+d)?(?:\d+h)?(?:\d+m)?(?:\d+s)?(?:\d+ms)?",
        mistake=("is no duration", "one like 30s, 5m or 1h30m"),
        types=("string", "integer"),
        bounds=(0, 0),
        form="a duration like 30s, 5m or 1h30m",
        is_empty_absent=False,
        write=lambda seconds: format_duration(seconds) if seconds else "0",
    )


def count(least: int, most: int = MAX_COUNT) -> Format[int]:
    expected = f"a whole number from {least} " + ("on" if most == MAX_COUNT else f"to {most}")
    mistake = ("is no usable number", expected)

    def parse(text: str) -> int:
        if re.fullmatch(r"[0-9]{1,7}", text, re.ASCII) and least <= int(text) <= most:
            return int(text)
        raise Fault(*mistake)

    return Format(
        parse,
        schema_pattern="[0-9]+",
        types=("integer", "string"),
        bounds=(least, most),
        form=expected,
        is_empty_absent=False,
    )


_RATE_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}
_UNIT_NAMES = {size: unit for unit, size in _RATE_UNITS_S.items()}


def _parse_rate(text: str) -> RateLimit:
    number, unit = text.split("/")
    return RateLimit(int(number), _RATE_UNITS_S[unit.strip()])


RATE = Format(
    _parse_rate,
    r"([1-9][0-9]{0,5})\s*/\s*([smh])",
    mistake=("is no rate", "one like 1/s, 50/m or 1000/h"),
    form="a rate like 1/s, 50/m or 1000/h",
    is_empty_absent=False,
    write=lambda rate: f"{rate.count}/{_UNIT_NAMES[rate.per_s]}",
)


# --- tokens and addresses: never quoted ---


def _parse_secret(text: str) -> Secret:
    if re.search(r"\s", text):
        raise Fault("has blanks in it", "a token")
    return Secret(text)


def slack_token(prefix: str = "") -> Format[Secret]:
    """A token that is no Slack token of another kind than *prefix*."""
    return Format(_parse_secret, find_mistake=partial(find_wrong_slack_token, prefix=prefix), is_secret=True)


# https://developer.pagerduty.com/docs/events-api-v2-overview
_ROUTING_KEY = re.compile("[A-Za-z0-9]{32}")

SECRET = Format(_parse_secret, types=("string", "number"), is_secret=True)
FILE_BOT_TOKEN = replace(
    slack_token(BOT_TOKEN),
    is_odd=lambda token: not token.reveal().startswith(BOT_TOKENS),
    oddity=(" has not the form of a bot token", f"one like {BOT_TOKEN}…"),
)
ROUTING_KEY = replace(
    SECRET,
    is_odd=lambda key: not _ROUTING_KEY.fullmatch(key.reveal()),
    oddity=(" has not the form of a PagerDuty integration key", "32 letters and digits"),
)


def _split_words(text: str, *fault: str) -> tuple[str, ...]:
    """Split at commas and drop duplicates; a text without a word is *fault*."""
    found = tuple(dict.fromkeys(word for word in map(str.strip, text.split(",")) if word))
    if not found:
        raise Fault(*fault)
    return found


# An empty token must not let every client in, so a text without a token is a fault.
TOKENS = Format(
    lambda text: tuple(map(Secret, _split_words(text, "holds no token", "tokens separated by commas"))),
    is_secret=True,
)

_WEB = r"https?://\S+"
URL = Format(str, schema_pattern=_WEB, find_mistake=find_url_mistake, is_secret=True)
# Paths are appended to it, so it may have no query and loses its trailing `/`.
BASE_URL = replace(
    URL, parse=lambda text: text.rstrip("/"), find_mistake=partial(find_url_mistake, is_base=True)
)
# slack_sdk appends its methods to a URL with a trailing `/`.
FOLDER_URL = replace(BASE_URL, parse=lambda text: text.rstrip("/") + "/")
STORE_URL = Format(Secret, find_mistake=find_store_mistake, is_secret=True)


# --- users, hosts and networks in the environment ---


def words(expected: str) -> Format[tuple[str, ...]]:
    """Words separated by commas, without duplicates."""
    return Format(lambda text: _split_words(text, "holds no name", expected))


_HOSTS = "names of hosts separated by commas, without port, like receiver.internal"
_NETWORKS = "addresses or networks separated by commas, like 10.0.0.5 or 10.1.0.0/16"
_HOST = re.compile(r"[0-9A-Za-z_-]+(?:\.[0-9A-Za-z_-]+)*")
# Headers that every browser sends, or that have another meaning here, identify no user.
_NO_NAMES = "authorization|cookie|host|origin|user-agent|accept|referer"


def _parse_hosts(text: str) -> tuple[str, ...]:
    found = words(_HOSTS).parse(text)
    if not all(len(word) <= 253 and _HOST.fullmatch(word) for word in found):
        raise Fault("holds what is no name of a host", _HOSTS)
    return tuple(word.lower() for word in found)


def _parse_networks(text: str) -> tuple[Network, ...]:
    found = tuple(map(ip_network, words(_NETWORKS).parse(text)))
    if any(network.prefixlen == 0 for network in found):
        raise Fault("trusts every address", _NETWORKS)
    return found


HOSTS = Format(_parse_hosts)
NETWORKS = Format(_parse_networks, mistake=("holds something that is no address and no network", _NETWORKS))
HEADER = by_pattern(
    rf"(?!(?i:{_NO_NAMES})$)[A-Za-z][A-Za-z0-9-]{{0,63}}",
    "is no header with a user's name",
    "one like X-Forwarded-User",
)


# --- Slack's names ---

_CHANNEL = r"#[^\s#@,:<>&]{1,80}|[CGD][A-Z0-9]{2,20}"
_HANDLE = r"@[^\s@#<>&|]{1,80}|[UWS][A-Z0-9]{2,20}"
_MEMBER = r"(?:@[^\s@]{1,80}|#[^\s#]{1,80}|[UW][A-Z0-9]{3,20})(?: members)?"
MEMBERS = '"@group", "@user", "#channel" for its members, or the ID of a user'


def is_channel(text: str) -> bool:
    """Return whether *text* has the form of a Slack channel's name or ID."""
    return bool(re.fullmatch(_CHANNEL, text))


CHANNEL = replace(
    by_pattern(_CHANNEL, "is no Slack channel", "#name or an ID (C…, G…, D…)"),
    is_odd=lambda channel: channel.startswith("#") and channel != channel.lower(),
    oddity=(": Slack knows channels in lower case only", ""),
)
HANDLE = by_pattern(_HANDLE, "is no user or group of Slack", "@name or an ID (U…, W…, S… for a user group)")
MEMBER = replace(by_pattern(_MEMBER, "is no user, group or channel of Slack", MEMBERS), is_empty_absent=False)


# --- matchers, severities and runbooks ---

# A regular expression that only lists words, like `critical|page`; what any other one matches is unknown.
_LISTED = re.compile(r"\(?((?:[\w-]+)(?:\|[\w-]*)*)\)?")


class _MatcherFormat(Format[Matcher]):
    """A matcher; it interprets severities by the words of the file."""

    def parse_node(self, node: ScalarNode, reader: Reader) -> Matcher:
        is_literal = node.value == node.raw.strip()  # else it may contain a secret
        try:
            matcher = parse_matcher(node.value, reader.severities)
        except (ValueError, RecursionError) as error:
            cause = error.__cause__
            is_shown = is_literal and isinstance(cause, ValueError)
            reason = f": {truncate_text(str(cause), 80)}" if is_shown else ""
            raise Fault(f"is no matcher{reason}", """one like 'severity="critical"'""") from None
        for word in _list_words(matcher) if matcher.name == LABEL and is_literal else ():
            if unknown := reader.severities.find_unknown_word({LABEL: word}):
                what = f"{node.path} has the {describe_unknown_severity(unknown)}"
                reader.diagnostics.warning(node.line, what, "a known one, or that word in `severities`")
        return matcher


def _list_words(matcher: Matcher) -> tuple[str, ...]:
    """Return the values that the matcher lists, if its form allows that."""
    if matcher.operator in ("=", "!="):
        return (matcher.value,)
    listed = _LISTED.fullmatch(matcher.value)
    return tuple(listed[1].split("|")) if listed else ()


MATCHER = _MatcherFormat(
    parse_matcher,
    schema_pattern=r"[^=!~]+(?:=~|!~|!=|=)(?:.|\n)*",
    form="""a matcher like 'severity="critical"'""",
    is_empty_absent=False,
)


def _parse_word(text: str) -> str:
    word = normalize_word(text)
    if not word or len(text) > MAX_WORD:
        what = f"is longer than {MAX_WORD} characters" if word else "is empty"
        raise Fault(what, "a word as alerts have it")
    return word


WORD = Format(_parse_word, types=("string", "number", "boolean"), is_empty_absent=False)


class _RunbookFormat(Format["Path | str"]):
    """A file or folder, which may not be there yet; or the host of `https://host/`."""

    def parse_node(self, node: ScalarNode, reader: Reader) -> Path | str:
        text = node.value
        if "://" in text:
            # Text fetched without TLS can be forged on the way, and we post it in our messages.
            host = find_host(text) if text.lower().startswith("https://") else ""
            if not host:
                raise Fault("is no usable address", "https://host/")
            return host
        if "\0" in text:
            raise Fault("is no path", "a file or folder")
        return reader.folder / text


def _is_missing(place: Path | str) -> bool:
    try:
        return isinstance(place, Path) and not place.exists()
    except OSError:  # a name that is too long, or a folder without permission
        return True


RUNBOOK = _RunbookFormat(
    str, is_odd=_is_missing, oddity=(" is not there", "a Markdown file or a folder of them")
)


def _parse_section_title(text: str) -> str:
    if not normalize_title(text):
        raise Fault("has no letters", "the title of a section")
    return text.strip()


SECTION_TITLE = Format(_parse_section_title, types=("string", "number", "boolean"), is_empty_absent=False)


# --- business hours ---

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _parse_days(text: str) -> frozenset[int]:
    """Parse `mon-fri` or `mon,wed`; a range may wrap around the end of the week."""
    days: set[int] = set()
    for span in re.split(r"\s*,\s*", text):
        first, _, last = span.lower().partition("-")
        start, end = (_DAYS.index(day.strip()[:3]) for day in (first, last or first))
        days.update((start + n) % 7 for n in range((end - start) % 7 + 1))
    return frozenset(days)


def _parse_time(text: str) -> int:
    """Parse `09:00` into minutes since midnight; `24:00` is the end of the day."""
    hours, minutes = map(int, text.split(":"))
    if hours * 60 + minutes > 24 * 60:
        raise ValueError(text)
    return hours * 60 + minutes


def _parse_country(text: str) -> str:
    if country := find_country(text):
        return country
    is_part = find_country(text.partition("-")[0]) is not None
    raise Fault(
        "is no country", "one of its parts, like DE-BY" if is_part else "a code of two letters like US"
    )


TIMEZONE = Format(  # some systems have no time zone database; UTC works without one
    lambda name: name if name == "UTC" else ZoneInfo(name).key,
    mistake=("is no time zone", "one like UTC or Europe/Berlin"),
)
DAYS = Format(_parse_days, mistake=("are no days", "mon-fri or mon,wed"))
# YAML 1.1 reads 8:30 as a number.
TIME = Format(
    _parse_time,
    r"([01]?[0-9]|2[0-4]):([0-5][0-9])",
    mistake=("is no time of day", 'one like "09:00"'),
    types=("string", "integer"),
    write=lambda minutes: f'"{minutes // 60:02}:{minutes % 60:02}"',
)
COUNTRY = Format(_parse_country, types=("string", "boolean"))
