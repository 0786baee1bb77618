"""A part of a long list: no page shows more than a hundred rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from msgspec import Meta, Struct
from msgspec.structs import asdict

T = TypeVar("T")

ROWS = 100


class PartQuery(Struct, frozen=True):
    """Which part of a list to show; as it stands in the address."""

    page: Annotated[int, Meta(ge=1, le=1_000_000)] = 1

    def list_fields(self, page: int = 0) -> dict[str, Any]:
        """Return what of it has to stand in an address, for *page* if that is given."""
        fields = asdict(self) | {"page": page or self.page}
        return {name: value for name, value in fields.items() if value and (name, value) != ("page", 1)}


@dataclass(frozen=True)
class Part(Generic[T]):
    """One part, and which of how many it is."""

    rows: Sequence[T]
    page: int
    pages: int


def take_part(rows: Sequence[T], page: int) -> Part[T]:
    """Return the part of *rows* that *page* shows, the last one where there are not so many."""
    pages = max(1, -(-len(rows) // ROWS))
    page = min(page, pages)
    return Part(rows[(page - 1) * ROWS : page * ROWS], page, pages)
