"""Where a response or a page leads to in a browser: our links are relative to the requested URL."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import urljoin, urlsplit

from werkzeug.test import TestResponse

_LINK = re.compile(r'\s(?:href|src|action|hx-get|hx-post|formaction)="([^"]*)"')


def leads_to(response: TestResponse) -> str:
    """Return the target of Location; without scheme and host if they are those of the request."""
    return resolve(response, response.headers["Location"])


def list_links(response: TestResponse) -> list[str]:
    """Return every URL of a page as it is written there."""
    return [unescape(link) for link in _LINK.findall(response.text)]


def resolve(response: TestResponse, link: str) -> str:
    """Return the absolute target of *link* in the page of *response*."""
    asked = urlsplit(response.request.url)
    asked_path = str(response.request.environ["RAW_URI"])
    found = urljoin(f"{asked.scheme}://{asked.netloc}{asked_path}", link)
    return found.removeprefix(f"{asked.scheme}://{asked.netloc}")
