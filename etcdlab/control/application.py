"""HTTP for the operations: decode, call, encode, and errors as JSON. The only user of Starlette.

Imported by `etcdlab.control.server` alone: Starlette costs 40 ms that no command pays.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import msgspec
import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from etcdlab.control import wire
from etcdlab.control.api import Api, UnknownNodeError
from etcdlab.control.connection import Limits, error_body
from etcdlab.control.openapi import Operation
from etcdlab.errors import EtcdlabError, QuorumError, TimedOutError, UsageError

_STATUS: Final = (
    (UnknownNodeError, HTTPStatus.NOT_FOUND),
    (UsageError, HTTPStatus.BAD_REQUEST),
    (QuorumError, HTTPStatus.CONFLICT),
    (TimedOutError, HTTPStatus.GATEWAY_TIMEOUT),
    (EtcdlabError, HTTPStatus.INTERNAL_SERVER_ERROR),
)


def application(api: Api, *, limits: Limits, shutdown: trio.Event) -> Starlette:
    """The ASGI application. Its streams end when `shutdown` is set."""
    endpoints = {
        operation.path: partial(_respond, operation=operation, limits=limits, shutdown=shutdown)
        for operation in api.operations
    }
    routes = [Route(one.path, endpoints[one.path], methods=[one.method]) for one in api.operations]
    app = Starlette(
        routes=[*routes, Route("/", endpoints["/v1"], methods=["GET"])],
        exception_handlers={
            HTTPException: _on_refusal,
            EtcdlabError: _on_failure,
            ClientDisconnect: _on_disconnect,
            # Starlette raises it again after the answer, and Hypercorn logs it with its traceback.
            Exception: _on_bug,
        },
    )
    app.router.redirect_slashes = False
    return app


async def _respond(request: Request, *, operation: Operation, limits: Limits, shutdown: trio.Event) -> Response:
    try:
        if operation.method == "POST":
            taken = msgspec.json.decode(await _body(request, limits) or b"{}", type=operation.takes)
        else:
            taken = msgspec.convert(_query(request, operation.takes), type=operation.takes, strict=False)
    except (msgspec.DecodeError, ValueError) as error:
        where = "body" if operation.method == "POST" else "query"
        hint = "GET /v1/openapi.json describes every request."
        raise UsageError(f"the {where} of {operation.method} {operation.path}: {error}", hint=hint) from error
    value = await operation.call(taken)
    if operation.stream:
        return Stream(value, operation.media_type, shutdown)
    return Response(msgspec.json.encode(value), operation.status, media_type=operation.media_type)


async def _body(request: Request, limits: Limits) -> bytes:
    with trio.move_on_after(limits.body_s):
        return await request.body()
    raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, f"the body did not come within {limits.body_s:g} s")


def _query(request: Request, type_: type[wire.Request]) -> dict[str, Any]:
    """A field with a tuple for its default may be repeated; of others the last one counts."""
    repeatable = {field.name for field in msgspec.structs.fields(type_) if isinstance(field.default, tuple)}
    query = request.query_params
    return {key: query.getlist(key) if key in repeatable else query[key] for key in query}


class Stream(Response):
    """NDJSON, one chunk at a time: what the client does not take is not taken from the source.

    Ends with its source, with the client, or properly at shutdown. Starlette's StreamingResponse knows no shutdown.
    """

    def __init__(self, chunks: AsyncGenerator[bytes, None], media_type: str, shutdown: trio.Event) -> None:
        self.status_code = HTTPStatus.OK
        self.media_type = media_type
        self.background = None
        self.init_headers()
        self._chunks = chunks
        self._shutdown = shutdown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it all."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_after, nursery.cancel_scope, self._shutdown.wait)
            nursery.start_soon(_cancel_after, nursery.cancel_scope, partial(_wait_disconnected, receive))
            async with aclosing(self._chunks) as chunks:
                async for chunk in chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            nursery.cancel_scope.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _cancel_after(scope: trio.CancelScope, wait: Callable[[], Awaitable[None]]) -> None:
    await wait()
    scope.cancel()


async def _wait_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _on_refusal(_: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, HTTPException)
    message = refusal.detail[:1].lower() + refusal.detail[1:]
    content = error_body(message, hint="GET /v1 lists what there is.")
    return Response(content, refusal.status_code, refusal.headers, "application/json")


async def _on_failure(_: Request, failure: Exception) -> Response:
    assert isinstance(failure, EtcdlabError)
    status = next(status for kind, status in _STATUS if isinstance(failure, kind))
    content = error_body(failure.message, code=failure.code, hint=failure.hint)
    return Response(content, status, media_type="application/json")


async def _on_disconnect(_: Request, __: Exception) -> Response:
    return Response(status_code=HTTPStatus.BAD_REQUEST)


async def _on_bug(_: Request, bug: Exception) -> Response:
    content = error_body(
        f"a bug in etcdlab: {type(bug).__name__}: {bug}",
        code="internal",
        hint="The lab's daemon.log has the traceback.",
    )
    return Response(content, HTTPStatus.INTERNAL_SERVER_ERROR, media_type="application/json")
