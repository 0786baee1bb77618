"""The forms of REDIS_URL, and connections with a login and a certificate to a real Redis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from receiver.config.settings import load_settings
from receiver.engine.jobs import JobQueue
from receiver.engine.queue import WorkQueue
from receiver.engine.simulated_messages import RedisSimulatedMessages
from receiver.errors import ConfigError, StoreError
from receiver.incidents.store import RedisIncidents
from receiver.reviews.service import RedisReviews
from receiver.storage.address import parse_store_url
from receiver.storage.connection import connect, count_shards, store_errors
from receiver.storage.pool import ConnectionPool, build_options
from receiver.storage.script_clock import ScriptClock
from receiver.storage.server_check import RedisServerCheck
from tests.builders import a_group, an_alert
from tests.incidents.test_store_owners import Rules
from tests.ingesting import build_ingester
from tests.redis_servers import Server, needs_redis
from tests.rig import Clock

PASSWORD = "s3cret/p@ss"
QUOTED = "s3cret%2Fp%40ss"
# As documented in docs/redis.md.
DOCS = Path(__file__).parents[2] / "docs" / "redis.md"


def test_sentinels_are_listed_with_the_masters_name() -> None:
    address = parse_store_url(
        "redis+sentinel://user:pw@one:1,two:2,[::1]:3,four/the-master/5?sentinel_password=s"
    )
    assert address.nodes == (("one", 1), ("two", 2), ("::1", 3), ("four", 26379))
    assert (address.service, address.options["db"]) == ("the-master", 5)
    assert (address.options["username"], address.options["password"]) == ("user", "pw")
    assert address.sentinel_options == {"password": "s"}
    assert not address.is_encrypted


def test_a_cluster_has_sixteen_shards_and_all_else_one() -> None:
    assert count_shards("redis+cluster://one:1,two") == 16
    assert {count_shards(f"{one}://x") for one in ("redis", "rediss", "unix", "redis+sentinel")} == {1}


def test_sentinels_and_clusters_can_be_used_over_tls() -> None:
    address = parse_store_url("redis+cluster://one:1?ssl=true")
    assert address.is_encrypted
    address = parse_store_url("redis+sentinel://one:1/m?ssl_ca_certs=/ca.pem")
    assert address.is_encrypted
    assert address.sentinel_options == {"ssl_ca_certs": "/ca.pem"}


def test_a_printed_address_hides_its_passwords() -> None:
    address = parse_store_url("redis+sentinel://user:s3cret@one:1/m?sentinel_password=s3cret")
    assert "s3cret" not in repr(address)


FAULTY = (
    "redis+sentinel://one:1,two:2",
    "redis+sentinel://one:99999/service",
    "redis+sentinel:///service",
    "redis+cluster://one:x",
    "redis+cluster://one:1/3",
    "redis+cluster://,",
)


@pytest.mark.parametrize("url", FAULTY)
def test_an_invalid_address_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_store_url(url.replace("://", "://user:s3cret@"))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", FAULTY)
def test_an_invalid_address_is_reported_together_with_other_faults_of_the_settings(url: str) -> None:
    with pytest.raises(ConfigError, match="REDIS_URL"):
        load_settings({"REDIS_URL": url})


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """A Redis that accepts only TLS connections and only the user that docs/redis.md recommends."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    rule = next(line for line in DOCS.read_text().splitlines() if line.startswith("ACL SETUSER receiver"))
    (folder / "users.acl").write_text(
        rule.replace("ACL SETUSER", "user").replace("PASSWORD", PASSWORD) + "\nuser default off\n"
    )
    server = Server(
        folder,
        *("--tls-cert-file", "server.pem", "--tls-key-file", "server.pem", "--tls-ca-cert-file", "ca.pem"),
        *("--tls-auth-clients", "no", "--aclfile", "users.acl", "--appendonly", "yes"),
        is_encrypted=True,
    )
    url = f"rediss://receiver:{QUOTED}@localhost:{server.port}/0?ssl_ca_certs={folder}/ca.pem"
    server.start(is_awaited=False)
    until_it_answers(server, url)
    yield server, url
    server.kill()


def until_it_answers(server: Server, url: str) -> None:
    from tests.redis_servers import wait_until

    def answers() -> bool:
        try:
            with store_errors():
                return bool(connect(url).ping())
        except StoreError:
            return False

    wait_until(answers, server.read_log)


@needs_redis
def test_the_documented_redis_user_may_run_every_command_of_the_receiver(secured: tuple[Server, str]) -> None:
    client = connect(secured[1])
    now = 1_795_435_200.0
    script_clock = ScriptClock(lambda: now)
    work_queue = WorkQueue(client, script_clock=script_clock)
    work_queue.record_heartbeat("w", now)
    assert work_queue.list_workers(now - 1) == ["w"]
    wakes = work_queue.listen_for_wakes()
    next(wakes)
    work_queue.enqueue("slack", "a-1", now)
    assert work_queue.claim("slack", "w", now, 1).entries == ("a-1",)
    work_queue.renew("slack", "w", ["a-1"], now)
    assert work_queue.release("slack", "w", "a-1", {"slack": now})
    assert work_queue.measure_depth("slack", now)[0] == 1
    job_queue = JobQueue(client, script_clock=script_clock)
    assert job_queue.enqueue("pagerduty", "e", {}, now)
    assert job_queue.record_once("slack", "s", 9)
    simulated = RedisSimulatedMessages(client)
    simulated.save_message({"a": 1})
    assert simulated.list_newest(1)
    assert RedisReviews(client).load_reviews("route").version == 0
    for shards in (1, 16):
        incidents = RedisIncidents(client, history_s=1000, shards=shards)
        ingester = build_ingester(incidents, Rules())
        for alert in (an_alert(), an_alert(), an_alert(ends_at=now)):
            ingester.ingest((a_group(alert, source=f"{shards} shards"),), now)
        assert [one.is_resolved for one in incidents.list_newest(limit=1).incidents] == [True]
    condition = RedisServerCheck(client, Clock())
    condition.check_writable()
    assert condition.list_server_health()[0].policy == "noeviction"
    work_queue.deregister_worker("w")


@needs_redis
def test_the_documented_redis_user_may_run_no_other_command(secured: tuple[Server, str]) -> None:
    client = connect(secured[1])
    for command in (("SET", "other", "1"), ("FLUSHALL",), ("CONFIG", "SET", "maxmemory", "1"), ("KEYS", "*")):
        with pytest.raises(StoreError, match="NOPERM"), store_errors():
            client.execute_command(*command)


@needs_redis
def test_a_certificate_of_an_unknown_authority_is_refused(secured: tuple[Server, str]) -> None:
    with pytest.raises(StoreError) as caught, store_errors():
        connect(secured[1].partition("?")[0]).ping()
    assert PASSWORD not in str(caught.value)


@needs_redis
def test_a_wrong_password_is_reported_without_showing_it(secured: tuple[Server, str]) -> None:
    with pytest.raises(StoreError, match="password of REDIS_URL") as caught, store_errors():
        connect(secured[1].replace(QUOTED, "wr0ng")).ping()
    assert "wr0ng" not in str(caught.value)


OPTIONS = {
    "db": "1",
    "username": "me",
    "password": "pw",
    "client_name": "receiver",
    "socket_timeout": "1.5",
    "socket_connect_timeout": "1.5",
    "socket_keepalive": "true",
    "health_check_interval": "5",
    "max_connections": "9",
    "ssl_ca_certs": "/ca.pem",
    "ssl_ca_path": "/ca",
    "ssl_certfile": "/cert.pem",
    "ssl_keyfile": "/key.pem",
    "ssl_password": "pw",
    "ssl_cert_reqs": "required",
    "ssl_check_hostname": "true",
    "ssl_ciphers": "HIGH",
}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize(
    "url", ["redis://h", "rediss://h", "unix:///s", "redis+sentinel://h/s", "redis+cluster://h"]
)
def test_a_connection_can_be_opened_with_every_option_of_the_settings(url: str, option: str) -> None:
    url = f"{url}?{option}={OPTIONS[option]}"
    try:
        load_settings({"REDIS_URL": url})
    except ConfigError:
        assert option.startswith(("ssl_", "socket_", "db")), "taken with every address"
        return
    address = parse_store_url(url)
    ConnectionPool(
        connection_class=address.connection_class, **{**build_options(2.0), **address.options}
    ).make_connection()
