"""A receiver with an OpenID provider, and a browser without a window."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from receiver.web.app import create_app
from receiver.web.auth.guard import RateLimits
from tests.mocks.openid import MockProvider
from tests.rig import ROUTING, Rig

BASE_URL = "https://ops.example"
CALLBACK = f"{BASE_URL}/sign-in/callback"
TOKENS = {"RECEIVER_API_TOKEN": "api-token", "RECEIVER_WEBHOOK_TOKEN": "hook-token"}
API = {"Authorization": "Bearer api-token"}
HOOK = {"Authorization": "Bearer hook-token"}
HTML = {"Accept": "text/html,application/xhtml+xml"}


def configure(rig: Rig, provider: MockProvider, **environ: str) -> None:
    rig.environ |= {**TOKENS, **provider.environ, "PUBLIC_URL": BASE_URL, **environ}
    rig.configure(ROUTING)


def browse(rig: Rig, *, use_cookies: bool = True) -> FlaskClient:
    """Return a browser with its own cookies; with *use_cookies* false it sends only those that a test sets."""
    return create_app(rig.services, rate_limits=RateLimits(rig.clock)).test_client(use_cookies=use_cookies)


def opens(client: FlaskClient, path: str, **headers: str) -> TestResponse:
    return client.get(path, headers={**HTML, **headers}, base_url=BASE_URL)


def begins(client: FlaskClient, path: str = "/") -> str:
    """Open a page without a session; return the URL of the provider that the browser is redirected to."""
    first = opens(client, path)
    assert first.status_code == 303, first.text
    second = opens(client, first.headers["Location"])
    assert second.status_code == 303, second.text
    return str(second.headers["Location"])


def comes_back(client: FlaskClient, address: str) -> TestResponse:
    """Follow the provider's redirect to the receiver."""
    parts = urlsplit(address)
    assert f"{parts.scheme}://{parts.netloc}" == BASE_URL
    return opens(client, f"{parts.path}?{parts.query}")


def signs_in(
    client: FlaskClient, provider: MockProvider, name: str = "alice", path: str = "/"
) -> TestResponse:
    return comes_back(client, provider.signs_in(begins(client, path), name))


def fields_of(address: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def submits(client: FlaskClient, page: str, path: str, **fields: str) -> TestResponse:
    """Submit a form of *page*."""
    token = re.search(r'name="csrf_token" value="([0-9a-f]+)"', page)
    data = {**({"csrf_token": token[1]} if token else {}), **fields}
    return client.post(path, data=data, headers=HTML, base_url=BASE_URL)


def cookie_of(response: TestResponse, name: str) -> str:
    """Return the whole Set-Cookie header of a cookie; empty if it isn't set."""
    return next((line for line in response.headers.getlist("Set-Cookie") if line.startswith(f"{name}=")), "")
