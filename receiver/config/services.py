"""The services of routing.yaml: slack, pagerduty, alertmanager(s), prometheus, notices and limits.

Where a token or an address isn't given in the file, the environment's variable of the same
meaning stands in, so that the smallest file works with a filled environment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from receiver.config.mistakes import BOT_TOKEN, find_wrong_slack_token, has_form_of_bot_token
from receiver.config.model import AlertmanagerConfig, Limits, Rate
from receiver.config.nodes import Item, List, Table, Text, describe, join, walk
from receiver.config.report import Report
from receiver.config.values import (
    read_any_table,
    read_channel,
    read_count,
    read_duration,
    read_list,
    read_rate,
    read_secret,
    read_table,
    read_text,
    read_url,
)
from receiver.text import Secret

ALERTMANAGER_KEYS = ("url", "urls", "look_every", "looks", "trust_after")
LIMIT_KEYS = ("slack_posts", "slack_updates", "pagerduty")
_LEAST_LOOK_S = 1.0
_SLACK_KEYS = ("token", "responders")
_RESPONDER = re.compile(r"@[^\s@]{1,80}|#[^\s#]{1,80}|[UW][A-Z0-9]{3,20}")
_RESPONDERS = '"@group", "@user", "#channel" for its members, or the ID of a user'


def read_slack_token(root: Table, report: Report, environ: Mapping[str, str]) -> Secret:
    """Return slack.token; an empty one is a warning, for Slack is simulated then."""
    table = read_table(root.find("slack"), report, _SLACK_KEYS)
    item = _find(table, root, "slack", "token", environ.get("SLACK_BOT_TOKEN", ""))
    token = read_secret(item, report)
    if not token:
        report.warn(item.line, "slack.token is empty: Slack is simulated")
    elif mistake := find_wrong_slack_token(token.reveal(), BOT_TOKEN):
        report.fault(item.line, f"slack.token {mistake[0]}", mistake[1])
    elif not has_form_of_bot_token(token.reveal()):
        report.warn(item.line, "slack.token has not the form of a bot token", f"one like {BOT_TOKEN}…")
    return token


def read_slack_responders(root: Table, report: Report) -> tuple[str, ...]:
    """Return slack.responders: who may answer in Slack; none where every member of the workspace may."""
    table = root.find("slack")
    item = table.find("responders") if isinstance(table, Table) else None
    found = []
    for member in read_list(item, report):
        name = read_text(member, report).removesuffix(" members")
        if _RESPONDER.fullmatch(name):
            found.append(name)
        else:
            report.fault(member.line, f"{describe(member)} is nobody in Slack", _RESPONDERS)
    if isinstance(item, List) and not item.items:
        report.fault(item.line, "slack.responders is empty: nobody could answer", _RESPONDERS)
    return tuple(found)


def read_pagerduty_token(
    root: Table, report: Report, environ: Mapping[str, str], *, is_needed: bool
) -> Secret:
    """Return pagerduty.api_token; an empty one is a warning where somebody is paged by PagerDuty."""
    table = read_table(root.find("pagerduty"), report, ("api_token",))
    item = _find(table, root, "pagerduty", "api_token", environ.get("PAGERDUTY_API_TOKEN", ""))
    token = read_secret(item, report)
    if not token and is_needed:
        report.warn(item.line, "pagerduty.api_token is empty: PagerDuty's REST API is not asked")
    return token


def read_prometheus_url(root: Table, report: Report, environ: Mapping[str, str]) -> str:
    """Return prometheus.url, empty where there is none."""
    table = read_table(root.find("prometheus"), report, ("url",))
    item = _find(table, root, "prometheus", "url", environ.get("PROMETHEUS_URL", ""))
    return read_url(item, report, is_base=True)


def read_alertmanagers(
    root: Table, report: Report, environ: Mapping[str, str]
) -> dict[str, AlertmanagerConfig]:
    """Return the Alertmanagers that have an address, by source; the single one's source is ""."""
    several = read_any_table(root.find("alertmanagers"), report)
    if several is None:
        default = environ.get("ALERTMANAGER_URL", "")
        table = read_table(root.find("alertmanager"), report, ALERTMANAGER_KEYS)
        url = _find(table, root, "alertmanager", "url", default)
        found = {"": _read_alertmanager(table, url, report)}
    else:
        if "alertmanager" in root.items:
            report.fault(root.lines["alertmanager"], "alertmanager and alertmanagers", "one of the two")
        tables = {name: read_table(several.find(name), report, ALERTMANAGER_KEYS) for name in several.items}
        found = {
            name: _read_alertmanager(table, table.find("url"), report)
            for name, table in tables.items()
            if table
        }
    for source, config in found.items():
        if not config.urls:
            _warn_of_no_alertmanager(source, root, report)
    return {source: config for source, config in found.items() if config.urls}


def read_sources(root: Table) -> tuple[str, ...]:
    """Return the sources that `alertmanagers` names."""
    several = root.find("alertmanagers")
    return tuple(several.items) if isinstance(several, Table) else ()


def _warn_of_no_alertmanager(source: str, root: Table, report: Report) -> None:
    """Warn that it isn't asked: silences are not heeded, and an alert whose resolve was lost stays open."""
    section: Item | Table | None = root.find("alertmanagers" if source else "alertmanager")
    line = root.lines.get("alertmanager", 1)
    if source and isinstance(section, Table):
        line, section = section.lines[source], section.find(source)
    if isinstance(section, Table):
        line = section.lines.get("url", section.lines.get("urls", line))
    report.warn(
        line,
        f"{join('alertmanagers', source) if source else 'alertmanager'}.url is empty: "
        "Alertmanager is not asked what is silenced or over",
        "its address" if source else "its address, or ALERTMANAGER_URL",
    )


def _read_alertmanager(table: Table | None, url: Item | None, report: Report) -> AlertmanagerConfig:
    if table is None:
        return AlertmanagerConfig(_read_urls(url, report))
    if "url" in table.items and "urls" in table.items:
        report.fault(table.lines["urls"], f"{table.path} has url and urls", "one of the two")
    several = table.find("urls")
    return AlertmanagerConfig(
        urls=_read_urls(url if several is None else several, report),
        look_every=read_duration(table.find("look_every"), report, 60.0, _LEAST_LOOK_S),
        looks=read_count(table.find("looks"), report, 3),
        trust_after=read_duration(table.find("trust_after"), report, 300.0),
    )


def _read_urls(item: Item | None, report: Report) -> tuple[str, ...]:
    urls = [read_url(member, report, is_base=True) for member in walk(item)]
    return tuple(dict.fromkeys(url for url in urls if url))


def read_notices_channel(root: Table, report: Report) -> str:
    """Return the channel for our own troubles, empty where there is none."""
    table = read_table(root.find("notices"), report, ("channel",))
    return read_channel(table.find("channel"), report) if table else ""


def read_links(item: Item | None, report: Report) -> tuple[tuple[str, str], ...]:
    """Return labelled links in the file's order; one whose address came out empty is left out."""
    table = read_any_table(item, report)
    links = [(label, read_url(table.find(label), report)) for label in table.items] if table else []
    return tuple((label, url) for label, url in links if label and url)


def read_limits(root: Table, report: Report) -> Limits:
    """Return the rates, each with its default."""
    standard = Limits()
    table = read_table(root.find("limits"), report, LIMIT_KEYS)
    if table is None:
        return standard
    rates = {name: Rate(*rate) for name in table.items if (rate := read_rate(table.find(name), report))}
    return Limits(
        slack_posts=rates.get("slack_posts", standard.slack_posts),
        slack_updates=rates.get("slack_updates", standard.slack_updates),
        pagerduty=rates.get("pagerduty", standard.pagerduty),
    )


def _find(table: Table | None, root: Table, section: str, key: str, default: str) -> Item:
    """Return the item behind *key*, or the environment's value put in its place."""
    if table is not None and (item := table.find(key)) is not None:
        return item
    line = table.line if table else root.lines.get(section, 1)
    return Text(line, join(section, key), default.strip(), written="", is_stand_in=True)
