"""The listeners of members, before scripted peers that answer with what they were sent."""

import contextlib

import pytest
import trio
import trio.testing

from etcdlab.model.link import CLIENTS, Blackhole, Cut, Link, between
from etcdlab.network import proxy
from etcdlab.network.network import Network
from etcdlab.prepare.ports import LOOPBACK
from tests.control.fake import node_plan
from tests.network.plans import with_links

pytestmark = pytest.mark.trio
OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"
FOREVER_S = 0.2


@pytest.fixture
def nodes(ports):
    return [with_links(node_plan(name), number, ports) for number, name in enumerate(["n1", "n2"], start=1)]


@pytest.fixture
async def network(nodes, nursery):
    """All that listens: the network, and n2 for peers and clients. n1 does not run."""
    network = Network()
    listening = await proxy.listen(nodes, network)
    peers = [await trio.open_tcp_listeners(port, host=LOOPBACK) for port in (nodes[1].peer_port, own_port(nodes[1]))]
    with trio.fail_after(20):
        async with trio.open_nursery() as serving:
            serving.start_soon(network.run)
            serving.start_soon(proxy.serve, listening)
            for listeners in peers:
                serving.start_soon(trio.serve_listeners, echo, listeners)
            yield network
            serving.cancel_scope.cancel()


def own_port(node):
    return node.links.own_client_port


async def echo(stream):
    async with stream:
        with contextlib.suppress(trio.BrokenResourceError):
            async for data in stream:
                await stream.send_all(data)


async def dial(port):
    return await trio.open_tcp_stream(LOOPBACK, port)


async def ask(stream, target):
    await stream.send_all(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    return bytes(await stream.receive_some(1000))


async def exchange(stream, data):
    await stream.send_all(data)
    return bytes(await stream.receive_some(1000))


async def is_reset(stream):
    try:
        return await stream.receive_some(1) == b""
    except trio.BrokenResourceError:
        return True


async def test_a_member_reaches_its_peer_at_its_address(network, nodes):
    async with await dial(nodes[0].links.proxy_port) as stream:
        assert await ask(stream, nodes[1].links.address) == OPEN
        assert await exchange(stream, b"hello") == b"hello"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("CONNECT 192.0.2.9:2380 HTTP/1.1\r\n\r\n", b"403"),
        ("CONNECT 127.0.0.1:22 HTTP/1.1\r\n\r\n", b"403"),
        ("CONNECT example.com:443 HTTP/1.1\r\n\r\n", b"403"),
        ("GET http://192.0.2.2:2380/ HTTP/1.1\r\n\r\n", b"403"),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil\r\n\r\n", b"403"),
        ("x" * 10_000, b"403"),
    ],
)
async def test_nothing_else_is_reached(network, nodes, head, status):
    async with await dial(nodes[0].links.proxy_port) as stream:
        await stream.send_all(head.encode())
        assert bytes(await stream.receive_some(100)).startswith(b"HTTP/1.1 " + status)


async def test_a_peer_that_does_not_listen_is_refused_at_once(network, nodes):
    async with await dial(nodes[1].links.proxy_port) as stream:
        assert (await ask(stream, nodes[0].links.address)).startswith(b"HTTP/1.1 502")


async def test_a_cut_link_refuses_and_resets_what_its_source_dials(network, nodes):
    async with await dial(nodes[0].links.proxy_port) as stream:
        await ask(stream, nodes[1].links.address)
        network.inject([Link("n2", "n1")], Cut(), for_s=None)
        assert await exchange(stream, b"still") == b"still"
        network.inject([Link("n1", "n2")], Cut(), for_s=None)
        assert await is_reset(stream)
    async with await dial(nodes[0].links.proxy_port) as stream:
        assert (await ask(stream, nodes[1].links.address)).startswith(b"HTTP/1.1 503")
    network.heal(None, None)
    async with await dial(nodes[0].links.proxy_port) as stream:
        assert await ask(stream, nodes[1].links.address) == OPEN


@pytest.mark.parametrize("link", between("n1", "n2"), ids=str)
async def test_a_dialler_is_held_by_a_blackhole_in_either_direction(network, nodes, link):
    network.inject([link], Blackhole(), for_s=None)
    async with await dial(nodes[0].links.proxy_port) as stream:
        with trio.move_on_after(FOREVER_S) as scope:
            await ask(stream, nodes[1].links.address)
        assert scope.cancelled_caught
        network.heal(None, None)
        assert await stream.receive_some(1000) == OPEN


async def test_clients(network, nodes):
    async with await dial(nodes[1].client_port) as stream:
        assert await exchange(stream, b"hello") == b"hello"
        network.inject([Link(CLIENTS, "n2")], Cut(), for_s=None)
        assert await is_reset(stream)
    async with await dial(nodes[1].client_port) as stream:
        assert await is_reset(stream)


async def test_answers_to_clients_can_be_held_alone(network, nodes):
    network.inject([Link("n2", CLIENTS)], Blackhole(), for_s=None)
    async with await dial(nodes[1].client_port) as stream:
        with trio.move_on_after(FOREVER_S) as scope:
            await exchange(stream, b"hello")
        assert scope.cancelled_caught
        network.heal(None, None)
        assert await stream.receive_some(10) == b"hello"


async def test_a_client_of_a_member_that_is_down_is_let_go(network, nodes):
    async with await dial(nodes[0].client_port) as stream:
        assert await is_reset(stream)


async def test_a_port_that_is_taken(nodes, network):
    with pytest.raises(OSError, match="in use"):
        await proxy.listen(nodes[:1], Network())
