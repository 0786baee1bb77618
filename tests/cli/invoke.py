"""Runs a command of `receiver` in this process, with only the environment that the test gives."""

from __future__ import annotations

import os
import re

from click.testing import CliRunner, Result

from receiver.cli import main

_OURS = re.compile(
    r"RECEIVER_|SLACK_|PAGERDUTY_|REDIS_|PUBLIC_URL|ALERTMANAGER_|PROMETHEUS_|USER$|.*_PROXY", re.IGNORECASE
)


def receiver(*arguments: object, **environ: str) -> Result:
    """Return output and exit code of `receiver ARGUMENTS`; a traceback fails the test."""
    unset: dict[str, str | None] = {name: None for name in os.environ if _OURS.match(name)}
    result = CliRunner().invoke(main, [str(each) for each in arguments], env={**unset, **environ})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result
