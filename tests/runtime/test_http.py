"""Against a scripted server on loopback: everything a server can do to a client that keeps its connection."""

import ssl
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing

from etcdlab.model.certificate import (
    AUTHENTICATION,
    AuthorityPlan,
    CertificatePlan,
    KeyType,
    PkiPlan,
    Role,
    Subject,
    Usage,
)
from etcdlab.pki import store
from etcdlab.runtime import http
from etcdlab.runtime.http import Endpoint, Unreachable, client_context

pytestmark = pytest.mark.trio
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
BOUND_S = 20


class Server:
    """Serves each connection by `script(stream)`, one after the other from a list; the last one for all that follow."""

    def __init__(self, *scripts):
        self.scripts = list(scripts)
        self.connections = 0
        self.requests = []
        self.closed = trio.Event()

    async def handle(self, stream):
        self.connections += 1
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        try:
            await script(self, stream)
        except trio.BrokenResourceError:
            pass
        finally:
            self.closed.set()
            await trio.aclose_forcefully(stream)

    async def read(self, stream):
        """A request's bytes, or nothing at its end."""
        received = b""
        while b"\r\n\r\n" not in received:
            if not (data := await stream.receive_some()):
                return b""
            received += data
        self.requests.append(received)
        return received


def answering(*answers):
    """A script: answers in order, then closes."""

    async def script(server, stream):
        for answer in answers:
            if not await server.read(stream):
                return
            await stream.send_all(answer)

    return script


async def forever(server, stream):
    """A script: answers as long as it is asked."""
    while await server.read(stream):
        await stream.send_all(OK)


async def silent(server, stream):
    """A script: takes the request and says nothing."""
    await server.read(stream)
    await stream.receive_some()


@asynccontextmanager
async def served(*scripts, tls=None, context=None):
    server = Server(*scripts)
    with trio.fail_after(BOUND_S):
        async with trio.open_nursery() as nursery:
            if tls is None:
                serve = partial(trio.serve_tcp, server.handle, 0, host="127.0.0.1")
            else:
                serve = partial(trio.serve_ssl_over_tcp, server.handle, 0, tls, host="127.0.0.1", https_compatible=True)
            (listener, *_) = await nursery.start(serve)
            socket = getattr(listener, "transport_listener", listener).socket
            url = f"http{'s' if tls else ''}://127.0.0.1:{socket.getsockname()[1]}"
            async with Endpoint(url, context) as endpoint:
                yield server, endpoint
            nursery.cancel_scope.cancel()


async def test_a_connection_is_kept():
    async with served(forever) as (server, endpoint):
        assert await endpoint.get("/health") == (200, b"ok")
        assert await endpoint.post("/v3/x", b'{"a":1}') == (200, b"ok")
        assert server.connections == 1
        assert server.requests[0].startswith(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        assert server.requests[1].endswith(b'{"a":1}')


async def test_a_server_that_closes_between_requests_is_asked_again():
    async with served(answering(OK), answering(OK, OK)) as (server, endpoint):
        for _ in range(3):
            assert await endpoint.get("/") == (200, b"ok")
        assert server.connections == 2


async def test_a_server_that_says_close_is_taken_at_its_word():
    closing = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nall of it"
    async with served(answering(closing), forever) as (server, endpoint):
        assert await endpoint.get("/") == (200, b"all of it")
        assert await endpoint.get("/") == (200, b"ok")
        assert server.connections == 2


async def test_chunked_and_informational_answers():
    chunked = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"
    async with served(answering(chunked, OK)) as (server, endpoint):
        assert await endpoint.get("/") == (503, b"no")
        assert await endpoint.get("/") == (200, b"ok")
        assert server.connections == 1


async def test_refused_and_served_later():
    async with served(forever) as (_, endpoint):
        pass
    with trio.fail_after(BOUND_S), pytest.raises(Unreachable, match="Connection refused"):
        await endpoint.get("/")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x16",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 10**6,
        b"\x00" * 100,
    ],
    ids=["nothing", "ssh", "tls", "short", "length", "chunk", "header", "zeros"],
)
async def test_what_is_not_http_is_unreachable_and_leaves_no_trace(answer):
    async with served(answering(answer), forever) as (server, endpoint):
        with pytest.raises(Unreachable):
            await endpoint.get("/")
        assert await endpoint.get("/") == (200, b"ok")
        assert server.connections == 2


async def test_a_kept_connection_that_breaks_is_tried_once_more_and_no_oftener():
    async with served(answering(OK, b""), answering(b"")) as (server, endpoint):
        await endpoint.get("/")
        with pytest.raises(Unreachable):
            await endpoint.get("/")
        assert server.connections == 2


@pytest.mark.parametrize("head", [b"content-length: 1000", b"connection: close"])
async def test_an_endless_answer_is_cut_off(monkeypatch, head):
    monkeypatch.setattr(http, "MAX_BODY", 999)
    long = b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + b"x" * 1000
    async with served(answering(long), forever) as (_, endpoint):
        with pytest.raises(Unreachable, match="longer than 999 bytes"):
            await endpoint.get("/")
        assert await endpoint.get("/") == (200, b"ok")


async def test_a_cancelled_request_drops_its_connection():
    """Else the next request would be given the answer to this one."""
    async with served(silent, forever) as (server, endpoint):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(endpoint.get, "/slow")
            while not server.requests:
                await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await server.closed.wait()
        assert await endpoint.get("/next") == (200, b"ok")
        assert server.connections == 2


async def test_a_connection_dropped_by_its_owner_makes_the_request_fail():
    """A member that ended has its connections closed, whoever waits for an answer on them."""
    async with served(silent) as (server, endpoint):

        async def ask() -> None:
            with pytest.raises(Unreachable):
                await endpoint.get("/")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            while not server.requests:
                await trio.testing.wait_all_tasks_blocked()
            server.scripts = [answering(b"")]
            await endpoint.aclose()


async def test_requests_at_the_same_time_wait_for_each_other():
    async with served(forever) as (server, endpoint):
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(endpoint.get, "/")
        assert len(server.requests) == 10
        assert server.connections == 1


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """A CA with a server and a client, and a stranger's CA beside it."""
    base = tmp_path_factory.mktemp("tls")
    for name in ("ours", "theirs"):
        leaf = partial(
            CertificatePlan, subject=Subject(CN="x"), hosts=("127.0.0.1",), key=KeyType.ECDSA_P256, lifetime_s=3600
        )
        store.create(
            PkiPlan(
                directory=str(base / name),
                authority=AuthorityPlan(subject=Subject(CN=name), key=KeyType.ECDSA_P256, lifetime_s=3600),
                certificates=(
                    leaf(stem="server", role=Role.SERVER, usages=(Usage.SIGNING, *AUTHENTICATION[Role.SERVER])),
                    leaf(stem="client", role=Role.CLIENT, usages=(Usage.SIGNING, *AUTHENTICATION[Role.CLIENT])),
                ),
            )
        )
    return base


class TestTls:
    def server_context(self, directory):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(directory / "ca.pem"))
        context.load_cert_chain(directory / "server.pem", directory / "server-key.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client_context(self, ca, leaf):
        return client_context(str(ca / "ca.pem"), str(leaf / "client.pem"), str(leaf / "client-key.pem"))

    async def test_both_sides_show_their_certificates(self, pki):
        ours = pki / "ours"
        async with served(forever, tls=self.server_context(ours), context=self.client_context(ours, ours)) as (_, end):
            assert await end.get("/") == (200, b"ok")

    async def test_a_server_of_another_authority_is_not_talked_to(self, pki):
        tls = self.server_context(pki / "theirs")
        async with served(forever, tls=tls, context=self.client_context(pki / "ours", pki / "theirs")) as (server, end):
            with pytest.raises(Unreachable, match="certificate verify failed"):
                await end.get("/")
            assert server.requests == []

    async def test_a_server_that_does_not_take_our_certificate_is_unreachable(self, pki):
        tls = self.server_context(pki / "ours")
        async with served(forever, tls=tls, context=self.client_context(pki / "ours", pki / "theirs")) as (server, end):
            with pytest.raises(Unreachable):
                await end.get("/")
            assert server.requests == []

    async def test_a_server_that_never_shakes_hands_can_be_given_up(self, pki):
        """As etcd's client port does for want of a quorum."""
        async with served(silent) as (_, plain):
            url = f"https://127.0.0.1:{plain._port}"
            async with Endpoint(url, self.client_context(pki / "ours", pki / "ours")) as endpoint:
                with trio.move_on_after(0.05) as scope:
                    await endpoint.get("/")
                assert scope.cancelled_caught

    async def test_a_broken_key_is_an_oserror(self, pki, tmp_path):
        broken = tmp_path / "key.pem"
        broken.write_text("no key")
        with pytest.raises(OSError, match=r"\[SSL\]"):
            client_context(str(pki / "ours" / "ca.pem"), str(pki / "ours" / "client.pem"), str(broken))
