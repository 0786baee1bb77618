from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.mocks.slack import MockSlack


@pytest.fixture
def slack() -> Iterator[MockSlack]:
    with MockSlack(clock=lambda: 1_795_435_380.0) as server:
        yield server
