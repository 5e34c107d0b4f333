"""Requests made from the API's own description, right and wrong; clients, and servers, that keep to no manners."""

import json
import re
import resource
import socket
import tempfile
import threading
from contextlib import AsyncExitStack, suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlencode

import jsonschema
import msgspec
import pytest
import trio
import trio.testing
from hypothesis import example, given
from hypothesis import strategies as st

from etcdlab.control.api import Api
from etcdlab.control.client import Client
from etcdlab.control.connection import Limits
from etcdlab.control.openapi import document
from etcdlab.errors import EtcdlabError
from tests import hostile
from tests.control.fake import NAMES, PLAN, STATUS, Answer, FakeSupervisor, event, request, served
from tests.examples import examples

DOCUMENT = document(Api(FakeSupervisor()).operations)
OPERATIONS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]
SCHEMAS = DOCUMENT["components"]["schemas"]


def from_schema(schema: dict) -> st.SearchStrategy:
    """Values that a schema of a request allows, now and then with what it does not."""
    if "$ref" in schema:
        return from_schema(SCHEMAS[schema["$ref"].rpartition("/")[2]])
    if schema.get("type") == "object":
        fields = {name: from_schema(field) for name, field in schema.get("properties", {}).items()}
        required = schema.get("required", [])
        right = st.fixed_dictionaries(
            {name: fields[name] for name in required},
            optional={name: field for name, field in fields.items() if name not in required},
        )
    elif schema.get("type") == "array":
        right = st.lists(from_schema(schema["items"]), min_size=schema.get("minItems", 0), max_size=4)
    elif schema.get("type") == "integer":
        right = st.integers(schema.get("minimum"), schema.get("maximum"))
    elif schema.get("type") == "boolean":
        right = st.booleans()
    elif "pattern" in schema:
        right = st.from_regex(re.compile(schema["pattern"], re.ASCII)) | st.sampled_from(["SIGKILL", "SIGUSR1"])
    else:
        right = st.sampled_from([*NAMES, "n9"]) | hostile.text
    return st.integers(0, 9).flatmap(lambda chance: right if chance else hostile.json_values)


@st.composite
def requests(draw):
    path, method = draw(st.sampled_from(OPERATIONS))
    described = DOCUMENT["paths"][path][method]
    body = b""
    if "requestBody" in described:
        body = json.dumps(draw(from_schema(described["requestBody"]["content"]["application/json"]["schema"]))).encode()
    query = {}
    for parameter in described.get("parameters", ()):
        if parameter["name"] != "follow" and draw(st.booleans()):
            query[parameter["name"]] = draw(from_schema(parameter["schema"]))
    target = f"{path}?{urlencode(query, doseq=True)}" if query else path
    return path, method, request(method.upper(), target, body)


def check_as_described(path, method, received):
    answer = Answer.parse(received)
    assert answer.status < 500
    responses = DOCUMENT["paths"][path][method]["responses"]
    content = responses.get(str(answer.status), responses["default"])["content"]
    schema = {**content[answer.headers["content-type"]]["schema"], "components": DOCUMENT["components"]}
    validator = jsonschema.Draft202012Validator(schema)
    if answer.headers["content-type"] == "application/json":
        validator.validate(json.loads(answer.content))
    else:
        for line in (line for line in answer.content.splitlines() if line.startswith(b"{")):
            validator.validate(json.loads(line))


@examples(30)
@given(st.lists(requests(), min_size=1, max_size=4))
def test_what_the_document_describes_is_answered_as_it_describes(sent):
    async def main():
        async with served(Path(directory), Limits()) as lab:
            for path, method, content in sent:
                check_as_described(path, method, await lab.exchange(content))
            assert await lab.run(lab.client.status) == STATUS

    with tempfile.TemporaryDirectory() as directory:
        trio.run(main)


@st.composite
def pieces(draw):
    """What a client sends, in pieces: requests one after the other, some spoiled, the last perhaps not whole."""
    sent = bytearray(b"".join(content for _, _, content in draw(st.lists(requests(), min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(sent) - 1))
        sent[place : place + draw(st.integers(0, 2))] = draw(st.binary(max_size=3))
    cuts = sorted(draw(st.lists(st.integers(0, len(sent)), max_size=4)))
    return [bytes(sent[begin:end]) for begin, end in pairwise([0, *cuts, draw(st.sampled_from(cuts or [len(sent)]))])]


ON_MEMBERS = ("start", "stop", "restart", "kill", "pause", "resume", "logs")


async def send(lab, pieces, *, leaves):
    """Send, and read what comes; or leave without."""
    async with await trio.open_unix_socket(lab.path) as stream:
        with suppress(trio.BrokenResourceError):
            for piece in pieces:
                await stream.send_all(piece)
                await trio.lowlevel.checkpoint()
            if leaves:
                return
            await stream.send_eof()
        received = b""
        with suppress(trio.BrokenResourceError):
            async for chunk in stream:
                received += chunk
    assert all(int(status) < 500 or status == b"501" for status in re.findall(rb"HTTP/1\.1 (\d+) ", received))


@examples(40)
@given(st.lists(st.tuples(pieces(), st.booleans()), min_size=1, max_size=5))
def test_clients_at_once_that_send_anything_in_any_pieces(caplog, clients):
    async def main():
        async with served(Path(directory), Limits()) as lab:
            async with trio.open_nursery() as nursery:
                for sent, leaves in clients:
                    nursery.start_soon(partial(send, lab, sent, leaves=leaves))
            await lab.wait_no_connection()
            assert await lab.run(lab.client.status) == STATUS
            named = {name for verb, *about in lab.supervisor.calls if verb in ON_MEMBERS for name in about[0]}
            assert named <= set(NAMES)

    with tempfile.TemporaryDirectory() as directory:
        trio.run(main)
    assert not caplog.records


pytestmark = pytest.mark.filterwarnings("error")
GET = b"GET /v1/status HTTP/1.1\r\nhost: x\r\n"


@pytest.mark.trio
@pytest.mark.parametrize("target", ["http://localhost/v1/status", "HTTP://x:1/v1/status", "http://[::1]/v1/status"])
async def test_a_whole_url_is_a_target_too(lab, target):
    assert (await lab.ask("GET", target)).status == 200


@pytest.mark.trio
@pytest.mark.parametrize("target", ["http://", "http://x", "http:/v1/status", "ftp://x/v1/status", "*", "//v1/status"])
async def test_no_target(lab, target):
    assert (await lab.ask("GET", target)).status in (200, 404)


@pytest.mark.trio
async def test_http_1_0_gets_its_answer_and_the_end(lab):
    answer = Answer.parse(await lab.exchange(b"GET /v1/status HTTP/1.0\r\n\r\n"))
    assert answer.status == 200
    assert answer.headers["connection"] == "close"
    received = await lab.exchange(b"GET /v1/events HTTP/1.0\r\n\r\n")
    assert "transfer-encoding" not in Answer.parse(received).headers
    assert received.count(b'"seq"') == 3


@pytest.mark.trio
async def test_the_preface_of_http_2(lab):
    answer = Answer.parse(await lab.exchange(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"))
    assert answer.status == 400


@pytest.mark.trio
async def test_chunks_with_extensions_and_trailers(lab):
    head = b"POST /v1/start HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    body = b'8;a="b;c"\r\n{"nodes"\r\n8;x\r\n:["n1"]}\r\n0;end\r\nx-trailer: y\r\n\r\n'
    assert Answer.parse(await lab.exchange(head + body)).status == 200
    assert lab.supervisor.calls == [("start", ("n1",))]


@pytest.mark.trio
@pytest.mark.parametrize(
    "chunk",
    [
        b"-1\r\n",
        b"0x5\r\nhello\r\n",
        b"f" * 30 + b"\r\n",
        b"5;" + b"x" * 100_000,
        b"\r\n",
        b"5\r\nhello!\r\n",
        b"5 5\r\n",
    ],
)
async def test_no_chunk(lab, chunk):
    head = b"POST /v1/start HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    assert Answer.parse(await lab.exchange(head + chunk)).status in (400, 413, 431)
    assert lab.supervisor.calls == []


@pytest.mark.trio
@pytest.mark.parametrize(
    "headers",
    [
        b"content-length: 5\r\ntransfer-encoding: chunked\r\n",
        b"content-length: 0\r\ncontent-length: 5\r\n",
        b"transfer-encoding: chunked, chunked\r\n",
        b"content-length : 5\r\n",
        b"content-length: +5\r\n",
        b"x: a\r\n b\r\n\tc\r\n" * 2000,
        b"host: y\r\n",
    ],
)
async def test_no_second_request_can_be_smuggled_in(lab, headers):
    smuggled = b"POST /v1/shutdown HTTP/1.1\r\nhost: x\r\n\r\n"
    received = await lab.exchange(
        b"POST /v1/reset HTTP/1.1\r\nhost: x\r\n" + headers + b"\r\n0\r\n\r\n" + smuggled, eof=True
    )
    assert Answer.parse(received).status in (200, 400, 431, 501)
    assert ("shutdown", False) not in lab.supervisor.calls


@pytest.mark.trio
async def test_a_bomb_of_headers(lab):
    received = await lab.exchange(GET + b"x: y\r\n" * 100_000 + b"\r\n")
    assert Answer.parse(received).status == 431


@pytest.mark.trio
async def test_a_thousand_requests_sent_ahead_are_answered_in_turn(lab):
    async with await trio.open_unix_socket(lab.path) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, (GET + b"\r\n") * 999 + request("GET", "/v1/status"))
        received = b"".join([chunk async for chunk in stream])
    assert received.count(b"HTTP/1.1 200") == 1000


@pytest.mark.trio
async def test_one_who_sends_ahead_and_reads_nothing_is_let_go(tmp_path):
    async with served(tmp_path, Limits(send_s=0.1)) as lab:
        async with await trio.open_unix_socket(lab.path) as stream:
            with suppress(trio.BrokenResourceError):
                await stream.send_all((GET + b"\r\n") * 20_000)
            await lab.wait_no_connection()
        assert len(lab.supervisor.calls) < 20_000


@pytest.mark.trio
async def test_hundreds_of_idle_connections_cost_little_and_are_refused(tmp_path):
    async with served(tmp_path, Limits(head_s=60.0)) as lab:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        async with AsyncExitStack() as stack:
            for _ in range(Limits().connections):
                await stack.enter_async_context(await trio.open_unix_socket(lab.path))
            while lab.connections() < Limits().connections:
                await trio.testing.wait_all_tasks_blocked()
            for _ in range(200):
                stream = await stack.enter_async_context(await trio.open_unix_socket(lab.path))
                assert b" 503 " in await stream.receive_some()
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024  # KiB
        await lab.wait_no_connection()
        assert await lab.run(lab.client.status) == STATUS


@pytest.mark.trio
@pytest.mark.parametrize("cut", [1, 10, 30, 60])
async def test_a_request_that_is_cut_by_the_clients_eof(lab, cut):
    sent = request("POST", "/v1/start", b'{"nodes":["n1"]}')[:-cut]
    received = await lab.exchange(sent, eof=True)
    assert not received or Answer.parse(received).status == 400
    assert lab.supervisor.calls == []
    await lab.wait_no_connection()


ANSWERS = [
    msgspec.json.encode(STATUS),
    msgspec.json.encode(PLAN),
    msgspec.json.encode(event(1)) + b"\n",
    b'{"version":1,"error":{"code":"topology","message":"m","hint":"h"}}',
]
heads = st.sampled_from(
    [b"200 OK", b"202 Accepted", b"400 Bad", b"500 \xff", b"100 Continue", b"999", b"-1 x", b"", b"x"]
)
lengths = st.sampled_from([
    b"", b"content-length: %d\r\n", b"content-length: -1\r\n", b"content-length: 99999999\r\n",
    b"content-length: x\r\n", b"transfer-encoding: chunked\r\n", b"connection: close\r\n", b"x: y\r\n" * 200,
    b"x" * 70_000,
])  # fmt: skip


@st.composite
def answers(draw):
    """What comes back: near an answer of the API, or nowhere near."""
    body = bytearray(draw(st.sampled_from(ANSWERS) | st.binary(max_size=40)))
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(body)))
        body[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    length = draw(lengths)
    head = b"HTTP/1.1 %s\r\n%s\r\n" % (draw(heads), length % len(body) if b"%d" in length else length)
    return draw(st.sampled_from([head + body, bytes(body), head[: draw(st.integers(0, len(head)))]]))


@examples(100)
@given(answers(), st.sampled_from(["status", "plan", "reset", "shutdown", "events", "logs"]))
@example(b'HTTP/1.1 400 Bad\r\n\r\n{"version":1,"error":{"code":"\x80","message":"m","hint":"h"}}', "status")
@example(b'HTTP/1.1 200 OK\r\n\r\n{"version":1,"x":%s}' % (b"[" * 100_000), "status")
def test_whatever_answers_it_is_understood_or_an_error_for_people(answer, verb):
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{directory}/s")
        listener.listen()
        client = Client(f"{directory}/s", timeout_s=20)

        def serve():
            accepted, _ = listener.accept()
            with accepted, suppress(ConnectionError):
                accepted.sendall(answer)
                accepted.shutdown(socket.SHUT_WR)
                while accepted.recv(4096):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        with suppress(EtcdlabError):
            told = getattr(client, verb)()
            if verb in ("events", "logs"):
                list(told)
        thread.join()
