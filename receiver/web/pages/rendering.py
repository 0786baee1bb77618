"""Conditional responses (ETag), pagination, and the principal as an actor.

Pages poll every few seconds. Without an ETag each poll would transfer the whole page, and replacing it would
collapse what the user has expanded and lose their text selection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Generic, TypeVar, cast

from flask import Response, current_app, request, stream_template
from msgspec import Meta, Struct
from msgspec.structs import asdict

from receiver.web.api.requests import ActorFields
from receiver.web.auth.principal import current_principal
from receiver.web.server.connection import yield_to_others

_HEADER = "X-Receiver-Stamp"
# So many take about a millisecond; webhooks are answered in between.
_PIECES_AT_ONCE = 50


def digest_of(*content: object) -> str:
    """Return a digest of data by its `repr`, the same in every process."""
    return sha256(repr(content).encode("utf-8", "backslashreplace")).hexdigest()[:16]


def conditional_response(template: str, shown: tuple[object, ...], **context: object) -> Response:
    """Return the page, or 204 if the request carries the ETag of *shown* in X-Receiver-Stamp.

    *shown* is what the page renders, without the current time.
    """
    # The CSRF token is part of it: a page with forms for another token must be loaded again.
    render_token = cast("Callable[[], str]", current_app.jinja_env.globals["csrf_field"])
    etag = digest_of(shown, render_token())
    if request.headers.get(_HEADER) == etag:
        return Response(status=204)
    pieces = []
    for number, piece in enumerate(stream_template(template, etag=etag, **context)):
        pieces.append(piece)
        if number % _PIECES_AT_ONCE == 0:
            yield_to_others()
    return Response("".join(pieces), content_type="text/html; charset=utf-8")


T = TypeVar("T")
U = TypeVar("U")
PAGE_SIZE = 100


class PageQuery(Struct, frozen=True):
    """The page of a list, as a query parameter."""

    page: Annotated[int, Meta(ge=1, le=1_000_000)] = 1

    def list_fields(self, page: int = 0) -> dict[str, Any]:
        """Return the query parameters without defaults, for *page* if it is given."""
        fields = asdict(self) | {"page": page or self.page}
        return {name: value for name, value in fields.items() if value and (name, value) != ("page", 1)}


@dataclass(frozen=True)
class PageSlice(Generic[T]):
    """The rows of one page, the number of rows on all pages, the page's number and the number of pages."""

    rows: Sequence[T]
    total: int
    page: int
    pages: int

    def with_rows(self, rows: Sequence[U]) -> PageSlice[U]:
        """Return the same page with other rows."""
        return PageSlice(rows, self.total, self.page, self.pages)


def paginate(rows: Sequence[T], page: int) -> PageSlice[T]:
    """Return the rows on page *page*, or on the last page if there are fewer."""
    pages = max(1, -(-len(rows) // PAGE_SIZE))
    page = min(page, pages)
    return PageSlice(rows[(page - 1) * PAGE_SIZE : page * PAGE_SIZE], len(rows), page, pages)


VIA = "page"


def current_user_name() -> str:
    """Return the name of the current principal, or a placeholder."""
    principal = current_principal()
    return (principal.name if principal is not None else "") or "somebody on the page"


def current_actor() -> ActorFields:
    """Return the current principal as the actor of a transition."""
    return ActorFields(by=current_user_name(), via=VIA)
