"""Operations of the API (methods of its handlers, with a path) and the OpenAPI document of them.

Requests are parsed, responses serialized and the document generated from the same operations, so they can't
contradict each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, TypeVar, get_type_hints

import msgspec
from msgspec import Struct

from receiver.web.api.requests import EmptyRequest
from receiver.web.server.malformed import ErrorAnswer

PREFIX = "/api/v1"
M = TypeVar("M", bound=Callable[..., Any])


@dataclass(frozen=True)
class Operation:
    """One operation of the API: a handler's *method*, called with the value in the path and the request.

    *path* is relative to PREFIX and has at most one `{name}`. A POST has its request in the body, other
    operations in the query. *errors* are the statuses of its errors beside those common to all operations.
    """

    verb: str
    path: str
    id: str
    errors: Mapping[HTTPStatus, str]
    method: Callable[..., Any]
    request_type: type[Struct]
    response_type: Any

    @property
    def name(self) -> str | None:
        """The name of the path's parameter; None where it has none."""
        match = re.search(r"{(\w+)}", self.path)
        return match[1] if match else None

    @property
    def has_body(self) -> bool:
        return self.verb == "POST"


def operation(
    verb: str, path: str, operation_id: str, errors: Mapping[HTTPStatus, str] | None = None
) -> Callable[[M], M]:
    """Return a decorator that makes a handler's method an operation of the API; see `list_operations`.

    The type of the method's parameter `fields` is that of the request; its docstring's first paragraph is the
    summary.
    """

    def declare(method: M) -> M:
        hints = get_type_hints(method)
        types = hints.get("fields", EmptyRequest), hints["return"]
        vars(method)["operation"] = Operation(verb, path, operation_id, errors or {}, method, *types)
        return method

    return declare


def list_operations(handler_type: type) -> list[Operation]:
    """Return the operations that the methods of *handler_type* are."""
    return [vars(one)["operation"] for one in vars(handler_type).values() if hasattr(one, "operation")]


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


def render_openapi(operations: Sequence[Operation], *, server: str = "", is_open: bool = False) -> Json:
    """Return the OpenAPI document with *server* as base URL; *is_open* says that no token is required."""
    kinds = {kind: None for one in operations for kind in (one.request_type, one.response_type)}
    refs, schemas = msgspec.json.schema_components((*kinds, ErrorAnswer), ref_template=_REF)
    by_kind = dict(zip(kinds, refs, strict=False))
    queries = {one.request_type.__name__ for one in operations if not one.has_body}
    paths: Json = {}
    for one in operations:
        described = _render_operation(one, by_kind, schemas)
        paths.setdefault(PREFIX + one.path, {})[one.verb.lower()] = described
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


def _render_operation(operation: Operation, refs: dict[Any, Json], schemas: Json) -> Json:
    summary = " ".join((operation.method.__doc__ or "").partition("\n\n")[0].split()).removesuffix(".")
    described: Json = {"operationId": operation.id, "summary": summary}
    request_schema = schemas[operation.request_type.__name__]
    in_path = {"name": operation.name, "in": "path", "required": True, "schema": {"type": "string"}}
    parameters: list[Json] = [in_path] if operation.name else []
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
            "description": "Done." if operation.verb != "GET" else "Success.",
            "content": _json(refs[operation.response_type]),
        },
        **_render_errors(operation),
    }
    return described


def _render_parameter(name: str, schema: Json) -> Json:
    """Return a query parameter; its description belongs beside its schema, not into it."""
    rest = {word: value for word, value in schema.items() if word != "description"}
    return {"name": name, "in": "query", "description": schema.get("description", ""), "schema": rest}


def _render_errors(operation: Operation) -> Json:
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
