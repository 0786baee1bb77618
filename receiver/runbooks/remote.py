"""Fetching runbooks by the link in an alert: only from allowed hosts, and only at public IP addresses.

The link comes from outside and must not lead into our own network (server-side request forgery).
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from urllib.parse import SplitResult, urljoin, urlsplit

from receiver import clock as wall
from receiver.cache import Cache
from receiver.errors import TemporaryDeliveryError
from receiver.http_connection import get_tls_context
from receiver.runbooks.document import parse_document
from receiver.runbooks.html_source import is_html_page, is_sign_in
from receiver.runbooks.matching import Index
from receiver.runbooks.section_titles import BUILT_IN_TITLES, SectionTitles
from receiver.text import one_line

# NAT64's own prefix, https://www.rfc-editor.org/rfc/rfc6052#section-2.1, and IPv4 addresses translated by a
# stateless translator, https://www.rfc-editor.org/rfc/rfc2765#section-2.1
_NAT64 = int(ipaddress.IPv6Address("64:ff9b::"))
_TRANSLATED = int(ipaddress.IPv6Address("::ffff:0:0:0"))
# Not public, although some Python versions say so.
_LOCAL = tuple(
    map(
        ipaddress.ip_network,
        (
            "64:ff9b:1::/48",  # NAT64 of a network's own, https://www.rfc-editor.org/rfc/rfc8215
            "fec0::/10",  # site-local, https://www.rfc-editor.org/rfc/rfc3879
            "3fff::/20",  # examples, https://www.rfc-editor.org/rfc/rfc9637
            "5f00::/16",  # segment identifiers, https://www.rfc-editor.org/rfc/rfc9602
            "192.0.0.0/24",  # protocol assignments, https://www.rfc-editor.org/rfc/rfc6890
            "192.88.99.0/24",  # relays of 6to4, https://www.rfc-editor.org/rfc/rfc7526
            "168.63.129.16/32",  # each machine's host in Azure
        ),
    )
)
# An interface of ISATAP ends in an IPv4 address: https://www.rfc-editor.org/rfc/rfc5214#section-6.1
_ISATAP = (0x00005EFE, 0x02005EFE)


def parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the IP address *host*; None where it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_public(address: str) -> bool:
    """Return whether *address* is a public unicast address: not loopback, private or multicast."""
    found = parse_address(address.partition("%")[0])
    inner = _find_inner(found)
    return found is not None and _is_global(found) and (inner is None or _is_global(inner))


def _is_global(found: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    is_local = any(found in network for network in _LOCAL if network.version == found.version)
    return found.is_global and not found.is_multicast and not is_local


def _find_inner(
    found: ipaddress.IPv4Address | ipaddress.IPv6Address | None,
) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address in an IPv6 one: mapped, compatible, translated, 6to4, ISATAP, NAT64."""
    if not isinstance(found, ipaddress.IPv6Address):
        return None
    if found.ipv4_mapped or found.sixtofour:
        return found.ipv4_mapped or found.sixtofour
    number = int(found)
    is_isatap = (number >> 32) & 0xFFFFFFFF in _ISATAP
    if is_isatap or number >> 32 in (0, _NAT64 >> 32, _TRANSLATED >> 32):
        return ipaddress.IPv4Address(number & 0xFFFFFFFF)
    return None


MAX_BYTES = 256 * 1024
TIMEOUT_S = 3.0
CACHE_S = 600.0
# A failed link is fetched again sooner: its server may only have been restarting.
RETRY_S = 60.0
MAX_REDIRECTS = 3
MAX_AT_ONCE = 4
MAX_CACHED = 500
MAX_URL = 2000
_TEXT_TYPES = ("text/plain", "text/markdown", "text/x-markdown", "application/octet-stream", "")
_HTML_TYPES = ("text/html", "application/xhtml+xml")
_ACCEPT = "text/markdown, text/plain, text/html;q=0.5"
# Opens a connection to (host, port) at an address that was already resolved and checked.
Connect = Callable[[str, int, str], http.client.HTTPConnection]
# Returns the addresses of (host, port).
Resolve = Callable[[str, int], Collection[str]]


class FetchError(Exception):
    """A link cannot be fetched; leaves this module as a TemporaryDeliveryError."""


class RunbookFetcher:
    """Fetches runbooks by link. *allowed_hosts* are `host` (port 443) or `host:port`, ignoring case.

    Connects only to public addresses, unless the allowed host is an IP address itself, so that neither a link
    in an alert nor a name server can direct requests into our own network.
    """

    def __init__(
        self,
        allowed_hosts: Collection[str],
        clock: Callable[[], float],
        connect: Connect,
        resolve: Resolve,
        section_titles: SectionTitles = BUILT_IN_TITLES,
    ) -> None:
        self._section_titles = section_titles
        self._allowed = frozenset(host.casefold() for host in allowed_hosts)
        self._connect = connect
        self._resolve = resolve
        self._indexes = Cache(
            "runbook",
            self._fetch_index,
            clock,
            ttl_s=CACHE_S,
            retry_s=RETRY_S,
            size=MAX_CACHED,
            at_once=MAX_AT_ONCE,
        )

    def find_index(self, url: str, wait_s: float = 0.0) -> Index | None:
        """Return the index of the text last fetched from *url*; None when there is none yet.

        Starts a fetch in the background when the cached result has expired, and waits *wait_s* for it.
        """
        if not self.is_allowed(url):
            return None
        cached = self._indexes.find_value(url, wait_s)
        return cached.value if cached is not None else None

    def is_allowed(self, url: str) -> bool:
        """Return whether *url* is https on an allowed host, without credentials, and short enough to keep."""
        if len(url) > MAX_URL:
            return False
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or 443
        except ValueError:
            return False
        names = {f"{host}:{port}"} | ({host} if port == 443 else set())
        return parts.scheme == "https" and "@" not in parts.netloc and not names.isdisjoint(self._allowed)

    def _fetch_index(self, url: str) -> Index:
        try:
            return Index([parse_document(self._fetch_text(url), url, self._section_titles)])
        except (FetchError, OSError, http.client.HTTPException, ValueError) as error:
            detail = f"{urlsplit(url).hostname}: {one_line(str(error), 200)}"
            raise TemporaryDeliveryError("link_unreadable", detail) from error

    def _fetch_text(self, url: str) -> str:
        """Return the text at *url*; follow redirects on the same host only."""
        host = urlsplit(url).netloc
        for _ in range(MAX_REDIRECTS + 1):
            parts = urlsplit(url)
            if not self.is_allowed(url) or parts.netloc != host:
                raise FetchError("redirected elsewhere")
            answer = self._send_request(parts)
            if isinstance(answer, bytes):
                text = answer.decode("utf-8", "replace")
                if "\0" in text or text.count("\ufffd") * 50 > len(text):
                    raise FetchError("not a text in UTF-8")
                return text
            url = urljoin(url, answer)
        raise FetchError("too many redirects")

    def _send_request(self, parts: SplitResult) -> bytes | str:
        """Return the body, or the location of a redirect."""
        host, port = parts.hostname or "", parts.port or 443
        deadline = wall.now() + TIMEOUT_S
        connection = self._connect(host, port, self._find_address(host, port))
        timer = threading.Timer(TIMEOUT_S, _shut_down_socket, [connection])
        timer.daemon = True
        timer.start()
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", target, headers={"User-Agent": "receiver", "Accept": _ACCEPT})
            # The socket timeout limits each wait; the timer limits the whole, if headers arrive slowly.
            response = connection.getresponse()
            if response.status in (301, 302, 303, 307, 308):
                return response.headers.get("Location", "")
            if response.status != 200:
                raise FetchError(f"status {response.status}")
            kind = response.headers.get_content_type()
            if kind not in (*_TEXT_TYPES, *_HTML_TYPES):
                raise FetchError(f"not a text but {kind}")
            body = _read_body(response, deadline)
            if kind in _HTML_TYPES:
                _check_page(body.decode("utf-8", "replace"))
            return body
        finally:
            timer.cancel()
            connection.close()

    def _find_address(self, host: str, port: int) -> str:
        """Return an address of *host* to connect to; all its addresses must be allowed."""
        if parse_address(host) is not None:
            return host
        addresses = list(self._resolve(host, port))
        if not addresses:
            raise FetchError("no address")
        if not all(map(is_public, addresses)):
            raise FetchError("its address is not a public one")
        return addresses[0]


def resolve_host(host: str, port: int) -> list[str]:
    """Return the addresses of *host* in the system's order; raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class PinnedConnection(http.client.HTTPSConnection):
    """A verified HTTPS connection to *host* at exactly the *address* that was checked: a second DNS lookup
    cannot change it.
    """

    def __init__(self, host: str, port: int, address: str) -> None:
        self._tls = get_tls_context()
        super().__init__(host, port, timeout=TIMEOUT_S, context=self._tls)
        self._address = address

    def connect(self) -> None:
        sock = socket.create_connection((self._address, self.port), TIMEOUT_S)
        self.sock = self._tls.wrap_socket(sock, server_hostname=self.host)


def _check_page(text: str) -> None:
    if not is_html_page(text):
        raise FetchError("no HTML page")
    if is_sign_in(text):
        raise FetchError("a page to sign in")


def _shut_down_socket(connection: http.client.HTTPConnection) -> None:
    sock = connection.sock
    if sock is not None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def _read_body(response: http.client.HTTPResponse, deadline: float) -> bytes:
    """Return the whole body; raise FetchError if it is too large or not complete at *deadline*."""
    body = bytearray()
    while chunk := response.read1(MAX_BYTES + 1 - len(body)):
        body += chunk
        if len(body) > MAX_BYTES:
            raise FetchError(f"longer than {MAX_BYTES} bytes")
        if wall.now() > deadline:
            raise FetchError("too slow")
    return bytes(body)
