"""Who may talk to a lab, and to whom a client talks: the owner and root; no other user, and no web page."""

import socket
from pathlib import Path

import pytest
import trio
from torturing.stranger import STRANGER, as_stranger

from etcdlab.control import server
from etcdlab.control.client import Client
from etcdlab.control.connection import Limits
from etcdlab.errors import ControlError
from tests import stranger
from tests.control.fake import STATUS, Answer, request, served


async def read(stream):
    return b"".join([chunk async for chunk in stream])


@pytest.mark.trio
async def test_any_other_user_is_refused_unheard(lab, monkeypatch):
    monkeypatch.setattr(server, "user_of_peer", lambda _: STRANGER)
    monkeypatch.setattr(server, "is_trusted", lambda user: user != STRANGER)
    answer = Answer.parse(await lab.exchange(request("POST", "/v1/shutdown", b"{}")))
    assert (answer.status, answer.error.code) == (403, ControlError.code)
    assert answer.error.message == f"this lab is not user {STRANGER}'s"
    assert lab.supervisor.calls == []
    await lab.wait_no_connection()


@pytest.mark.trio
async def test_any_other_user_takes_nobody_elses_place(lab, monkeypatch):
    monkeypatch.setattr(server, "is_trusted", lambda _: False)
    for _ in range(100):
        assert b" 403 " in await lab.exchange(b"")
    monkeypatch.undo()
    assert await lab.run(lab.client.status) == STATUS


@stranger.needed
@pytest.mark.trio
async def test_a_real_stranger_is_refused():
    with stranger.meeting_place() as place, socket.socket(socket.AF_UNIX) as connecting:
        home = place / "home"
        home.mkdir(mode=0o700)
        async with served(home, Limits()) as lab:
            path = lab.path
            assert stranger.is_refused(lambda: connecting.connect(path)), "the directory's mode keeps it out"
            home.chmod(0o755)
            assert stranger.is_refused(lambda: connecting.connect(path)), "the socket's mode keeps it out"
            Path(path).chmod(0o666)  # noqa: ASYNC240
            as_stranger(lambda: connecting.connect(path))
            connecting.setblocking(False)
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(connecting.dup()))
            async with stream:
                assert Answer.parse(await read(stream)).status == 403
            assert lab.supervisor.calls == []
            assert await lab.run(lab.client.status) == STATUS


@stranger.needed
def test_a_client_says_nothing_to_a_strangers_socket():
    with stranger.meeting_place() as place, socket.socket(socket.AF_UNIX) as listener:
        path = place / "control.sock"
        listener.bind(str(path))
        as_stranger(listener.listen)
        with pytest.raises(ControlError, match=f"is user {STRANGER}'s, who has put it"):
            Client(str(path), timeout_s=5).shutdown(purge=True)
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.recv(1) == b""


HEAD = "{method} /v1/{target} HTTP/1.1\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n"


async def ask(lab, headers, *, target="stop", body=b'{"nodes":["n1"]}'):
    method = "POST" if body else "GET"
    head = HEAD.format(method=method, target=target, headers=headers, length=len(body))
    return Answer.parse(await lab.exchange(head.encode() + body))


@pytest.mark.trio
@pytest.mark.parametrize(
    "headers",
    [
        "host: localhost\r\norigin: https://evil.example\r\n",
        "host: localhost\r\nOrigin: http://localhost\r\n",
        "host: localhost\r\norigin: null\r\n",
        "host: localhost\r\norigin:\r\n",
        "host: evil.example\r\n",
        "host: evil.example:2379\r\n",
        "host: EVIL.EXAMPLE.\r\n",
        "host: 127.0.0.1.evil.example\r\n",
        "host: 1.2.3.4a\r\n",
        "host: localhost.evil.example:80\r\n",
    ],
)
async def test_no_web_page_is_served(lab, headers):
    answer = await ask(lab, headers)
    assert (answer.status, answer.error.code) == (403, "usage")
    assert "Origin" in answer.error.message
    assert (await ask(lab, headers, target="status", body=b"")).status == 403
    assert lab.supervisor.calls == []


@pytest.mark.trio
@pytest.mark.parametrize(
    "host",
    ["localhost", "lab", "x", "", "localhost:1", "127.0.0.1", "127.0.0.1:2379", "[::1]", "[::1]:80", "localhost."],
)
async def test_a_host_that_nobody_else_can_have_is_served(lab, host):
    assert (await ask(lab, f"host: {host}\r\n")).status == 200
