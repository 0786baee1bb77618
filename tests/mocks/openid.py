"""A mock OpenID provider on loopback: it signs with real RSA keys and refuses what real providers refuse.

    with MockProvider(redirect_uri="https://ops.example/sign-in/callback", clock=rig.clock) as provider:
        provider.people["alice"] = {"groups": ["sre"]}
        back = provider.signs_in(address, "alice")   # the URL that the browser is sent back to, with its code

A browser that opens `/authorize` gets a page with a link for each of *people*.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import json
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID = "the-receiver"
CLIENT_SECRET = "client-secret-of-ours"
MAX_READ = 64 * 1024
MAX_HANG_S = 15.0

Answer = tuple[int, Any]


@functools.cache
def _find_key(number: int) -> RSAKey:
    """Return the signing key *number* of every provider: making one takes a tenth of a second."""
    return RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256", "kid": secrets.token_hex(4)})


class MockProvider:
    """*people* are claims by user name; *twist* changes claims and header of an ID token before signing."""

    def __init__(
        self,
        *,
        redirect_uri: str,
        clock: Callable[[], float] = time.time,
        issuer_ends_in: str = "",
        proofs: tuple[str, ...] = ("client_secret_basic",),
    ) -> None:
        self.redirect_uris = [redirect_uri]
        self.clock = clock
        self.client_secret = CLIENT_SECRET
        self.people: dict[str, dict[str, Any]] = {"alice": {}}
        self._rotations = 0
        self.key = _find_key(0)
        self.published = [self.key]
        self.twist: Callable[[dict[str, Any], dict[str, Any]], None] = lambda _claims, _head: None
        self.write: Callable[[dict[str, Any], dict[str, Any]], str] = self._sign
        self.userinfo: Callable[[dict[str, Any]], Any] = lambda claims: claims
        self.said: dict[str, Any] = {}  # overrides members of the discovery document
        self.faults: dict[str, Answer] = {}  # overrides the response of a path
        self.is_silent = False  # accepts connections and never responds
        self.asked: list[str] = []
        self._ends_in, self._proofs = issuer_ends_in, proofs
        self._codes: dict[str, dict[str, str]] = {}
        self._tokens: dict[str, dict[str, Any]] = {}
        self._stopped = threading.Event()
        self._port = 0

    # --- start and stop ---

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self._stopped.clear()
        self._server = _Server(("127.0.0.1", self._port), _Handler)
        self._server.owner = self
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.005,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections; `start()` brings it back on the same port."""
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def environ(self) -> dict[str, str]:
        return {"OIDC_ISSUER": self.url, "OIDC_CLIENT_ID": CLIENT_ID, "OIDC_CLIENT_SECRET": CLIENT_SECRET}

    # --- people ---

    def signs_in(self, address: str, name: str) -> str:
        """Sign in as *name* at the authorization URL *address*; return the URL that the browser is redirected
        to.
        """
        parts = urlsplit(address)
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{self.url}/authorize"
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        fault = self._find_fault(query)
        assert not fault, fault
        code = secrets.token_urlsafe(8)
        self._codes[code] = {**query, "name": name}
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def rotate(self) -> None:
        """Sign with a new key from now on and publish only that."""
        self._rotations += 1
        self.key = _find_key(self._rotations)
        self.published = [self.key]

    # --- requests ---

    def answer(self, method: str, target: str, headers: dict[str, str], body: str) -> Answer:
        path, query = urlsplit(target).path, urlsplit(target).query
        self.asked.append(path)
        if self.is_silent:
            self._stopped.wait(MAX_HANG_S)
        if path in self.faults:
            return self.faults[path]
        if (method, path) == ("GET", "/.well-known/openid-configuration"):
            return 200, self._describe()
        if (method, path) == ("GET", "/keys"):
            return 200, {"keys": [key.as_dict(private=False) for key in self.published]}
        if (method, path) == ("GET", "/authorize"):
            return self._show_people(query)
        if (method, path) == ("GET", "/enter"):
            asked = {key: values[0] for key, values in parse_qs(query).items()}
            name = asked.pop("as")
            return 302, self.signs_in(f"{self.url}/authorize?{urlencode(asked)}", name)
        if (method, path) == ("POST", "/token"):
            return self._exchange_code(headers, {key: values[0] for key, values in parse_qs(body).items()})
        if (method, path) == ("GET", "/userinfo"):
            claims = self._tokens.get(headers.get("authorization", "").removeprefix("Bearer "))
            return (200, self.userinfo(dict(claims))) if claims else (401, {"error": "invalid_token"})
        return 404, {"error": "not_found"}

    def _describe(self) -> dict[str, Any]:
        return {
            "issuer": self.url + self._ends_in,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": list(self._proofs),
            **self.said,
        }

    def _find_fault(self, query: dict[str, str]) -> str:
        """Return what is wrong with an authorization request; a real provider shows that to the user."""
        wanted = {"response_type": "code", "client_id": CLIENT_ID, "code_challenge_method": "S256"}
        for name, value in wanted.items():
            if query.get(name) != value:
                return f"{name} is {query.get(name)!r}"
        if query.get("redirect_uri") not in self.redirect_uris:
            return f"redirect_uri {query.get('redirect_uri')!r} is not registered"
        if "openid" not in query.get("scope", "").split():
            return "scope is without openid"
        if len(query.get("code_challenge", "")) != 43 or not query.get("state") or not query.get("nonce"):
            return "code_challenge, state or nonce is missing"
        return ""

    def _show_people(self, query: str) -> Answer:
        fault = self._find_fault({key: values[0] for key, values in parse_qs(query).items()})
        if fault:
            return 400, f"<h1>{html.escape(fault)}</h1>"
        links = (
            f'<p><a href="/enter?{html.escape(query)}&amp;as={name}">Sign in as {name}</a></p>'
            for name in self.people
        )
        head = '<!doctype html><title>Provider</title><link rel="icon" href="data:,">'  # no favicon.ico
        return 200, head + "".join(links)

    def _exchange_code(self, headers: dict[str, str], form: dict[str, str]) -> Answer:
        if not self._is_client(headers.get("authorization", ""), form):
            return 401, {"error": "invalid_client"}
        asked = self._codes.pop(form.get("code", ""), None)  # a code is valid once
        verifier = form.get("code_verifier", "")
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        if (
            form.get("grant_type") != "authorization_code"
            or asked is None
            or asked["redirect_uri"] != form.get("redirect_uri")
            or asked["code_challenge"] != challenge
        ):
            return 400, {"error": "invalid_grant"}
        name, now = asked["name"], int(self.clock())
        access_token = secrets.token_urlsafe(16)
        person = {"sub": f"id-of-{name}", "preferred_username": name, **self.people[name]}
        self._tokens[access_token] = person
        claims = {
            **person,
            "iss": self.url + self._ends_in,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
        }
        head = {"alg": "RS256", "kid": self.key.kid}
        self.twist(claims, head)
        tokens = {"access_token": access_token, "token_type": "Bearer", "expires_in": 300}
        return 200, {**tokens, "id_token": self.write(claims, head)}

    def _is_client(self, authorization: str, form: dict[str, str]) -> bool:
        if "client_secret_basic" in self._proofs:
            login = base64.b64decode(authorization.removeprefix("Basic ")).decode()
            return unquote(login) == f"{CLIENT_ID}:{self.client_secret}"
        return (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, self.client_secret)

    def _sign(self, claims: dict[str, Any], head: dict[str, Any]) -> str:
        return jwt.encode(head, claims, self.key)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    owner: MockProvider


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10

    def do_GET(self) -> None:
        self._answer("")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(min(int(self.headers.get("Content-Length") or 0), MAX_READ)).decode())

    def _answer(self, body: str) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, said = self.server.owner.answer(self.command, self.path, headers, body)
        is_page, is_raw = isinstance(said, str), isinstance(said, bytes)
        payload = said if is_raw else (said.encode() if is_page else json.dumps(said).encode())
        try:
            self.send_response(status)
            if status == 302:
                self.send_header("Location", said)
            self.send_header("Content-Type", "text/html" if is_page else "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)
        except OSError:  # the client has closed the connection
            pass

    def log_message(self, *_: object) -> None:
        """Log nothing."""
