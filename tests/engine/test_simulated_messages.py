"""The stored messages of simulated channels, on fakeredis: a real server adds nothing here."""

from __future__ import annotations

import fakeredis
import pytest

from receiver.engine.simulated_messages import RedisSimulatedMessages
from receiver.storage.keys import SIMULATED, SIMULATED_FOR_S, SIMULATED_LIMIT


@pytest.fixture
def client() -> fakeredis.FakeRedis:
    return fakeredis.FakeRedis()


def test_the_newest_message_is_listed_first(client: fakeredis.FakeRedis) -> None:
    simulated = RedisSimulatedMessages(client)
    for number in range(3):
        simulated.save_message({"text": f"message {number}"})
    assert [message["text"] for message in simulated.list_newest(2)] == ["message 2", "message 1"]


def test_the_number_and_age_of_stored_messages_are_bounded(client: fakeredis.FakeRedis) -> None:
    simulated = RedisSimulatedMessages(client)
    for number in range(SIMULATED_LIMIT + 20):
        simulated.save_message({"number": number})
    assert len(simulated.list_newest(10_000)) == SIMULATED_LIMIT
    assert 0 < client.ttl(SIMULATED) <= SIMULATED_FOR_S


def test_without_messages_the_list_is_empty(client: fakeredis.FakeRedis) -> None:
    assert RedisSimulatedMessages(client).list_newest(10) == []
