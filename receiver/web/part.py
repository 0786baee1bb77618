"""A part of a long list: no page shows more than a hundred rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from msgspec import Meta, Struct
from msgspec.structs import asdict

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
