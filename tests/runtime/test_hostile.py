"""A stranger on a member's ports: whatever it says or does not say, it is measured within bounds of time and memory."""

import tracemalloc
from functools import partial

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from etcdlab.etcd import api
from etcdlab.runtime.health import connect, is_healthy, measure
from etcdlab.runtime.http import MAX_BODY, Endpoint, Unreachable
from tests import hostile
from tests.examples import examples
from tests.runtime.test_http import BOUND_S, OK, Server, answering, served

PROBE_S = 0.3


def endless(start: bytes, again: bytes, *, pause_s: float = 0):
    """A script: says `start`, then `again` for ever."""

    async def script(server, stream):
        await server.read(stream)
        await stream.send_all(start)
        while True:
            await stream.send_all(again)
            await trio.sleep(pause_s)

    return script


async def measured(script):
    """What is found of a member whose ports are both the stranger's."""
    server = Server(script)
    with trio.fail_after(BOUND_S):
        async with trio.open_nursery() as nursery:
            (listener, *_) = await nursery.start(partial(trio.serve_tcp, server.handle, 0, host="127.0.0.1"))
            url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
            async with Endpoint(url) as metrics, Endpoint(url) as client:
                found = await measure(metrics, client, probe_s=PROBE_S)
            nursery.cancel_scope.cancel()
    return found


def whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
STRANGERS = {
    "silent": endless(b"", b"", pause_s=1),
    "endless chunks": endless(CHUNKED, b"10000\r\n" + b"x" * 65536 + b"\r\n"),
    "endless small chunks": endless(CHUNKED, b"1\r\nx\r\n" * 1000),
    "endless without a length": endless(HEAD + b"\r\n", b"x" * 65536),
    "100 MB promised": endless(HEAD + b"content-length: 100000000\r\n\r\n", b'{"header":[' + b"0," * 30000),
    "trickling": endless(HEAD + b"content-length: 1000\r\n\r\n", b"x", pause_s=0.02),
    "trickling head": endless(HEAD, b"x: y\r\n", pause_s=0.02),
    "endless head": endless(HEAD, b"x: y\r\n" * 1000),
    "endless trailers": endless(CHUNKED + b"0\r\n", b"x: y\r\n" * 1000),
    "endless 100 Continue": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "another protocol": answering(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\n\r\n"),
    "a redirect": answering(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"),
    "deep": answering(whole(hostile.nested(100_000))),
    "deep within": answering(whole(b'{"header":{"x":%s},"health":"true"}' % hostile.nested(100_000))),
    "millions of lists": answering(whole(b"[" + b"[]," * 5_000_000 + b"[]]")),
    "wrong types": answering(whole(b'{"header":1,"health":true}')),
    "not UTF-8": answering(whole(b'{"version":"\xff"}')),
    "nothing": answering(whole(b"")),
}


@pytest.mark.trio
@pytest.mark.parametrize("stranger", STRANGERS)
async def test_a_stranger_is_not_healthy_and_costs_little(stranger):
    tracemalloc.start()
    found = await measured(STRANGERS[stranger])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not found.healthy
    assert found.status is None
    assert found.problem
    # Two answers of the longest that is taken, each while it is put together, and what the stranger itself has.
    assert peak < 8 * MAX_BODY


BODIES = hostile.json_values.map(msgspec.json.encode) | st.binary(max_size=60)
HEADERS = st.lists(
    st.sampled_from([b"connection: close", b"transfer-encoding: chunked", b"content-length: 3", b"upgrade: x", b"x"])
    | st.binary(max_size=12),
    max_size=3,
).map(b"\r\n".join)
LINES = st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.0 200", b"HTTP/1.1 204 x", b"HTTP/1.1 999 x", b"HTTP/1.1 100 C"])
ANSWERS = st.binary(max_size=60) | st.tuples(LINES, HEADERS, BODIES).map(lambda parts: b"%s\r\n%s\r\n\r\n%s" % parts)


@examples(20)
@given(st.lists(ANSWERS, min_size=1, max_size=3))
def test_any_answer_leaves_the_endpoint_fit_for_the_next_request(answers):
    async def main():
        async with served(*map(answering, answers), answering(OK)) as (_, endpoint):
            for _ in answers:
                try:
                    status, body = await endpoint.get("/health")
                    api.decode(status, body, api.Health)
                except (Unreachable, api.GatewayError):
                    pass
                await connect(endpoint)
                await is_healthy(endpoint)
            with trio.fail_after(5):
                while True:
                    try:
                        if await endpoint.get("/") == (200, b"ok"):
                            return
                    except Unreachable:
                        pass

    trio.run(main)
