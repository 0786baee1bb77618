"""Where an answer or a page leads, as a browser understands it: ours are relative to what was asked for."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import urljoin, urlsplit

from werkzeug.test import TestResponse

_LINK = re.compile(r'\s(?:href|src|action|hx-get|hx-post|formaction)="([^"]*)"')


def leads_to(response: TestResponse) -> str:
    """Return where Location leads; without scheme and host where it is the same ones."""
    return resolve(response, response.headers["Location"])


def list_links(response: TestResponse) -> list[str]:
    """Return every address in a page, as it is written there."""
    return [unescape(link) for link in _LINK.findall(response.text)]


def resolve(response: TestResponse, link: str) -> str:
    """Return where *link* leads from the page that was asked for."""
    asked = urlsplit(response.request.url)
    asked_path = str(response.request.environ["RAW_URI"])
    found = urljoin(f"{asked.scheme}://{asked.netloc}{asked_path}", link)
    return found.removeprefix(f"{asked.scheme}://{asked.netloc}")
