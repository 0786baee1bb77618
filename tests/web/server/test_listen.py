"""The listen address, and who can connect to it."""

from __future__ import annotations

import socket

import pytest

from receiver.web.server.listen import (
    AddressError,
    ListenAddress,
    bound_address,
    open_listener,
    parse_address,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9080", ListenAddress("127.0.0.1", 9080)),
        ("[::1]:9080", ListenAddress("::1", 9080)),
        ("localhost:0", ListenAddress("localhost", 0)),
    ],
)
def test_a_listen_address_is_parsed_and_formatted(text: str, address: ListenAddress) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", "9080", ":9080", "::1:9080", "[::1]", "host:99999", "host:-1", "http://h:80"]
)
def test_an_invalid_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no address like"):
        parse_address(text)


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example.org", False),
    ],
)
def test_only_loopback_addresses_are_loopback(host: str, is_loopback: bool) -> None:
    assert ListenAddress(host, 80).is_loopback is is_loopback


def test_the_url_of_a_wildcard_address_is_loopback() -> None:
    assert ListenAddress("0.0.0.0", 80).url == "http://127.0.0.1:80"
    assert ListenAddress("::", 80).url == "http://[::1]:80"


def test_port_0_takes_a_free_one() -> None:
    address = ListenAddress("127.0.0.1", 0)
    with open_listener(address) as listener:
        bound = bound_address(listener, address)
        with socket.create_connection((bound.host, bound.port), timeout=5):
            pass


def test_a_foreign_address_is_reported() -> None:
    with pytest.raises(AddressError, match="can't listen on 192\\.0\\.2\\.1:0"):
        open_listener(ListenAddress("192.0.2.1", 0))
