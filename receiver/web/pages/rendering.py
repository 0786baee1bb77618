"""The stamp of what a page shows, so that a browser that still has it is told so and no more.

A page that is asked for every few seconds would else cost a phone megabytes, close what its reader has
unfolded and lose what they have marked, for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Generic, TypeVar, cast

from flask import Response, current_app, render_template, request
from msgspec import Meta, Struct
from msgspec.structs import asdict

from receiver.web.api.requests import ActorFields
from receiver.web.auth.principal import current_principal

_HEADER = "X-Receiver-Stamp"


def etag_of(*shown: object) -> str:
    """Return a word that stays the same as long as *shown* does, so no moment of now belongs in it."""
    # Forms that were shown with another token than the browser now has don't work.
    render_token = cast("Callable[[], str]", current_app.jinja_env.globals["csrf_field"])
    return sha256(repr((shown, render_token())).encode("utf-8", "backslashreplace")).hexdigest()[:16]


def conditional_response(template: str, shown: tuple[object, ...], **context: object) -> Response:
    """Return the page, or nothing (204) to a script that has it with the stamp of what is *shown*."""
    etag = etag_of(*shown)
    if request.headers.get(_HEADER) == etag:
        return Response(status=204)
    return Response(render_template(template, etag=etag, **context), content_type="text/html; charset=utf-8")


T = TypeVar("T")
PAGE_SIZE = 100


class PageQuery(Struct, frozen=True):
    """Which part of a list to show; as it stands in the address."""

    page: Annotated[int, Meta(ge=1, le=1_000_000)] = 1

    def list_fields(self, page: int = 0) -> dict[str, Any]:
        """Return what of it has to stand in an address, for *page* if that is given."""
        fields = asdict(self) | {"page": page or self.page}
        return {name: value for name, value in fields.items() if value and (name, value) != ("page", 1)}


@dataclass(frozen=True)
class PageSlice(Generic[T]):
    """One part, and which of how many it is."""

    rows: Sequence[T]
    page: int
    pages: int


def paginate(rows: Sequence[T], page: int) -> PageSlice[T]:
    """Return the part of *rows* that *page* shows, the last one where there are not so many."""
    pages = max(1, -(-len(rows) // PAGE_SIZE))
    page = min(page, pages)
    return PageSlice(rows[(page - 1) * PAGE_SIZE : page * PAGE_SIZE], page, pages)


VIA = "page"


def current_user_name() -> str:
    """Return the name that a browser signed in with."""
    principal = current_principal()
    return (principal.name if principal is not None else "") or "somebody on the page"


def current_actor() -> ActorFields:
    """Return the answer's signature."""
    return ActorFields(by=current_user_name(), via=VIA)
