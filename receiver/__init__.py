"""A webhook receiver for Alertmanager: Slack messages, PagerDuty pages and timed escalation."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("receiver")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0+unknown"
