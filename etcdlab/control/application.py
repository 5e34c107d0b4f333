"""HTTP for the operations: find, decode, call, encode, and errors as JSON."""

import logging
import re
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from etcdlab.control.api import Api
from etcdlab.control.connection import Answer, Request, error_answer
from etcdlab.control.openapi import Operation
from etcdlab.control.wire import Request as Taken
from etcdlab.errors import (
    ControlError,
    EtcdlabError,
    LabStateError,
    QuorumError,
    TimedOutError,
    UnknownMemberError,
    UsageError,
    is_exhaustion,
)

log = logging.getLogger(__name__)
_STATUS: Final = (
    (UnknownMemberError, HTTPStatus.NOT_FOUND),
    (UsageError, HTTPStatus.BAD_REQUEST),
    (QuorumError, HTTPStatus.CONFLICT),
    (LabStateError, HTTPStatus.CONFLICT),
    (TimedOutError, HTTPStatus.GATEWAY_TIMEOUT),
    (EtcdlabError, HTTPStatus.INTERNAL_SERVER_ERROR),
)


_ORIGIN: Final = re.compile(r"http://[^/?#]+(?=/)", re.IGNORECASE)
"""What a target may have before its path (RFC 9112, 3.2.2)."""


class Application:
    """Answers requests to one lab's API."""

    def __init__(self, api: Api) -> None:
        self._routes = {operation.path: operation for operation in api.operations}
        self._routes["/"] = self._routes["/v1"]

    async def answer(self, request: Request) -> Answer:
        """Carry out `request`. Raises nothing: a bug is an answer too, and a traceback in the log."""
        path, _, query = _ORIGIN.sub("", request.target).partition("?")
        hint = "GET /v1 lists what there is."
        if (operation := self._routes.get(path)) is None:
            return error_answer(HTTPStatus.NOT_FOUND, f"there is no {path}", hint=hint)
        if request.method not in (allowed := _methods(operation)):
            message = f"{path} does not take {request.method}"
            allow = (("allow", ", ".join(allowed)),)
            return error_answer(HTTPStatus.METHOD_NOT_ALLOWED, message, hint=hint, headers=allow)
        try:
            value = await operation.call(_decode(operation, query, request.body))
            body = value if operation.stream else msgspec.json.encode(value)
        except EtcdlabError as failure:
            status = next(status for kind, status in _STATUS if isinstance(failure, kind))
            return error_answer(status, failure.message, code=failure.code, hint=failure.hint)
        except Exception as bug:
            if isinstance(bug, OSError) and is_exhaustion(bug):
                message, hint = f"the lab's daemon could not do it: {bug.strerror}", "Try again when there is some."
                return error_answer(HTTPStatus.SERVICE_UNAVAILABLE, message, code=ControlError.code, hint=hint)
            log.exception("%s %s failed", request.method, path)
            message = f"a bug in etcdlab: {type(bug).__name__}: {bug}"
            hint = "The lab's daemon.log has the traceback."
            return error_answer(HTTPStatus.INTERNAL_SERVER_ERROR, message, code="internal", hint=hint)
        return Answer(body=body, status=operation.status, media_type=operation.media_type)


def _methods(operation: Operation) -> tuple[str, ...]:
    return ("GET", "HEAD") if operation.method == "GET" else (operation.method,)


def _decode(operation: Operation, query: str, body: bytes) -> Taken:
    try:
        if operation.method == "POST":
            return msgspec.json.decode(body or b"{}", type=operation.takes)
        return msgspec.convert(_fields(query, operation.takes), type=operation.takes, strict=False)
    except (msgspec.DecodeError, ValueError) as error:
        where = "body" if operation.method == "POST" else "query"
        hint = "GET /v1/openapi.json describes every request."
        raise UsageError(f"the {where} of {operation.method} {operation.path}: {error}", hint=hint) from error


def _fields(query: str, type_: type[Taken]) -> dict[str, Any]:
    """The query's fields, each a text. One with a tuple for its default is a list; others may not be repeated."""
    given = parse_qs(query, keep_blank_values=True, strict_parsing=True, errors="strict") if query else {}
    lists = {field.name for field in msgspec.structs.fields(type_) if isinstance(field.default, tuple)}
    return {name: values if name in lists or len(values) > 1 else values[0] for name, values in given.items()}
