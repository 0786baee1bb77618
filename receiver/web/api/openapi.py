"""Operations of the API (path, request and response types, handler) and the OpenAPI document of them.

Requests are parsed, responses serialized and the document generated from the same operations, so they can't
contradict each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from receiver.web.api.requests import read_body, read_query
from receiver.web.server.malformed import ErrorAnswer

PREFIX = "/api/v1"
H = TypeVar("H")
Q = TypeVar("Q", bound=Struct)
A = TypeVar("A")


@dataclass(frozen=True)
class Operation(Generic[H, Q, A]):
    """One operation of the API.

    *path* is relative to PREFIX and has at most one `{name}`. *run* is called with the handlers, that name
    (else an empty string) and the parsed request. A POST has its request in the body, other methods in the
    query. *errors* are the statuses of its errors beside those common to all operations.
    """

    method: str
    path: str
    id: str
    summary: str
    request_type: type[Q]
    response_type: type[A]
    run: Callable[[H, str, Q], A]
    errors: Mapping[HTTPStatus, str] = field(default_factory=dict)

    @property
    def name(self) -> str | None:
        """The name of the path's parameter; None where it has none."""
        match = re.search(r"{(\w+)}", self.path)
        return match[1] if match else None

    @property
    def has_body(self) -> bool:
        return self.method == "POST"

    def handle(self, handlers: H, name: str, query: Mapping[str, str], body: bytes) -> A:
        """Parse the request, run the operation and return the response.

        Raises RequestError, NotFound and StoreError.
        """
        asked = read_body(self.request_type, body) if self.has_body else read_query(self.request_type, query)
        return self.run(handlers, name, asked)


AnyOperation = Operation[Any, Any, Any]


Json = dict[str, Any]
_REF = "#/components/schemas/{name}"
_ABOUT = (
    "Incidents, runbooks and the status of the receiver. Every operation may be repeated without harm."
    " Moments are in UTC. Every error is an `ErrorAnswer`, also where the request can't be parsed "
    "(400, 414, 417, 431, 501, 505)."
)
_ERRORS = {
    HTTPStatus.BAD_REQUEST: "The request is invalid; the message tells why.",
    HTTPStatus.UNAUTHORIZED: "A token is required.",
    HTTPStatus.FORBIDDEN: "The principal may only read or has no role, or another site sent it.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests; `Retry-After` tells when to try again.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Redis is unavailable; try again.",
}
_TOO_LARGE = {HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large."}
_CHALLENGE = {
    "WWW-Authenticate": {
        "description": "Basic, so that a browser prompts for the token.",
        "schema": {"type": "string"},
    }
}
_WHICH = "One of RECEIVER_API_TOKEN, or to read only, of RECEIVER_VIEWER_TOKEN."
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": _WHICH},
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": f"{_WHICH} As the password, with any user name.",
    },
}


def render_openapi(operations: Sequence[AnyOperation], *, server: str = "", is_open: bool = False) -> Json:
    """Return the OpenAPI document of *operations*, with *server* as base URL (empty: that of the document).

    *is_open* says that no token is required.
    """
    kinds = {kind: None for one in operations for kind in (one.request_type, one.response_type)}
    refs, schemas = msgspec.json.schema_components((*kinds, ErrorAnswer), ref_template=_REF)
    by_kind = dict(zip(kinds, refs, strict=False))
    queries = {one.request_type.__name__ for one in operations if not one.has_body}
    paths: Json = {}
    for one in operations:
        described = _render_operation(one, by_kind, schemas)
        paths.setdefault(PREFIX + one.path, {})[one.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {"title": "receiver", "version": version("receiver"), "description": _ABOUT},
        "servers": [{"url": server.rstrip("/") or "/"}],
        "security": [*({name: []} for name in _SCHEMES), *([{}] if is_open else [])],
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in schemas.items() if name not in queries},
            "securitySchemes": _SCHEMES,
        },
    }


def _render_operation(operation: AnyOperation, refs: dict[Any, Json], schemas: Json) -> Json:
    described: Json = {"operationId": operation.id, "summary": operation.summary}
    request_schema = schemas[operation.request_type.__name__]
    parameters = [_render_name(operation.name)] if operation.name else []
    if operation.has_body:
        described["requestBody"] = {
            "required": bool(request_schema.get("required")),
            "content": _json(refs[operation.request_type]),
        }
    else:
        parameters += [_render_parameter(*each) for each in request_schema["properties"].items()]
    if parameters:
        described["parameters"] = parameters
    described["responses"] = {
        "200": {
            "description": "Done." if operation.method != "GET" else "Success.",
            "content": _json(refs[operation.response_type]),
        },
        **_render_errors(operation),
    }
    return described


def _render_name(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _render_parameter(name: str, schema: Json) -> Json:
    """Return a query parameter; its description belongs beside its schema, not into it."""
    rest = {word: value for word, value in schema.items() if word != "description"}
    return {"name": name, "in": "query", "description": schema.get("description", ""), "schema": rest}


def _render_errors(operation: AnyOperation) -> Json:
    errors = {**_ERRORS, **operation.errors, **(_TOO_LARGE if operation.has_body else {})}
    content = _json({"$ref": _REF.format(name=ErrorAnswer.__name__)})
    return {
        str(status.value): {
            "description": errors[status],
            **({"headers": _CHALLENGE} if status is HTTPStatus.UNAUTHORIZED else {}),
            "content": content,
        }
        for status in sorted(errors)
    }


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}
