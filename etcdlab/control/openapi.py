"""The OpenAPI 3.1 document, made from the table of operations and the structs themselves: it cannot drift."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec

from etcdlab import __version__
from etcdlab.control import wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One route. `call` gets the decoded `takes` (query of a GET, body of a POST).

    It returns an `answer`, or for a `stream` an async generator of NDJSON lines, each an `answer`.
    """

    method: str
    path: str
    summary: str
    call: Callable[[Any], Awaitable[Any]]
    answer: Any
    takes: type[wire.Request] = wire.Request
    status: HTTPStatus = HTTPStatus.OK
    stream: bool = False

    @property
    def media_type(self) -> str:
        """Of the answer."""
        return "application/x-ndjson" if self.stream else "application/json"


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The whole document, ready for JSON."""
    types = {wire.ErrorAnswer, *(one.takes for one in operations), *(one.answer for one in operations)} - {dict}
    _, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {"title": "etcdlab", "version": __version__, "description": "One lab's daemon, on its Unix socket."},
        "servers": [{"url": "http://localhost"}],
        "paths": {
            operation.path: {operation.method.lower(): _operation(operation, components)} for operation in operations
        },
        "components": {"schemas": {name: components[name] for name in sorted(components)}},
    }


def _operation(operation: Operation, components: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.call.__name__,
        "summary": operation.summary,
        "responses": {
            str(operation.status.value): _content(operation.status.phrase, operation.media_type, operation.answer),
            "default": _content("Refused or failed", "application/json", wire.ErrorAnswer),
        },
    }
    if operation.method == "POST":
        content = {"application/json": {"schema": _reference(operation.takes)}}
        required = bool(components[operation.takes.__name__].get("required"))
        described["requestBody"] = {"required": required, "content": content}
    elif parameters := _parameters(components[operation.takes.__name__]):
        described["parameters"] = parameters
    return described


def _parameters(query: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "query",
            "description": schema.get("description", ""),
            "schema": {key: value for key, value in schema.items() if key != "description"},
        }
        for name, schema in query["properties"].items()
    ]


def _content(description: str, media_type: str, type_: Any) -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": _reference(type_)}}}


def _reference(type_: Any) -> dict[str, Any]:
    return {"type": "object"} if type_ is dict else {"$ref": f"#/components/schemas/{type_.__name__}"}
