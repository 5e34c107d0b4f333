"""What one attempt makes of what a server does."""

import socket

import pytest

from etcdlab.check import attempt
from etcdlab.check.attempt import Outcome, in_plain
from tests.check.conftest import ANSWER, Server


def replying(answer: bytes):
    def handle(connection):
        connection.recv(4096)
        connection.sendall(answer)

    return handle


@pytest.mark.parametrize(
    ("answer", "outcome", "words"),
    [
        (ANSWER, Outcome.SERVED, "HTTP/1.1 200 OK"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", Outcome.SERVED, "HTTP/1.1 403 Forbidden"),
        (b"", Outcome.REFUSED, "hung up without an answer"),
        (
            b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
            Outcome.REFUSED,
            "Client sent an HTTP request to an HTTPS server.",
        ),
        (b"SSH-2.0-x\r\n", Outcome.UNKNOWN, "answered 'SSH-2.0-x'"),
    ],
)
def test_in_plain(answer, outcome, words):
    with Server(replying(answer)) as server:
        found = in_plain(server.port)
    assert (found.outcome, found.words) == (outcome, words)
    assert found.source


def test_silence_is_no_refusal(monkeypatch):
    monkeypatch.setattr(attempt, "TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = in_plain(silent.getsockname()[1])
    assert (found.outcome, found.words) == (Outcome.UNKNOWN, "nothing within 0.05 s")


def test_nobody_there_is_no_refusal():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        found = in_plain(unused.getsockname()[1])
    assert (found.outcome, found.words) == (Outcome.UNKNOWN, "no connection: Connection refused")
