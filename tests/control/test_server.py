"""What clients can do to the server: properly, wrongly, and with intent."""

import http.client
import os
import socket
import stat
from contextlib import closing

import msgspec
import pytest
import trio
import trio.testing

from etcdlab.control.client import Client
from etcdlab.control.connection import Limits
from etcdlab.control.listener import bind
from etcdlab.control.wire import Index
from etcdlab.errors import LabStateError, NotRunningError
from tests.control.fake import STATUS, Answer, event, request, served

pytestmark = pytest.mark.trio

SHORT = 0.05


@pytest.fixture(autouse=True)
async def nothing_is_logged(caplog):
    """No client can make the server complain: what it logs are bugs."""
    yield
    assert not caplog.records


async def follow(stream):
    """Become a follower who has seen all there is."""
    await stream.send_all(request("GET", "/v1/events?follow=true"))
    received = b""
    while b'"seq":3' not in received:
        received += await stream.receive_some()


@pytest.mark.parametrize("path", ["/", "/v1"])
async def test_the_index_lists_what_there_is(lab, path):
    answer = await lab.ask("GET", path)
    index = msgspec.json.decode(answer.content, type=Index)
    assert index.lab == "scripted"
    assert ("POST", "/v1/stop") in {(route.method, route.path) for route in index.routes}
    assert "server" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("POST", "/v1/status", {"GET", "HEAD"}), ("DELETE", "/", {"GET", "HEAD"}), ("GET", "/v1/stop", {"POST"})],
)
async def test_a_wrong_method_is_told_the_right_one(lab, method, path, allow):
    answer = await lab.ask(method, path)
    assert answer.status == 405
    assert set(answer.headers["allow"].split(", ")) == allow
    assert answer.error.code == "usage"


@pytest.mark.parametrize("path", ["/v2", "/v1/", "/v1/status/", "/v1/nodes", "//v1", "/v1/%00", "/v1/%ff"])
async def test_an_unknown_path_is_not_found(lab, path):
    answer = await lab.ask("GET", path)
    assert answer.status == 404
    assert "GET /v1" in answer.error.hint


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/v1/stop", b"", "missing required field `nodes`"),
        ("/v1/stop", b"{", "truncated"),
        ("/v1/stop", b"\xff\xfe", "malformed"),
        ("/v1/stop", b'{"nodes":["\xff"]}', "utf-8"),
        ("/v1/stop", b'"nodes"', "Expected `object`, got `str`"),
        ("/v1/stop", b'{"nodes":"n1"}', "Expected `array`, got `str` - at `$.nodes`"),
        ("/v1/stop", b'{"nodes":[1]}', "`$.nodes[0]`"),
        ("/v1/stop", b'{"nodes":[]}', "length >= 1"),
        ("/v1/stop", b'{"nodes":["n1"],"forced":true}', "unknown field `forced`"),
        ("/v1/stop", b'{"nodes":["n1"],"force":1}', "Expected `bool`, got `int` - at `$.force`"),
        ("/v1/start", b'{"nodes":["n1"],"force":true}', "unknown field `force`"),
        ("/v1/kill", b'{"nodes":["n1"],"signal":9}', "`$.signal`"),
        ("/v1/kill", b'{"nodes":["n1"],"signal":"term"}', "`$.signal`"),
        ("/v1/kill", b'{"nodes":["n1"],"signal":"SIGNOT"}', "SIGNOT"),
        ("/v1/shutdown", b"[" * 60_000, "Expected `object`"),
    ],
)
async def test_a_wrong_body_is_told_where(lab, path, body, words):
    answer = await lab.ask("POST", path, body)
    assert answer.status == 400
    assert words in answer.error.message
    assert lab.supervisor.calls == []


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("/v1/status?verbose=1", "unknown field `verbose`"),
        ("/v1/events?since=-1", "`$.since`"),
        ("/v1/events?since=1.5", "`$.since`"),
        ("/v1/events?since=" + "9" * 10_000, "query"),
        ("/v1/events?follow=maybe", "`$.follow`"),
        ("/v1/logs?lines=x", "`$.lines`"),
        ("/v1/logs?lines=1&lines=2", "`$.lines`"),
        ("/v1/logs?node=%ff", "utf-8"),
        ("/v1/logs?node", "bad query field"),
    ],
)
async def test_a_wrong_query_is_told_where(lab, target, words):
    answer = await lab.ask("GET", target)
    assert answer.status == 400
    assert words in answer.error.message


@pytest.mark.parametrize("path", ["/v1/stop", "/v1/resume", "/v1/kill"])
async def test_an_unknown_member_is_not_found(lab, path):
    answer = await lab.ask("POST", path, b'{"nodes":["n9"]}')
    assert answer.status == 404
    assert lab.supervisor.calls == []


async def test_the_log_stream_refuses_an_unknown_member_before_it_begins(lab):
    assert (await lab.ask("GET", "/v1/logs?node=n1&node=n9")).status == 404


@pytest.mark.parametrize("path", ["/v1/status", "/v1/events", "/v2"])
async def test_head_is_get_without_its_body(lab, path):
    got = await lab.ask("GET", path)
    received = await lab.exchange(request("HEAD", path, headers="") + request("HEAD", path))
    assert received.endswith(b"\r\n\r\n")
    answers = [Answer.parse(one + b"\r\n\r\n") for one in received.split(b"\r\n\r\n")[:-1]]
    assert [answer.status for answer in answers] == [got.status] * 2
    assert answers[0].headers.get("content-length") == got.headers.get("content-length")


async def test_a_shutdown_is_taken_on(lab):
    assert (await lab.ask("POST", "/v1/shutdown")).status == 202
    assert lab.supervisor.calls == [("shutdown", False)]


async def test_requests_share_a_connection_also_when_sent_ahead(lab):
    received = await lab.exchange(request("GET", "/v1/status", headers="") * 2 + request("GET", "/v1/status"))
    assert received.count(b"HTTP/1.1 200") == 3


async def test_a_request_may_be_sent_ahead_of_a_streams_end(lab):
    received = await lab.exchange(request("GET", "/v1/events", headers="") + request("GET", "/v1/status"))
    assert received.count(b"HTTP/1.1 200") == 2
    async with await trio.open_unix_socket(lab.path) as stream:
        await follow(stream)
        await stream.send_all(request("GET", "/v1/status"))
        await trio.testing.wait_all_tasks_blocked()
        assert lab.supervisor.followers == 1


async def test_a_follower_cannot_send_ahead_without_end(lab):
    async with await trio.open_unix_socket(lab.path) as stream:
        await follow(stream)
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b" " * 1_000_000)
    await lab.wait_no_connection()


async def test_a_body_is_asked_for_only_if_it_will_be_taken(lab):
    def head(size):
        return (
            f"POST /v1/shutdown HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {size}\r\n\r\n".encode()
        )

    async with await trio.open_unix_socket(lab.path) as stream:
        await stream.send_all(head(2))
        assert await stream.receive_some() == b"HTTP/1.1 100 \r\n\r\n"
        await stream.send_all(b"{}")
        assert Answer.parse(await stream.receive_some()).status == 202
    received = await lab.exchange(head(64 * 1024 + 1))
    assert Answer.parse(received).status == 413


async def test_a_client_that_sent_eof_still_gets_its_answer(lab):
    received = await lab.exchange(request("GET", "/v1/status", headers=""), eof=True)
    assert Answer.parse(received).status == 200


@pytest.mark.parametrize("size", [64 * 1024 + 1, 2_000_000])
@pytest.mark.parametrize("path", ["/v1/stop", "/v1/shutdown"])
async def test_an_oversized_body_is_refused(lab, path, size):
    answer = await lab.ask("POST", path, b" " * size)
    assert answer.status == 413
    assert "too large" in answer.error.message
    assert lab.supervisor.calls == []


async def test_a_client_that_writes_before_it_reads_sees_the_refusal(lab):
    def ask():
        with closing(http.client.HTTPConnection("localhost")) as connection:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(lab.path)
            connection.request("POST", "/v1/stop", b" " * 800_000)  # more than the kernel takes
            answer = connection.getresponse()
            return answer.status, answer.headers["connection"]

    assert await lab.run(ask) == (413, "close")


async def test_an_endless_chunked_body_is_refused(lab):
    head = b"POST /v1/stop HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    received = await lab.exchange(head + (b"1000\r\n" + b" " * 4096 + b"\r\n") * 100)
    assert Answer.parse(received).status == 413


@pytest.mark.parametrize("target", ["/nowhere", "/v1/status", "/v1/events"])
async def test_a_body_that_nobody_asked_for_leaves_nothing_behind(tmp_path, target):
    async with served(tmp_path, Limits()) as lab:
        lab.supervisor.gate = trio.Event()
        answer = Answer.parse(await lab.exchange(request("GET", target, b" " * 4_000_000)))
        assert answer.status in (200, 404, 413)
        lab.supervisor.gate.set()
        assert await lab.run(lab.client.status) == STATUS
        await lab.wait_no_connection()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /v1/status HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 200_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"y" * 20_000, 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /v1/status HTTP/1.1\r\n\r\n", 400),
        (b"GET /\xe4 HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (b"POST /v1/stop HTTP/1.1\r\nhost: x\r\ncontent-length: many\r\n\r\n", 400),
        (b"POST /v1/stop HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n", 501),
    ],
)
async def test_what_is_not_http_gets_an_error_all_the_same(lab, sent, status):
    answer = Answer.parse(await lab.exchange(sent))
    assert answer.status == status
    assert answer.error.message


async def test_a_slow_head_is_not_waited_for(tmp_path):
    async with served(tmp_path, Limits(head_s=SHORT)) as lab:
        answer = Answer.parse(await lab.exchange(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n"))
        assert answer.status == 408
        assert "in time" in answer.error.message


async def test_a_slow_body_is_not_waited_for(tmp_path):
    async with served(tmp_path, Limits(body_s=SHORT)) as lab:
        head = b'POST /v1/stop HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{"nodes"'
        answer = Answer.parse(await lab.exchange(head))
        assert answer.status == 408
        assert lab.supervisor.calls == []


async def test_a_silent_client_is_let_go(tmp_path):
    async with served(tmp_path, Limits(head_s=SHORT)) as lab:
        assert await lab.exchange(b"") == b""


async def test_a_follower_is_not_taken_for_a_silent_client(tmp_path):
    async with served(tmp_path, Limits(head_s=SHORT, body_s=SHORT, send_s=SHORT)) as lab:
        async with await trio.open_unix_socket(lab.path) as stream:
            await follow(stream)
            await lab.exchange(b"")  # takes head_s
            await lab.exchange(b"")
            assert lab.supervisor.followers == 1
        await lab.supervisor.left.wait()


async def test_connections_are_counted(tmp_path):
    async with served(tmp_path, Limits(connections=1)) as lab:
        async with await trio.open_unix_socket(lab.path):
            answer = Answer.parse(await lab.exchange(b""))
            assert answer.status == 503
            assert answer.error.code == "control"
            assert "too many" in answer.error.message
        await lab.wait_no_connection()
        assert await lab.run(lab.client.status) == STATUS


async def test_a_follower_that_does_not_read_is_dropped(tmp_path):
    async with served(tmp_path, Limits(send_s=SHORT)) as lab:
        lab.supervisor.endless = True
        async with await trio.open_unix_socket(lab.path) as stream:
            await stream.send_all(request("GET", "/v1/events?follow=true"))
            await lab.supervisor.left.wait()
        # What the kernel holds for the client, a few hundred KiB, and nothing beside.
        assert lab.supervisor.produced < 20_000
        assert await lab.run(lab.client.status) == STATUS


async def test_a_follower_that_leaves_is_noticed_though_nothing_happens(lab):
    async with await trio.open_unix_socket(lab.path) as stream:
        await follow(stream)
        assert lab.supervisor.followers == 1
    with trio.fail_after(1):
        await lab.supervisor.left.wait()


async def test_shutdown_ends_streams_properly(tmp_path):
    async with served(tmp_path, Limits()) as lab, trio.open_nursery() as nursery:
        following = trio.Event()

        def follow():
            seen = []
            for event in lab.client.events(follow=True):
                seen.append(event.seq)
                if len(seen) == 3:
                    trio.from_thread.run_sync(following.set)
            assert seen == [1, 2, 3]

        nursery.start_soon(trio.to_thread.run_sync, follow)
        await following.wait()
        lab.shutdown.set()


async def endless_logs(names, *, follow, lines):
    async def chunks():
        while True:
            yield b'{"msg":"%s"}\n' % (b"x" * 1_000_000)

    return chunks()


async def test_shutdown_ends_a_stream_between_chunks(tmp_path):
    async with served(tmp_path, Limits(grace_s=20)) as lab:
        lab.supervisor.logs = endless_logs
        async with await trio.open_unix_socket(lab.path) as stream:
            await stream.send_all(request("GET", "/v1/logs?follow=true"))
            await trio.testing.wait_all_tasks_blocked(SHORT)  # the server, in the middle of a chunk
            lab.shutdown.set()
            received = b"".join([chunk async for chunk in stream])
        assert received.endswith(b"}\n\r\n0\r\n\r\n")


async def test_shutdown_lets_go_of_a_kept_connection(tmp_path):
    async with served(tmp_path, Limits(grace_s=20)) as lab, await trio.open_unix_socket(lab.path) as stream:
        await stream.send_all(request("GET", "/v1/status", headers=""))
        await stream.receive_some()
        lab.shutdown.set()
        with trio.fail_after(1):
            assert await stream.receive_some() == b""


async def test_what_is_under_way_at_shutdown_is_answered(tmp_path):
    async with served(tmp_path, Limits(grace_s=20)) as lab, await trio.open_unix_socket(lab.path) as stream:
        lab.supervisor.gate = trio.Event()
        await stream.send_all(request("POST", "/v1/stop", b'{"nodes":["n1"]}', headers=""))
        await trio.testing.wait_all_tasks_blocked()
        lab.shutdown.set()
        await trio.testing.wait_all_tasks_blocked()
        lab.supervisor.gate.set()
        with trio.fail_after(1):
            assert Answer.parse(b"".join([chunk async for chunk in stream])).status == 200


async def test_shutdown_waits_for_nobody(tmp_path):
    async with served(tmp_path, Limits()) as lab:
        lab.supervisor.endless = True
        lab.supervisor.gate = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lab.exchange, request("POST", "/v1/stop", b'{"nodes":["n1"]}'))
            async with (
                await trio.open_unix_socket(lab.path) as silent,
                await trio.open_unix_socket(lab.path) as deaf,
            ):
                await silent.send_all(b"GET")
                await deaf.send_all(request("GET", "/v1/events?follow=true"))
                await trio.testing.wait_all_tasks_blocked(SHORT)
                lab.shutdown.set()
                with trio.fail_after(1):
                    await lab.wait_no_connection()


async def test_a_stream_that_breaks_off_is_not_taken_for_one_that_ended(lab, caplog):
    async def broken(*, since, follow):
        yield event(1)
        raise ZeroDivisionError("oops")

    lab.supervisor.events = broken
    raised = await lab.refused(lambda: list(lab.client.events()))
    assert type(raised) is NotRunningError
    await trio.testing.wait_all_tasks_blocked()
    assert "ZeroDivisionError: oops" in caplog.text
    caplog.clear()


@pytest.mark.parametrize(
    "upgrade",
    [
        "websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==",
        "h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA",
    ],
)
async def test_an_upgrade_is_not_taken(lab, upgrade):
    headers = f"connection: upgrade\r\nupgrade: {upgrade}\r\n"
    received = await lab.exchange(request("GET", "/v1", headers=headers) + request("GET", "/v1/status"))
    assert received.count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize(
    "sent",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00" * 100,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100_000,
    ],
)
async def test_other_protocols_are_no_way_in(lab, sent):
    received = await lab.exchange(sent, eof=True)
    assert Answer.parse(received).status == 400
    await lab.wait_no_connection()
    assert await lab.run(lab.client.status) == STATUS


async def test_the_socket_is_its_owners_from_birth(tmp_path, monkeypatch):
    modes = []
    socket_file = tmp_path / "new" / "control.sock"
    real = os.umask
    monkeypatch.setattr(os, "umask", lambda mask: modes.append(socket_file.exists()) or real(mask))
    with bind(str(socket_file)):
        assert stat.S_IMODE(socket_file.stat().st_mode) == 0o600
        assert stat.S_IMODE(socket_file.parent.stat().st_mode) == 0o700
    assert modes == [False, True]


async def test_a_dead_daemons_socket_is_replaced(tmp_path):
    bind(str(tmp_path / "control.sock")).close()
    client = Client(str(tmp_path / "control.sock"), timeout_s=1)
    with pytest.raises(NotRunningError):
        await trio.to_thread.run_sync(client.status)
    async with served(tmp_path, Limits()) as lab:
        assert await lab.run(client.status) == STATUS


@pytest.mark.parametrize("kind", ["file", "directory"])
async def test_what_is_no_socket_is_left_where_the_socket_would_go(tmp_path, kind):
    place = tmp_path / "control.sock"
    place.touch() if kind == "file" else place.mkdir()
    with pytest.raises(LabStateError, match=r"control\.sock, where the control socket goes, is taken by something"):
        bind(str(place))
    assert place.exists()


async def test_a_socket_that_cannot_be_made_is_explained(tmp_path):
    with pytest.raises(LabStateError, match="too long"):
        bind(str(tmp_path / ("x" * 200)))
