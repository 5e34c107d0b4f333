"""What stands between a client's socket and Hypercorn, so that no client can cost the daemon anything.

Hypercorn 0.18, as read and as tests/control/test_server.py provokes it: it shields every send from cancellation, so a
client that does not read holds up the shutdown for ever; it keeps the connection of a client that left until
`keep_alive_timeout`; it reads a body that nobody takes, and blocks; it speaks HTTP/2 unasked, where a stream whose
client left never ends; it answers what is not HTTP with an empty body, and a slow head with nothing. All that is
bounded here, from the outside. This module knows no routes.
"""

import contextlib
import http
import re
from dataclasses import dataclass
from typing import Final

import msgspec
import trio

from etcdlab.control.wire import ErrorAnswer, ErrorBody
from etcdlab.errors import ControlError, UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a client may use. Times in seconds, sizes in bytes.

    `request_bytes` bounds a request's head and body together; `head_s` how long a head, and between requests a silent
    client, is waited for; `body_s` the same for a body; `send_s` how long a client may leave an answer unread;
    `grace_s` what is under way at shutdown.
    """

    connections: int = 64
    request_bytes: int = 64 * 1024
    head_s: float = 5.0
    body_s: float = 5.0
    send_s: float = 10.0
    grace_s: float = 0.5


_LINGER_S: Final = 0.2
_MESSAGES: Final = {
    http.HTTPStatus.BAD_REQUEST: "this is not an HTTP/1.1 request",
    http.HTTPStatus.REQUEST_TIMEOUT: "the request did not come in time",
    http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "the request is too large",
    http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "the request's head is too large",
    http.HTTPStatus.SERVICE_UNAVAILABLE: "too many connections are open",
}
# Hypercorn's own refusals, and only they, have no body: see H11Protocol._send_error_response.
_BARE_REFUSAL: Final = re.compile(rb"HTTP/1\.1 ([45]\d\d) [^\r]*\r\ncontent-length: 0\r\nconnection: close\r\n")
# Hypercorn also speaks HTTP/2 and WebSocket, unasked. A stream of its HTTP/2 side whose client is gone waits for ever
# (H2Protocol.stream_send), so neither may begin. A frame begins with a zero byte, as none of our answers does.
_OTHER_PROTOCOL: Final = re.compile(rb"\x00|HTTP/1\.1 101 ")


def error_body(message: str, *, code: str = UsageError.code, hint: str = "") -> bytes:
    """An error as JSON."""
    return msgspec.json.encode(ErrorAnswer(error=ErrorBody(code=code, message=message, hint=hint)))


def refusal(status: http.HTTPStatus) -> bytes:
    """A whole HTTP answer, for when Hypercorn has none."""
    code = UsageError.code if status < http.HTTPStatus.INTERNAL_SERVER_ERROR else ControlError.code
    body = error_body(_MESSAGES.get(status, status.phrase.lower()), code=code)
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body


class BoundedStream(trio.abc.HalfCloseableStream):
    """A client's stream with bounds; what Hypercorn does with it is in the module's docstring.

    `left` is set when the client will send no more.
    """

    def __init__(self, stream: trio.SocketStream, limits: Limits) -> None:
        self.socket = stream.socket
        self.left = trio.Event()
        self._closed = trio.Event()
        self._stream = stream
        self._limits = limits
        self._sending = trio.Lock()
        self._unanswered = 0

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive. A request that becomes too large is refused here: Hypercorn reads on though nobody takes it."""
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError:
            data = b""
        self._unanswered = self._unanswered + len(data) if data else 0
        if self._unanswered > self._limits.request_bytes:
            await self._send_bounded(refusal(http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE))
            self.abort()
            data = b""
        if not data:
            self.left.set()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send within `send_s`, or break. Gives Hypercorn's bare refusals a body."""
        if bare := _BARE_REFUSAL.match(data):
            data = refusal(http.HTTPStatus(int(bare[1])))
        if _OTHER_PROTOCOL.match(data):
            await self._send_bounded(refusal(http.HTTPStatus.BAD_REQUEST))
            self.abort()
        else:
            await self._send_bounded(data)

    async def _send_bounded(self, data: bytes | bytearray | memoryview) -> None:
        self._unanswered = 0
        try:
            with trio.fail_after(self._limits.send_s):
                async with self._sending:
                    await self._stream.send_all(bytes(data))
        except trio.TooSlowError:
            self.abort()
            raise trio.BrokenResourceError(f"the client read nothing for {self._limits.send_s:g} s") from None

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream has it."""
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """As the stream has it."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close, after a 408 if the client began a request and did not end it in time."""
        try:
            if self._unanswered:
                with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await self.send_all(refusal(http.HTTPStatus.REQUEST_TIMEOUT))
        finally:
            self.abort()
        await trio.lowlevel.checkpoint()

    async def refuse(self, status: http.HTTPStatus) -> None:
        """Answer without having read, and close."""
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self.send_all(refusal(status))
        await self.aclose()

    async def watch_close(self, scope: trio.CancelScope) -> None:
        """Cancel what still serves this stream a moment after its close. Cancelled itself, it closes the stream."""
        try:
            await self._closed.wait()
            await trio.sleep(_LINGER_S)
            scope.cancel()
        finally:
            self.abort()

    def abort(self) -> None:
        """Close at once; whoever is blocked on the socket gets ClosedResourceError, shielded or not."""
        self.socket.close()
        self._closed.set()
