"""Read the services of routing.yaml: slack, pagerduty, alertmanager(s), prometheus, notices, limits; also
severities and runbooks.

The environment variable of the same meaning is the default of a token or URL that the file omits, so
that the smallest file works with a complete environment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from receiver.config.mistakes import BOT_TOKEN, find_wrong_slack_token, has_form_of_bot_token
from receiver.config.model import AlertmanagerConfig, LimitSettings, RateLimit
from receiver.config.readers import (
    read_any_table,
    read_channel,
    read_count,
    read_duration,
    read_list,
    read_rate,
    read_secret,
    read_table,
    read_text,
    read_texts,
    read_url,
)
from receiver.config.urls import find_host
from receiver.config.yaml_tree import (
    Diagnostics,
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
    describe_node,
    iter_items,
    join_path,
)
from receiver.model.alert import BUILT_IN, MAX_WORD, Severity, SeverityWords, normalize_word
from receiver.text import Secret

ALERTMANAGER_KEYS = ("url", "urls", "look_every", "looks", "trust_after")
LIMIT_KEYS = ("slack_posts", "slack_updates", "pagerduty")
_MIN_POLL_INTERVAL_S = 1.0
_SLACK_KEYS = ("token", "responders")
_RESPONDER = re.compile(r"@[^\s@]{1,80}|#[^\s#]{1,80}|[UW][A-Z0-9]{3,20}")
_RESPONDERS = '"@group", "@user", "#channel" for its members, or the ID of a user'


def read_slack_token(root: MappingNode, diagnostics: Diagnostics, environ: Mapping[str, str]) -> Secret:
    """Return slack.token; an empty one is a warning, since Slack is simulated then."""
    table = read_table(root.find_node("slack"), diagnostics, _SLACK_KEYS)
    node = _find_or_default(table, root, "slack", "token", environ.get("SLACK_BOT_TOKEN", ""))
    token = read_secret(node, diagnostics)
    if not token:
        diagnostics.warning(node.line, "slack.token is empty: Slack is simulated")
    elif mistake := find_wrong_slack_token(token.reveal(), BOT_TOKEN):
        diagnostics.error(node.line, f"slack.token {mistake[0]}", mistake[1])
    elif not has_form_of_bot_token(token.reveal()):
        diagnostics.warning(
            node.line, "slack.token has not the form of a bot token", f"one like {BOT_TOKEN}…"
        )
    return token


def read_slack_responders(root: MappingNode, diagnostics: Diagnostics) -> tuple[str, ...]:
    """Return slack.responders: who may respond in Slack; empty if every member of the workspace may."""
    table = root.find_node("slack")
    node = table.find_node("responders") if isinstance(table, MappingNode) else None
    found = []
    for member in read_list(node, diagnostics):
        name = read_text(member, diagnostics).removesuffix(" members")
        if _RESPONDER.fullmatch(name):
            found.append(name)
        else:
            diagnostics.error(member.line, f"{describe_node(member)} is nobody in Slack", _RESPONDERS)
    if isinstance(node, SequenceNode) and not node.items:
        diagnostics.error(node.line, "slack.responders is empty: nobody could answer", _RESPONDERS)
    return tuple(found)


def read_pagerduty_token(
    root: MappingNode, diagnostics: Diagnostics, environ: Mapping[str, str], *, is_needed: bool
) -> Secret:
    """Return pagerduty.api_token; an empty one is a warning if *is_needed*: PagerDuty pages a responder."""
    table = read_table(root.find_node("pagerduty"), diagnostics, ("api_token",))
    node = _find_or_default(table, root, "pagerduty", "api_token", environ.get("PAGERDUTY_API_TOKEN", ""))
    token = read_secret(node, diagnostics)
    if not token and is_needed:
        diagnostics.warning(node.line, "pagerduty.api_token is empty: PagerDuty's REST API is not asked")
    return token


def read_prometheus_url(root: MappingNode, diagnostics: Diagnostics, environ: Mapping[str, str]) -> str:
    """Return prometheus.url, empty if unset."""
    table = read_table(root.find_node("prometheus"), diagnostics, ("url",))
    node = _find_or_default(table, root, "prometheus", "url", environ.get("PROMETHEUS_URL", ""))
    return read_url(node, diagnostics, is_base=True)


def read_alertmanagers(
    root: MappingNode, diagnostics: Diagnostics, environ: Mapping[str, str]
) -> dict[str, AlertmanagerConfig]:
    """Return the Alertmanagers that have a URL, by source; the source of `alertmanager:` is ""."""
    several = read_any_table(root.find_node("alertmanagers"), diagnostics)
    if several is None:
        default = environ.get("ALERTMANAGER_URL", "")
        table = read_table(root.find_node("alertmanager"), diagnostics, ALERTMANAGER_KEYS)
        url = _find_or_default(table, root, "alertmanager", "url", default)
        found = {"": _read_alertmanager(table, url, diagnostics)}
    else:
        if "alertmanager" in root.items:
            diagnostics.error(root.lines["alertmanager"], "alertmanager and alertmanagers", "one of the two")
        tables = {
            name: read_table(several.find_node(name), diagnostics, ALERTMANAGER_KEYS)
            for name in several.items
        }
        found = {
            name: _read_alertmanager(table, table.find_node("url"), diagnostics)
            for name, table in tables.items()
            if table
        }
    for source, config in found.items():
        if not config.urls:
            _warn_of_no_alertmanager(source, root, diagnostics)
    return {source: config for source, config in found.items() if config.urls}


def read_sources(root: MappingNode) -> tuple[str, ...]:
    """Return the sources in `alertmanagers`."""
    several = root.find_node("alertmanagers")
    return tuple(several.items) if isinstance(several, MappingNode) else ()


def _warn_of_no_alertmanager(source: str, root: MappingNode, diagnostics: Diagnostics) -> None:
    """Warn that it isn't polled: silences are ignored, and an alert whose resolve was lost stays open."""
    section: Node | MappingNode | None = root.find_node("alertmanagers" if source else "alertmanager")
    line = root.lines.get("alertmanager", 1)
    if source and isinstance(section, MappingNode):
        line, section = section.lines[source], section.find_node(source)
    if isinstance(section, MappingNode):
        line = section.lines.get("url", section.lines.get("urls", line))
    diagnostics.warning(
        line,
        f"{join_path('alertmanagers', source) if source else 'alertmanager'}.url is empty: "
        "Alertmanager is not asked what is silenced or over",
        "its address" if source else "its address, or ALERTMANAGER_URL",
    )


def _read_alertmanager(
    table: MappingNode | None, url: Node | None, diagnostics: Diagnostics
) -> AlertmanagerConfig:
    if table is None:
        return AlertmanagerConfig(_read_urls(url, diagnostics))
    if "url" in table.items and "urls" in table.items:
        diagnostics.error(table.lines["urls"], f"{table.path} has url and urls", "one of the two")
    several = table.find_node("urls")
    return AlertmanagerConfig(
        urls=_read_urls(url if several is None else several, diagnostics),
        poll_interval_s=read_duration(table.find_node("look_every"), diagnostics, 60.0, _MIN_POLL_INTERVAL_S),
        missing_polls=read_count(table.find_node("looks"), diagnostics, 3),
        min_uptime_s=read_duration(table.find_node("trust_after"), diagnostics, 300.0),
    )


def _read_urls(node: Node | None, diagnostics: Diagnostics) -> tuple[str, ...]:
    urls = [read_url(member, diagnostics, is_base=True) for member in iter_items(node)]
    return tuple(dict.fromkeys(url for url in urls if url))


def read_notices_channel(root: MappingNode, diagnostics: Diagnostics) -> str:
    """Return the channel for notices of the receiver itself, empty if unset."""
    table = read_table(root.find_node("notices"), diagnostics, ("channel",))
    return read_channel(table.find_node("channel"), diagnostics) if table else ""


def read_links(node: Node | None, diagnostics: Diagnostics) -> tuple[tuple[str, str], ...]:
    """Return labelled links in the file's order; a link whose expanded URL is empty is left out."""
    table = read_any_table(node, diagnostics)
    links = [(label, read_url(table.find_node(label), diagnostics)) for label in table.items] if table else []
    return tuple((label, url) for label, url in links if label and url)


def read_limits(root: MappingNode, diagnostics: Diagnostics) -> LimitSettings:
    """Return the rate limits, each with its default."""
    standard = LimitSettings()
    table = read_table(root.find_node("limits"), diagnostics, LIMIT_KEYS)
    if table is None:
        return standard
    rates = {
        name: RateLimit(*rate)
        for name in table.items
        if (rate := read_rate(table.find_node(name), diagnostics))
    }
    return LimitSettings(
        slack_posts=rates.get("slack_posts", standard.slack_posts),
        slack_updates=rates.get("slack_updates", standard.slack_updates),
        pagerduty=rates.get("pagerduty", standard.pagerduty),
    )


def _find_or_default(
    table: MappingNode | None, root: MappingNode, section: str, key: str, default: str
) -> Node:
    """Return the node of *key*, or one with the environment's value in its place."""
    if table is not None and (node := table.find_node(key)) is not None:
        return node
    line = table.line if table else root.lines.get(section, 1)
    return ScalarNode(line, join_path(section, key), default.strip(), raw="", is_from_environment=True)


KEYS = tuple(str(severity) for severity in Severity)


def read_severities(root: MappingNode, diagnostics: Diagnostics) -> SeverityWords:
    """Return the built-in words and those of `severities`; a word with two meanings is a fault."""
    table = read_table(root.find_node("severities"), diagnostics, KEYS)
    own: dict[str, tuple[Severity, ScalarNode]] = {}
    for key in KEYS if table else ():
        for node in iter_items(table.find_node(key) if table else None):
            text = read_text(node, diagnostics)
            if isinstance(node, ScalarNode):
                _add_word(own, text, Severity(key), node, diagnostics)
    return SeverityWords({word: severity for word, (severity, _) in own.items()})


def _add_word(
    own: dict[str, tuple[Severity, ScalarNode]],
    text: str,
    severity: Severity,
    node: ScalarNode,
    diagnostics: Diagnostics,
) -> None:
    word = normalize_word(text)
    if not word or len(text) > MAX_WORD:
        what = f"{node.path} is empty" if not word else f"{node.path} is longer than {MAX_WORD} characters"
        diagnostics.error(node.line, what, "a word as alerts have it")
        return
    built_in = BUILT_IN.get(word, severity)
    first, first_item = own.setdefault(word, (severity, node))
    if built_in is not severity:
        diagnostics.error(node.line, f"{describe_node(node)} is built in as {built_in}", "another word")
    elif first is not severity:
        what = f"{describe_node(node)} is {first}, too (line {first_item.line})"
        diagnostics.error(node.line, what, "each word once")


@dataclass(frozen=True)
class RunbookLocations:
    paths: tuple[Path, ...]
    hosts: tuple[str, ...]


def read_runbooks(root: MappingNode, diagnostics: Diagnostics, folder: Path) -> RunbookLocations:
    """Return files and folders, resolved against *folder*, and the hosts of `https://host/`.

    A path that does not exist is a warning: a folder may be mounted later.
    """
    paths: list[Path] = []
    hosts: list[str] = []
    for text, node in read_texts(root.find_node("runbooks"), diagnostics):
        if "://" in text:
            # Text fetched without TLS can be forged on the way, and we post it in our messages.
            host = find_host(text) if text.lower().startswith("https://") else ""
            if not host:
                diagnostics.error(node.line, f"{describe_node(node)} is no usable address", "https://host/")
            hosts.append(host)
        elif "\0" in text:
            diagnostics.error(node.line, f"{describe_node(node)} is no path", "a file or folder")
        else:
            path = folder / text
            if not _exists(path):
                diagnostics.warning(
                    node.line, f"{describe_node(node)} is not there", "a Markdown file or a folder of them"
                )
            paths.append(path)
    return RunbookLocations(tuple(dict.fromkeys(paths)), tuple(dict.fromkeys(hosts)))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, or a folder without permission
        return False
