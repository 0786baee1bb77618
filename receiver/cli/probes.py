"""The online checks of `receiver check --online`: each reads a little from one service; no pages are sent.

The only thing they write is a key in Redis that expires after a minute.

They use plain HTTP instead of the vendors' clients, which may be imported in `integrations/` only; a
short timeout and the status suffice here.
"""

from __future__ import annotations

from dataclasses import replace

from receiver.cli.configuration import ENVIRONMENT, Config, Findings
from receiver.cli.vendor_probes import TIMEOUT_S, PagerDutyProbe, SlackProbe, send_get
from receiver.clock import now
from receiver.config.settings import CALLBACK
from receiver.errors import ProviderUnavailable, StoreError, TemporaryDeliveryError
from receiver.http_client import as_object, parse_base_url, send_request
from receiver.model.alert import LABEL, describe_unknown_severity
from receiver.text import one_line

_WORDS_AT_MOST = 10


def probe_all(config: Config, findings: Findings) -> None:
    """Check every service that *config* names, one after the other."""
    settings, routing = config.settings, config.routing
    if settings.redis_url:
        _probe_redis(settings.redis_url.reveal(), findings)
    if routing.slack_token:
        slack = parse_base_url(settings.slack_api_url).with_token(routing.slack_token.reveal())
        SlackProbe(slack, findings).probe_routing(routing)
    _probe_pagerduty_keys(config, findings)
    if routing.pagerduty_api_token:
        url, token = settings.pagerduty_api_url, routing.pagerduty_api_token.reveal()
        pagerduty = replace(parse_base_url(url), login=f"Token token={token}")
        PagerDutyProbe(pagerduty, findings).probe_services(routing)
    for alertmanager in routing.alertmanagers.values():
        for url in alertmanager.urls:
            _probe_alertmanager(url, findings)
    if routing.prometheus_url:
        _probe_prometheus(config, findings)
    if settings.oidc_issuer:
        _probe_provider(config, findings)
    if not (findings.errors or findings.passed):
        findings.add_passed("nothing to try online: no token, key or address is set")


def _probe_redis(url: str, findings: Findings) -> None:
    from receiver.storage.connection import connect, count_shards
    from receiver.storage.server_check import RedisServerCheck

    try:
        shards = count_shards(url)
        condition = RedisServerCheck(connect(url, TIMEOUT_S), now, shards=shards)
        condition.check_writable()
        servers = condition.list_server_health()
    except (StoreError, ValueError) as error:
        # redis-py's ValueError for an invalid part, such as a port, quotes the URL with its password.
        reason = one_line(str(error), 200) if isinstance(error, StoreError) else "it has an unknown form"
        findings.add_error(f"REDIS_URL can't be used: {reason}", "a Redis that answers", file=ENVIRONMENT)
        return
    faults = dict.fromkeys(server.problem for server in servers if server.problem)
    for fault in faults:
        findings.add_error(fault, file=ENVIRONMENT)
    for warning in dict.fromkeys(warning for server in servers for warning in server.warnings):
        findings.add_warning(warning, file=ENVIRONMENT)
    if not faults:
        findings.add_passed("Redis takes what it is given")


def _probe_pagerduty_keys(config: Config, findings: Findings) -> None:
    keys = {target.secret for target in config.routing.pagerduty_targets.values() if target.secret}
    if not keys:
        return
    address = parse_base_url(config.settings.pagerduty_events_url)
    try:
        # Any response shows that pages can be sent; there is nothing to read here.
        send_request("GET", address, "", timeout_s=TIMEOUT_S)
    except TemporaryDeliveryError as error:
        findings.add_error(f"PagerDuty's events at {address}: {error.detail}", "a way to it")
        return
    untried = f"{len(keys)} routing {'key is' if len(keys) == 1 else 'keys are'} not tried"
    findings.add_passed(
        f"PagerDuty takes events; {untried}, since that would page somebody: `receiver fire` does"
    )


def _probe_alertmanager(url: str, findings: Findings) -> None:
    address = parse_base_url(url)
    response = send_get(address, "/api/v2/status", "Alertmanager", findings)
    if response is None:
        return
    found = response.parse_json()
    if not response.is_ok or not isinstance(found, dict) or "cluster" not in found:
        what = f"what answers at {address} (status {response.status}) is no Alertmanager"
        findings.add_error(what, "the address of its web page, without a path of ours")
        return
    version = as_object(found.get("versionInfo")).get("version", "")
    findings.add_passed(one_line(f"Alertmanager {version}", 60) + f" answers at {address}")


def _probe_prometheus(config: Config, findings: Findings) -> None:
    address = parse_base_url(config.routing.prometheus_url)
    response = send_get(address, "/-/healthy", "Prometheus", findings)
    if response is None:
        return
    if not response.is_ok:
        findings.add_error(
            f"Prometheus at {address} is not healthy (status {response.status})", "200 at /-/healthy"
        )
        return
    findings.add_passed(f"Prometheus answers at {address}")
    _warn_of_severities(config, findings)


def _warn_of_severities(config: Config, findings: Findings) -> None:
    """Warn of unknown severities in Prometheus' alerting rules, each word once."""
    from receiver.integrations.prometheus import PrometheusRules

    words: dict[str, str] = {}
    for rule in PrometheusRules(config.routing.prometheus_url, now).get_rules().rules:
        if word := config.routing.severities.find_unknown_word({LABEL: rule.severity}):
            words.setdefault(word, one_line(rule.name, 100))
    for word, name in list(words.items())[:_WORDS_AT_MOST]:
        what = f"Prometheus' rule {name} has the {describe_unknown_severity(word)}"
        findings.add_warning(what, "a known one, or that word in `severities`")


def _probe_provider(config: Config, findings: Findings) -> None:
    from receiver.web.auth.oidc import OidcClient

    try:
        issuer = OidcClient(config.settings, now).check_provider()
    except ProviderUnavailable as error:
        what = f"the provider of OIDC_ISSUER can't be asked: {error}"
        findings.add_error(what, "one that answers", file=ENVIRONMENT)
        return
    back = f"{config.settings.public_url}{CALLBACK}"
    findings.add_passed(f"{issuer} has people sign in; {back} must be registered there, and is not tried")
