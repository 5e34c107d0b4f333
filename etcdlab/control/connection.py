"""One client's connection: HTTP/1.1 by h11 on a trio stream, bounded in everything a client can cost the daemon.

Not an ASGI server: its import is 0.1 s of CPU in each `etcdlab up`, and a stream here ends with its source, its client
or the lab, whichever is first, which ASGI makes hard. This module knows no routes.
"""

import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import Any, Final

import h11
import msgspec
import trio

from etcdlab.control.wire import ErrorAnswer, ErrorBody
from etcdlab.errors import ControlError, UsageError

_LINGER_S: Final = 0.2
_LINGER_BYTES: Final = 2**20
_CHUNK: Final = 2**14


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may use. Times in seconds, sizes in bytes.

    `head_s` is how long a request's head, and between requests a silent client, is waited for; `body_s` the same for a
    body; `send_s` how long a client may leave an answer unread; `grace_s` what is under way at shutdown.
    """

    connections: int = 128
    head_bytes: int = 16 * 1024
    body_bytes: int = 64 * 1024
    head_s: float = 5.0
    body_s: float = 5.0
    send_s: float = 10.0
    grace_s: float = 0.5


class Request(msgspec.Struct, frozen=True):
    """A whole request. `target` is as it was sent."""

    method: str
    target: str
    body: bytes


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a request is answered with. A generator's chunks are sent one at a time, each when the last is taken."""

    body: bytes | AsyncGenerator[bytes, None]
    status: HTTPStatus = HTTPStatus.OK
    media_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


def error_answer(
    status: HTTPStatus,
    message: str,
    *,
    code: str = UsageError.code,
    hint: str = "",
    headers: tuple[tuple[str, str], ...] = (),
) -> Answer:
    """An error as JSON."""
    body = msgspec.json.encode(ErrorAnswer(error=ErrorBody(code=code, message=message, hint=hint)))
    return Answer(body=body, status=status, headers=headers)


class ClientGone(Exception):
    """The client left, or did not read in time: nothing more can be said to it."""


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = HTTPStatus(status)


class Connection:
    """One connection, from its accept to its end. `stream` stays its owner's to close."""

    def __init__(self, stream: trio.SocketStream, limits: Limits) -> None:
        self._stream = stream
        self._limits = limits
        self._machine = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes)
        self._interrupted = False
        self._waiting = trio.CancelScope()
        self._head_only = False
        self._sending = False

    async def serve(self, answer: Callable[[Request], Awaitable[Answer]]) -> None:
        """Answer requests until either side has had enough. Raises ClientGone.

        `answer` runs to its end though the client may leave meanwhile. What it raises is a bug, and passes through.
        """
        try:
            while (request := await self._request()) is not None:
                await self._respond(await answer(request))
                if self._machine.our_state is not h11.DONE or self._machine.their_state is not h11.DONE:
                    return
                self._machine.start_next_cycle()
        except _Refused as refused:
            await self._refuse(refused.status, str(refused))

    async def refuse(self, status: HTTPStatus, message: str) -> None:
        """Answer whatever is asked with this error, without having read it. Raises ClientGone."""
        await self._refuse(status, message, code=ControlError.code)

    def interrupt(self) -> None:
        """Wait for no further request; end a stream properly. What else is under way goes on."""
        self._interrupted = True
        if not self._sending:  # half a chunk cannot be ended properly
            self._waiting.cancel()

    def _until_interrupted(self, seconds: float = math.inf) -> trio.CancelScope:
        self._waiting = trio.CancelScope(deadline=trio.current_time() + seconds)
        if self._interrupted:
            self._waiting.cancel()
        return self._waiting

    async def _request(self) -> Request | None:
        """The next request; None when there will be none."""
        head = None
        self._head_only = False
        with self._until_interrupted(self._limits.head_s):
            head = await self._next_event()
            if not isinstance(head, h11.Request):
                return None
            self._head_only = head.method == b"HEAD"
            # h11 takes any version; of HTTP/2 this is the preface.
            if head.http_version not in (b"1.1", b"1.0"):
                raise _Refused(HTTPStatus.BAD_REQUEST, "this is not an HTTP/1.1 request")
            headers = dict(head.headers)
            # No browser comes to a Unix socket by itself, but somebody may forward a port to it.
            if b"origin" in headers or _is_domain(headers.get(b"host", b"")):
                raise _Refused(HTTPStatus.FORBIDDEN, "web pages are not served: leave out Origin; no dots in the Host")
            if b"content-length" in headers and b"transfer-encoding" in headers:
                raise _Refused(HTTPStatus.BAD_REQUEST, "the request gives its length in two ways")
            self._bound(int(headers.get(b"content-length", b"0")))
            self._waiting.deadline = trio.current_time() + self._limits.body_s
            return Request(head.method.decode(), head.target.decode(), await self._body())
        if head or self._machine.trailing_data[0]:
            raise _Refused(HTTPStatus.REQUEST_TIMEOUT, "the request did not come in time")
        return None

    async def _body(self) -> bytes:
        body = bytearray()
        while isinstance(event := await self._next_event(), h11.Data):
            body += event.data
            self._bound(len(body))
        return bytes(body)

    def _bound(self, size: int) -> None:
        if size > self._limits.body_bytes:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the request is too large")

    async def _next_event(self) -> Any:
        """h11's next event. Raises _Refused for what is not HTTP."""
        try:
            while (event := self._machine.next_event()) is h11.NEED_DATA:
                if self._machine.they_are_waiting_for_100_continue:
                    await self._send(h11.InformationalResponse(status_code=HTTPStatus.CONTINUE, headers=[]))
                self._machine.receive_data(await self._receive())
        except h11.RemoteProtocolError as error:
            too_large = error.error_status_hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            message = "the request's head is too large" if too_large else f"this is not an HTTP/1.1 request: {error}"
            raise _Refused(error.error_status_hint, message) from None
        return event

    async def _respond(self, answer: Answer) -> None:
        headers = [("content-type", answer.media_type), *answer.headers]
        if isinstance(answer.body, bytes):
            headers.append(("content-length", str(len(answer.body))))
            body = [] if self._head_only else [h11.Data(data=answer.body)]
            await self._send(_head(answer.status, headers), *body, h11.EndOfMessage())
            return
        async with aclosing(answer.body) as chunks:
            await self._send(_head(answer.status, headers))
            if not self._head_only:
                await self._stream_out(chunks)
        await self._send(h11.EndOfMessage())

    async def _stream_out(self, chunks: AsyncGenerator[bytes, None]) -> None:
        """Send until the source ends, or `interrupt`. Raises ClientGone when the client leaves or sends its EOF."""
        with self._until_interrupted():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_client)
                async for chunk in chunks:
                    await self._send(h11.Data(data=chunk))
                    if self._interrupted:
                        break
                nursery.cancel_scope.cancel()

    async def _watch_client(self) -> None:
        while len(self._machine.trailing_data[0]) < self._limits.body_bytes and (data := await self._receive()):
            self._machine.receive_data(data)  # requests sent ahead
        raise ClientGone

    async def _refuse(self, status: HTTPStatus, message: str, *, code: str = UsageError.code) -> None:
        """Answer a request that was not read to its end, and let the client come to read that."""
        await self._respond(error_answer(status, message, code=code, headers=(("connection", "close"),)))
        # A client that is still sending gets EPIPE from a closed socket, and many look for no answer then.
        with suppress(trio.BrokenResourceError), trio.move_on_after(_LINGER_S):
            await self._stream.send_eof()
            left = _LINGER_BYTES
            while left > 0 and (data := await self._receive()):
                left -= len(data)

    async def _receive(self) -> bytes:
        try:
            return await self._stream.receive_some(_CHUNK)
        except trio.BrokenResourceError:
            return b""

    async def _send(self, *events: h11.Event) -> None:
        data = b"".join(self._machine.send(event) or b"" for event in events)
        self._sending = True
        try:
            with trio.fail_after(self._limits.send_s):
                await self._stream.send_all(data)
        except (trio.TooSlowError, trio.BrokenResourceError):
            raise ClientGone from None
        finally:
            self._sending = False


def _is_domain(host: bytes) -> bool:
    """Whether this is a name that the DNS can have, and give this machine's address for: with a dot, and no address."""
    name = host.partition(b":")[0].rstrip(b".")  # of an IPv6 address this leaves "["
    return b"." in name and not name.rpartition(b".")[2].isdigit()


def _head(status: HTTPStatus, headers: list[tuple[str, str]]) -> h11.Response:
    return h11.Response(status_code=status, reason=status.phrase, headers=headers)
