"""The fixture `rig`: the whole receiver on the Valkey of the test run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.storage.connection import Client
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack
from tests.rig import Clock, Rig
from tests.valkey import redis_client, valkey_url

__all__ = ["redis_client", "rig", "valkey_url"]


@pytest.fixture
def rig(tmp_path: Path, valkey_url: str, redis_client: Client) -> Iterator[Rig]:
    clock = Clock()
    with MockSlack(clock=clock) as slack, MockPagerDuty(clock=clock) as pagerduty:
        rig = Rig(tmp_path, valkey_url, slack, pagerduty, clock)
        yield rig
