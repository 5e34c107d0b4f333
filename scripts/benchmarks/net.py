"""What a fault network that does nothing costs the puts of one client, and of many."""

import base64
import contextlib
import socket
import ssl
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Final, Self
from urllib.parse import urlsplit

import msgspec
from figure import Figure
from product import CannotMeasure
from setting import Setting

from etcdlab.model.plan import Plan
from etcdlab.prepare.labdir import LabDirectory

LAB: Final = "direct"
FAULTS: Final = "faults"
CLIENTS: Final = 64
PUTS: Final = 200
"""Of one client, in one sample."""
VALUE_BYTES: Final = 100
ANSWER_S: Final = 10.0
LATENCY_LIMIT: Final = 2.0
RATE_LIMIT: Final = 1 / 0.7


def measure(setting: Setting) -> Iterator[Figure]:
    """Three members, puts to the leader over mutual TLS and etcd's JSON gateway, without and with a fault network."""
    product = setting.product
    product.run("up", "--name", LAB)
    product.run("up", "--name", FAULTS, "--faults")
    latencies: list[tuple[float, float]] = []
    rates: list[tuple[float, float]] = []
    with contextlib.ExitStack() as stack:
        direct, faults = (
            [stack.enter_context(_client(setting, lab, number)) for number in range(CLIENTS)] for lab in (LAB, FAULTS)
        )
        _rate(direct, 1), _rate(faults, 1)  # the first puts of a connection take longer
        for _ in range(setting.runs):
            latencies.append((_latency(faults[0]), _latency(direct[0])))
            rates.append((_rate(faults, setting.window_s), _rate(direct, setting.window_s)))
    product.purge(FAULTS)
    product.purge(LAB)
    yield _figure("put, 1 client, with faults", "ms", latencies)
    yield _ratio("put, 1 client, with faults to without", latencies, target=LATENCY_LIMIT)
    yield _figure(f"puts, {CLIENTS} clients, with faults", "puts/s", rates)
    yield _ratio(f"puts, {CLIENTS} clients, without faults to with", [pair[::-1] for pair in rates], target=RATE_LIMIT)


def _figure(name: str, unit: str, pairs: Sequence[tuple[float, float]]) -> Figure:
    ours, direct = zip(*pairs, strict=True)
    return Figure(name=name, unit=unit, samples=ours, beside=direct, beside_name="without them")


def _ratio(name: str, pairs: Sequence[tuple[float, float]], *, target: float) -> Figure:
    """Of the medians."""
    one, other = map(statistics.median, zip(*pairs, strict=True))
    return Figure(name=name, unit="times", samples=(one / other,), target=target)


class _Client:
    """One connection that puts one key again and again, with little of Python in it. A context manager."""

    def __init__(self, plan: Plan, url: str, key: str) -> None:
        assert plan.tls is not None
        where = urlsplit(url)
        context = ssl.create_default_context(cafile=plan.tls.ca)
        context.load_cert_chain(plan.tls.gateway.certificate, plan.tls.gateway.private_key)
        plain = socket.create_connection((where.hostname, where.port), ANSWER_S)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = context.wrap_socket(plain, server_hostname=where.hostname)
        pair = {"key": base64.b64encode(key.encode()), "value": base64.b64encode(b"v" * VALUE_BYTES)}
        body = msgspec.json.encode({name: text.decode() for name, text in pair.items()})
        head = f"POST /v3/kv/put HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._request = head.encode() + body

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def put(self) -> None:
        """One put, answered. Raises CannotMeasure."""
        self._connection.sendall(self._request)
        answer = self._connection.recv(65536)
        while b"\r\n\r\n" not in answer or not answer.endswith(b"}"):
            if not (more := self._connection.recv(65536)):
                break
            answer += more
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise CannotMeasure(f"a put was answered with {answer[:200]!r}")


def _client(setting: Setting, lab: str, number: int) -> _Client:
    plan = LabDirectory(setting.product.home / lab).load_plan()
    leader = setting.product.status(lab).leader
    node = next(node for node in plan.nodes if node.name == leader)
    return _Client(plan, node.client_url, f"bench/{number}")


def _latency(client: _Client) -> float:
    """Milliseconds of a put, the median of some."""
    samples = []
    for _ in range(PUTS):
        began = time.perf_counter()
        client.put()
        samples.append((time.perf_counter() - began) * 1000)
    return statistics.median(samples)


def _rate(clients: list[_Client], seconds: float) -> float:
    """Puts a second while all clients put for so long, each after its last was answered."""
    counts = [0] * len(clients)
    deadline = time.perf_counter() + seconds

    def put(number: int) -> None:
        while time.perf_counter() < deadline:
            clients[number].put()
            counts[number] += 1

    threads = [threading.Thread(target=put, args=(number,)) for number in range(len(clients))]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)
