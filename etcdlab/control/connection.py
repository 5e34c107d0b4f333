"""What stands between a client's socket and Hypercorn, so that no client can cost the daemon anything.

Hypercorn 0.18, as read: it shields every send from cancellation, so that one client that does not read holds up the
shutdown for ever; it leaves a reader blocked on a request body that nobody takes; it answers what is not HTTP with an
empty body and slow headers with none. This module bounds all that from the outside. It knows nothing of routes.
"""

import contextlib
import http
import re
from dataclasses import dataclass
from typing import Final

import msgspec
import trio

from etcdlab.control.wire import ErrorAnswer, ErrorBody
from etcdlab.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a client may use. Times in seconds, sizes in bytes.

    `head_s` bounds how long a request's head, and between requests a silent client, is waited for; `body_s` the same
    for the body; `send_s` how long a client may leave an answer unread; `grace_s` what is under way at shutdown.
    """

    connections: int = 64
    head_bytes: int = 16 * 1024
    head_s: float = 5.0
    body_bytes: int = 64 * 1024
    body_s: float = 5.0
    send_s: float = 10.0
    grace_s: float = 0.5


_LINGER_S: Final = 1.0
_MESSAGES: Final = {
    http.HTTPStatus.BAD_REQUEST: "this is not an HTTP/1.1 request",
    http.HTTPStatus.REQUEST_TIMEOUT: "the request did not come in time",
    http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "the request's head is too large",
    http.HTTPStatus.SERVICE_UNAVAILABLE: "too many connections are open",
}
# Hypercorn's own refusals, and only they, have no body: see H11Protocol._send_error_response.
_BARE_REFUSAL: Final = re.compile(rb"HTTP/1\.1 (4\d\d) [^\r]*\r\ncontent-length: 0\r\nconnection: close\r\n")


def error_body(message: str, *, code: str = UsageError.code, hint: str = "") -> bytes:
    """An error as JSON."""
    return msgspec.json.encode(ErrorAnswer(error=ErrorBody(code=code, message=message, hint=hint)))


def refusal(status: http.HTTPStatus) -> bytes:
    """A whole HTTP answer, for when Hypercorn has none."""
    body = error_body(_MESSAGES.get(status, status.phrase.lower()))
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body


class BoundedStream(trio.abc.HalfCloseableStream):
    """A client's stream with bounds; what Hypercorn does with it is in the module's docstring."""

    def __init__(self, stream: trio.SocketStream, limits: Limits) -> None:
        self.socket = stream.socket
        self._closed = trio.Event()
        self._stream = stream
        self._limits = limits
        self._unanswered = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive; remembers whether there is anything that asks for an answer."""
        data = await self._stream.receive_some(max_bytes)
        self._unanswered = bool(data)
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send within `send_s`, or break. Gives Hypercorn's bare refusals a body."""
        self._unanswered = False
        if bare := _BARE_REFUSAL.match(data):
            data = refusal(http.HTTPStatus(int(bare[1])))
        try:
            with trio.fail_after(self._limits.send_s):
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
