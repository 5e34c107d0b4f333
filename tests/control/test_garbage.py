"""Whatever comes in, the answer is a proper refusal, nothing stays behind, and the next client is served."""

import json
import logging
import tempfile
from pathlib import Path
from urllib.parse import quote

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from etcdlab.control.api import Api
from etcdlab.control.connection import Limits
from tests.control.fake import STATUS, Answer, FakeSupervisor, request, served
from tests.examples import examples

PATHS = [operation.path for operation in Api(FakeSupervisor()).operations]
METHODS = ["GET", "POST", "HEAD", "PUT", "OPTIONS", "TRACE", "CONNECT", "BREW"]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
near_bodies = st.fixed_dictionaries(
    {}, optional={"nodes": st.lists(st.sampled_from(["n1", "n9", "", 1])) | json_values, "signal": json_values}
)
garbage = st.binary(max_size=300) | st.sampled_from(
    [b"GET", b"GET / HTTP/1.1\r\n", b"\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
)
paths = st.sampled_from(PATHS) | st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)
headers = st.lists(
    st.sampled_from(
        [
            "connection: close\r\n",
            "connection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
            "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n",
            "expect: 100-continue\r\n",
            "transfer-encoding: chunked\r\n",
            "content-length: 5\r\n",
            "content-type: \x7f\r\n",
            "x: \u00ff\r\n",
        ]
    ),
    max_size=3,
).map("".join)


class Complaints(logging.Handler):
    """What the server logs: bugs."""

    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(self.format(record))


@pytest.fixture(scope="module")
def complaints():
    handler = Complaints()
    logger = logging.getLogger("etcdlab.control")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def throw(complaints, sent, *, eof=True):
    async def main():
        with tempfile.TemporaryDirectory() as directory:
            async with served(Path(directory), Limits()) as lab:
                received = await lab.exchange(sent, eof=eof)
                assert await lab.run(lab.client.status) == STATUS
                with trio.fail_after(5):
                    await lab.wait_no_connection()
        return received

    complaints.records.clear()
    received = trio.run(main)
    assert complaints.records == []
    return received


def check(received):
    """An answer is a success, or an error of the client's with its JSON."""
    if received:
        answer = Answer.parse(received)
        assert answer.status < 500 or answer.status == 501
        if answer.status >= 400 and answer.content:
            assert answer.error.message


@examples(40)
@given(garbage)
def test_bytes(complaints, sent):
    check(throw(complaints, sent))


@examples(40)
@given(st.sampled_from(METHODS), paths, headers, st.binary(max_size=50))
def test_requests(complaints, method, path, head, body):
    check(throw(complaints, request(method, path, body, headers=head)))


@examples(40)
@given(st.sampled_from(PATHS), near_bodies | json_values)
def test_bodies(complaints, path, value):
    received = throw(complaints, request("POST", path, json.dumps(value).encode()), eof=False)
    check(received)
    assert received


@examples(40)
@given(st.sampled_from(PATHS), st.text(max_size=30))
def test_queries(complaints, path, query):
    received = throw(complaints, request("GET", f"{path}?{quote(query, safe='=&')}"), eof=False)
    check(received)
    assert received
