"""Read the alerting rules from Prometheus: their names, severities and runbook links.

https://prometheus.io/docs/prometheus/latest/querying/api/#rules
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from receiver.cache import Cache
from receiver.errors import DeliveryError
from receiver.http_client import parse_base_url, send_request

_TIMEOUT_S = 2.0
_TTL_S = 60.0
_RULES_AT_MOST = 10_000


@dataclass(frozen=True)
class AlertRule:
    """One alerting rule. *severity* is empty if the rule sets none or sets it from a template."""

    name: str
    severity: str = ""
    runbook_url: str = ""


@dataclass(frozen=True)
class AlertRules:
    """All alerting rules, or in *error* the reason why they could not be read."""

    rules: tuple[AlertRule, ...] = ()
    error: str = ""


class PrometheusRules:
    """Reads the rules from Prometheus, cached for a minute. Threads may share it."""

    def __init__(self, url: str, clock: Callable[[], float]) -> None:
        self._address = parse_base_url(url)
        self._rules = Cache(
            "prometheus rules", lambda _: self._fetch_rules(), clock, ttl_s=_TTL_S, retry_s=_TTL_S
        )

    def get_rules(self) -> AlertRules:
        """Return the rules, from the cache or with one request (timeout 2 s). Never raises."""
        return self._rules.get_value()

    def _fetch_rules(self) -> AlertRules:
        try:
            response = send_request("GET", self._address, "/api/v1/rules?type=alert", timeout_s=_TIMEOUT_S)
        except DeliveryError as error:
            return AlertRules(error=f"Prometheus can't be reached: {error.detail}")
        if not response.is_ok:
            return AlertRules(error=f"Prometheus answered {response.status}")
        try:
            return AlertRules(tuple(_parse_rules(json.loads(response.body))))
        except (ValueError, RecursionError, TypeError, AttributeError, KeyError):
            return AlertRules(error="what answers at Prometheus' address is none")


def _parse_rules(body: Any) -> Iterator[AlertRule]:
    left = _RULES_AT_MOST
    for group in body["data"]["groups"]:
        for rule in group["rules"]:
            if rule.get("type") != "alerting" or not left:
                continue
            left -= 1
            severity = str(rule.get("labels", {}).get("severity", ""))
            runbook = str(rule.get("annotations", {}).get("runbook_url", ""))
            yield AlertRule(str(rule["name"]), "" if "{{" in severity else severity, runbook)
