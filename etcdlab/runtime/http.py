"""A kept-alive HTTP/1.1 connection to one of a member's endpoints: h11 on a trio stream.

Not httpx: its import costs 115 ms in the middle of a boot, and a request three times the CPU of one here, which a
daemon at rest pays every second for each member.
"""

import contextlib
import ssl
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import h11
import trio

MAX_BODY: Final = 16 * 2**20
"""Bytes. A member list is the largest answer read here; more is not an etcd."""


_BROKEN: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError)
"""Closed, too: `aclose` may come from the member's task while another waits for an answer."""


class Unreachable(Exception):
    """The endpoint refused, closed, or spoke no HTTP. The message says which."""


class Endpoint:
    """One URL's origin, with at most one connection, opened when first needed and again when it broke.

    Requests are one at a time. Bounds belong to the caller: a request that is cancelled drops the connection.
    """

    def __init__(self, url: str, context: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        self._host, self._port = parts.hostname, parts.port
        self._context = context if parts.scheme == "https" else None
        self._stream: trio.abc.Stream | None = None
        self._machine = h11.Connection(h11.CLIENT)
        self._lock = trio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Drop the connection, if there is one."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await trio.aclose_forcefully(stream)

    async def get(self, target: str) -> tuple[int, bytes]:
        """Status and body. Raises Unreachable."""
        return await self._request(b"GET", target, b"")

    async def post(self, target: str, body: bytes = b"{}") -> tuple[int, bytes]:
        """Status and body. Raises Unreachable."""
        return await self._request(b"POST", target, body)

    async def _request(self, method: bytes, target: str, body: bytes) -> tuple[int, bytes]:
        async with self._lock:
            finished = False
            try:
                reused = self._stream is not None
                try:
                    answer = await self._exchange(method, target, body)
                except _BROKEN as error:
                    await self.aclose()
                    if not reused:
                        raise Unreachable(_words(error)) from error
                    # A kept connection may have been closed since; only a fresh one proves that nobody answers.
                    try:
                        answer = await self._exchange(method, target, body)
                    except _BROKEN as again:
                        raise Unreachable(_words(again)) from again
                finished = self._machine.our_state is h11.DONE and self._machine.their_state is h11.DONE
                return answer
            finally:
                if finished:
                    self._machine.start_next_cycle()
                else:
                    with trio.CancelScope(shield=True):  # forceful close does not block
                        await self.aclose()

    async def _exchange(self, method: bytes, target: str, body: bytes) -> tuple[int, bytes]:
        stream = self._stream or await self._connect()
        headers = [("Host", self._host), ("Content-Length", str(len(body)))]
        request = h11.Request(method=method, target=target, headers=headers)
        parts = [request, h11.Data(data=body), h11.EndOfMessage()] if body else [request, h11.EndOfMessage()]
        await stream.send_all(b"".join(self._machine.send(part) or b"" for part in parts))
        status, received = 0, bytearray()
        while True:
            event = self._machine.next_event()
            if event is h11.NEED_DATA:
                self._machine.receive_data(bytes(await stream.receive_some()))
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                received += event.data
                if len(received) > MAX_BODY:
                    raise Unreachable(f"the answer is longer than {MAX_BODY} bytes")
            elif isinstance(event, h11.EndOfMessage):
                return status, bytes(received)
            elif isinstance(event, h11.ConnectionClosed):
                raise h11.RemoteProtocolError("closed before it answered")

    async def _connect(self) -> trio.abc.Stream:
        self._machine = h11.Connection(h11.CLIENT)
        stream: trio.abc.Stream = await trio.open_tcp_stream(self._host, self._port)
        if self._context is not None:
            secure = trio.SSLStream(stream, self._context, server_hostname=self._host, https_compatible=True)
            try:
                await secure.do_handshake()
            except BaseException:
                with contextlib.suppress(Exception):
                    await trio.aclose_forcefully(stream)
                raise
            stream = secure
        self._stream = stream
        return stream


def _words(error: Exception) -> str:
    """What happened: trio tells of it in the cause, for a refused connection in a group of one for each address."""
    cause = error.__cause__ or error
    return str(cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause)


def client_context(ca: str, certificate: str, private_key: str) -> ssl.SSLContext:
    """A TLS context that trusts only `ca` and presents a client certificate. Raises OSError (ssl.SSLError is one)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca)
    context.load_cert_chain(certificate, private_key)
    return context
