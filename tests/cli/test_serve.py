"""Beyond loopback nothing starts without tokens, except with --insecure, which is logged as a warning."""

from __future__ import annotations

import logging
from pathlib import Path

import click
import pytest

from receiver.cli.serve import Options, require_tokens
from receiver.config.settings import Settings, load_settings
from receiver.web.server.listen import ListenAddress

TOKENS = {"RECEIVER_WEBHOOK_TOKEN": "hook-token", "RECEIVER_API_TOKEN": "api-token"}


def options(host: str, *, insecure: bool = False) -> Options:
    return Options(Path("routing.yaml"), ListenAddress(host, 9080), Path(".receiver"), 2, insecure)


def settings(*missing: str) -> Settings:
    return load_settings({name: token for name, token in TOKENS.items() if name not in missing})


@pytest.mark.parametrize("missing", [[*TOKENS], *([name] for name in TOKENS)])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "receiver.example"])
def test_an_endpoint_without_its_token_is_refused(host: str, missing: list[str]) -> None:
    with pytest.raises(click.ClickException) as refused:
        require_tokens(options(host), settings(*missing))
    for name in TOKENS:
        assert (name in refused.value.message) == (name in missing)


@pytest.mark.parametrize("missing", [[*TOKENS], *([name] for name in TOKENS)])
def test_insecure_allows_it_and_logs_which_token_is_missing(
    missing: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    require_tokens(options("0.0.0.0", insecure=True), settings(*missing))
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "anybody" in record.getMessage()
    assert record.fields == {"listen": "0.0.0.0:9080", "unset": missing}


@pytest.mark.parametrize("insecure", [False, True])
@pytest.mark.parametrize(
    ("host", "missing"),
    [("0.0.0.0", []), ("127.0.0.1", [*TOKENS]), ("::1", [*TOKENS]), ("localhost", [*TOKENS])],
)
def test_with_tokens_or_on_loopback_nothing_is_logged(
    host: str, missing: list[str], insecure: bool, caplog: pytest.LogCaptureFixture
) -> None:
    require_tokens(options(host, insecure=insecure), settings(*missing))
    assert caplog.records == []
