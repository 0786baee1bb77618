"""`receiver fire`: send a test alert, with labels and annotations as `NAME=VALUE`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import click

from receiver import clock
from receiver.cli.api_client import TIMEOUT_S, ReceiverApiError, build_api, read_error, read_url
from receiver.cli.terminal import print_text, show_examples
from receiver.errors import TemporaryDeliveryError
from receiver.http_client import parse_base_url, send_request
from receiver.http_connection import HttpResponse
from receiver.integrations.alertmanager.sample_alerts import TestAlert
from receiver.model.alert import BUILT_IN_WORDS, describe_unknown_severity
from receiver.text import one_line


def read_pair(text: str) -> tuple[str, str]:
    """Parse `NAME=VALUE` for click; quotes around the value are left to the shell."""
    name, equals, value = text.partition("=")
    if not name.strip() or not equals:
        raise click.BadParameter(f"{text!r} is no NAME=VALUE, like severity=critical")
    return name.strip(), value


def collect_pairs(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return pairs as a mapping; raises click's error for a name with two values."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if found.setdefault(name, value) != value:
            raise click.UsageError(f"{name} is given twice, as {found[name]!r} and as {value!r}")
    return found


SUMMARY = "A test alert, sent with `receiver fire`"
DEFAULT_SEVERITY = "warning"


@click.command(
    epilog=show_examples(
        "receiver fire TestAlert",
        "receiver fire TestAlert --resolve",
        "receiver fire DiskFull --severity critical --label instance=web-1",
        'receiver fire DiskFull --annotation "summary=The disk of web-1 is full"',
        "receiver fire TestAlert --via alertmanager",
    )
)
@click.argument("alertname")
@click.option(
    "--severity",
    default=DEFAULT_SEVERITY,
    show_default=True,
    help="The label `severity`, by which the shipped routes choose. An empty one leaves it out.",
)
@click.option(
    "--label", "labels", multiple=True, type=read_pair, metavar="K=V", help="Another label; may be repeated."
)
@click.option(
    "--annotation", "annotations", multiple=True, type=read_pair, metavar="K=V", help="Words for people."
)
@click.option("--resolve", "is_resolved", is_flag=True, help="End the alert that has these labels.")
@click.option(
    "--via",
    type=click.Choice(["webhook", "alertmanager"]),
    default="webhook",
    show_default=True,
    help="Straight to the receiver, or to Alertmanager, which then tells the receiver.",
)
def fire(
    alertname: str,
    severity: str,
    labels: tuple[tuple[str, str], ...],
    annotations: tuple[tuple[str, str], ...],
    *,
    is_resolved: bool,
    via: str,
) -> None:
    """Send a test alert. It is treated like a real one: where tokens are set, people are paged.

    The labels are the alert's identity: the same ones with --resolve end it. `webhook` posts to
    RECEIVER_URL (http://127.0.0.1:9080 if unset) with RECEIVER_WEBHOOK_TOKEN; `alertmanager` posts
    to ALERTMANAGER_URL.
    """
    sample = TestAlert(
        labels=_gather_labels(alertname, severity, collect_pairs(labels)),
        annotations={"summary": SUMMARY, **collect_pairs(annotations)},
        now=clock.now(),
        is_resolved=is_resolved,
    )
    print_text(_send_webhook(sample) if via == "webhook" else _send_alertmanager(sample))


def _gather_labels(alertname: str, severity: str, labels: Mapping[str, str]) -> dict[str, str]:
    """Return all labels without the empty ones, which Alertmanager drops, too."""
    if labels.get("alertname", alertname) != alertname or not alertname.strip():
        raise click.UsageError("the alert's name is the argument, and can't be empty or another label")
    found = {"alertname": alertname, "severity": severity, **labels}
    return {name: value for name, value in found.items() if value}


def _send_webhook(sample: TestAlert) -> str:
    """Post to the receiver; return a description of the result."""
    api = build_api("RECEIVER_WEBHOOK_TOKEN")
    response = api.send_request("POST", "/webhooks/alertmanager?warnings=true", sample.render_webhook())
    found = response.parse_json()
    if response.is_ok and isinstance(found, dict) and "alerts" in found:
        warnings = found.get("warnings")  # none from an older version
        lines = [
            f"warning: {one_line(str(each), 300)}"
            for each in (warnings if isinstance(warnings, list) else [])
        ]
        return "\n".join([_describe_outcome(sample, found), *lines])
    message = read_error(response)[1] or f"status {response.status}: is RECEIVER_URL right?"
    raise ReceiverApiError(f"{api.address} did not take the alert: {message}")


def _describe_outcome(sample: TestAlert, found: Mapping[str, Any]) -> str:
    name = one_line(sample.labels["alertname"], 100)
    ids = found.get("incidents")
    known = [one_line(str(each), 100) for each in ids] if isinstance(ids, list) else []
    where, end = f"incident {', '.join(known)}" if known else "no incident", _describe_end(sample)
    if found.get("new"):
        return f"{name} fires: {where}.\nSee `receiver show {known[0] if known else 'ID'}`; {end}"
    if found.get("resolved"):
        return f"{name} is resolved: {where}."
    if found.get("rejected"):
        raise ReceiverApiError(f"the receiver could not read {name}, and left it out")
    if sample.is_resolved:
        labels = one_line(", ".join(f"{name}={value}" for name, value in sample.labels.items()), 300)
        return f"Nothing changed: no alert fires with just these labels ({labels})."
    return f"{name} fires already, so no one is notified again: {where}.\nTo start anew, {end}"


def _describe_end(sample: TestAlert) -> str:
    """Return the command that ends the alert, ready to be copied."""
    words, severity = ["receiver", "fire", sample.labels["alertname"]], sample.labels.get("severity", "")
    words += ["--severity", severity] if severity != DEFAULT_SEVERITY else []
    for name, value in sample.labels.items():
        words += ["--label", f"{name}={value}"] if name not in ("alertname", "severity") else []
    return f"end it with `{one_line(shlex.join([*words, '--resolve']), 500)}`."


def _send_alertmanager(sample: TestAlert) -> str:
    """Post to Alertmanager; return a description of what will follow."""
    address = parse_base_url(read_url("ALERTMANAGER_URL"))
    try:
        body = sample.render_post()
        response = send_request("POST", address, "/api/v2/alerts", body=body, timeout_s=TIMEOUT_S)
    except TemporaryDeliveryError as error:
        raise ReceiverApiError(f"no Alertmanager answers at {address}: {error.detail}") from None
    if not response.is_ok:
        refusal = _describe_refusal(response)
        raise ReceiverApiError(f"Alertmanager at {address} did not take the alert: {refusal}")
    name = one_line(sample.labels["alertname"], 100)
    if sample.is_resolved:
        return f"Alertmanager has the end of {name}, and tells the receiver at the next group_interval."
    sentence = (
        f"Alertmanager has {name}, and tells the receiver after its group_wait. Unless it is sent again it "
        "ends by itself after resolve_timeout (5m by default)."
    )
    # Only the receiver knows the words of routing.yaml, and only the webhook's response reports them.
    word = BUILT_IN_WORDS.find_unknown_word(sample.labels)
    if not word:
        return sentence
    warning = describe_unknown_severity(word)
    return f"{sentence}\nwarning: {warning}, unless `severities` in the receiver's routing.yaml has it"


def _describe_refusal(response: HttpResponse) -> str:
    found = response.parse_json()
    message = found.get("message") if isinstance(found, dict) else found
    words = one_line(message, 300) if isinstance(message, str) else ""
    return f"status {response.status}{', ' if words else ''}{words}"
