"""An operation of the API: its address, what it can be asked, what it answers, and what does it.

Requests are read, answers written and the description made from the same operations, so that none of the
three can say something else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Generic, TypeVar

from msgspec import Struct

from receiver.web.questions import read_body, read_query
from receiver.wiring.parts import Services

PREFIX = "/api/v1"

Q = TypeVar("Q", bound=Struct)
A = TypeVar("A")


@dataclass(frozen=True)
class Operation(Generic[Q, A]):
    """One thing that the API does.

    *path* comes after PREFIX and has one `{name}` at most, which *run* is handed (else an empty
    text). A POST is asked by its body, others by the address. *refusals* are the statuses of its
    errors beside those that all operations have.
    """

    method: str
    path: str
    id: str
    summary: str
    request_type: type[Q]
    response_type: type[A]
    run: Callable[[Services, str, Q], A]
    errors: Mapping[HTTPStatus, str] = field(default_factory=dict)

    @property
    def name(self) -> str | None:
        """What the path's `{name}` is called; None where it has none."""
        match = re.search(r"{(\w+)}", self.path)
        return match[1] if match else None

    @property
    def has_body(self) -> bool:
        return self.method == "POST"

    def handle(self, services: Services, name: str, query: Mapping[str, str], body: bytes) -> A:
        """Do as asked, and return the answer. Raises Refusal, NotFound and StoreError."""
        asked = read_body(self.request_type, body) if self.has_body else read_query(self.request_type, query)
        return self.run(services, name, asked)


AnyOperation = Operation[Any, Any]
