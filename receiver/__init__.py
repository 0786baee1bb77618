"""Alertmanager in, Slack and PagerDuty out, escalation on timers; nothing lost, nobody paged twice."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("receiver")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0+unknown"
