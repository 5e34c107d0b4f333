"""The listeners of a member: where it dials its peers (CONNECT), and where its clients dial it."""

import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final

import trio

from etcdlab.model.link import CLIENTS, Link
from etcdlab.model.plan import NodePlan
from etcdlab.network.line import Line
from etcdlab.network.network import Network, reset_at_close

logger = logging.getLogger(__name__)

LOOPBACK: Final = "127.0.0.1"
HEAD_S: Final = 5.0
HEAD_BYTES: Final = 8192
_CONNECT: Final = re.compile(rb"CONNECT ([0-9.]+:[0-9]+) HTTP/1\.[01]\r\n")
_OPEN: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"


Dialled = Callable[[trio.SocketStream], Awaitable[None]]
Listening = list[tuple[Dialled, list[trio.SocketListener]]]


async def listen(nodes: Sequence[NodePlan], network: Network) -> Listening:
    """Bind the ports of all members, for them and for their clients. Raises OSError if one cannot be."""
    peers = {node.links.address: node for node in nodes if node.links}
    wanted: list[tuple[int, Dialled]] = []
    for node in nodes:
        if node.links is None:
            continue
        wanted.append((node.links.proxy_port, partial(_member_dials, node, peers, network)))
        if node.links.own_client_port != node.client_port:
            link, own = Link(CLIENTS, node.name), node.links.own_client_port
            wanted.append((node.client_port, partial(_client_dials, link, own, network)))
    return [(dialled, await trio.open_tcp_listeners(port, host=LOOPBACK)) for port, dialled in wanted]


async def serve(listening: Listening) -> None:
    """Carry what comes, for ever."""
    async with trio.open_nursery() as nursery:
        for dialled, listeners in listening:
            nursery.start_soon(trio.serve_listeners, partial(_handle, dialled), listeners)


async def _handle(dialled: Dialled, stream: trio.SocketStream) -> None:
    async with stream:
        try:
            await dialled(stream)
        except* (trio.BrokenResourceError, OSError):  # one end is gone; the other sees it when it is closed
            pass
        except* Exception:
            logger.exception("a connection failed")


async def _member_dials(
    node: NodePlan, peers: Mapping[str, NodePlan], network: Network, stream: trio.SocketStream
) -> None:
    """A member asks for a connection to one of its peers."""
    target = await _target(stream)
    if target is None or (peer := peers.get(target)) is None:
        await _refuse(stream, b"403 Forbidden", b"only members of this lab are reached here")
        return
    link = Link(node.name, peer.name)
    if network.is_cut(link):
        await _refuse(stream, b"503 Service Unavailable", b"this link is cut")
        return
    with network.dialled(link, stream):
        await network.wait_passable(link)
        await network.wait_passable(link.back)
        try:
            far = await trio.open_tcp_stream(LOOPBACK, peer.peer_port)
        except OSError:  # at once: a new member waits a second for a peer that holds it, and not for one that refuses
            await _refuse(stream, b"502 Bad Gateway", b"this member does not listen")
            return
        async with far:
            await stream.send_all(_OPEN)
            await _carry(stream, far, link, network)


async def _client_dials(link: Link, port: int, network: Network, stream: trio.SocketStream) -> None:
    if network.is_cut(link):
        reset_at_close(stream)
        return
    with network.dialled(link, stream):
        await network.wait_passable(link)
        async with await trio.open_tcp_stream(LOOPBACK, port) as far:
            await _carry(stream, far, link, network)


async def _carry(near: trio.SocketStream, far: trio.SocketStream, link: Link, network: Network) -> None:
    with network.dialled(link, near, far):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Line(near, far, link, network).carry)
            nursery.start_soon(Line(far, near, link.back, network).carry)


async def _target(stream: trio.SocketStream) -> str | None:
    """Where a CONNECT request wants to go; None if it is none, or takes too long."""
    head = b""
    with trio.move_on_after(HEAD_S):
        while b"\r\n\r\n" not in head and len(head) < HEAD_BYTES:
            if not (data := await stream.receive_some(HEAD_BYTES)):
                return None
            head += data
        if asked := _CONNECT.match(head):
            return asked[1].decode()
    return None


async def _refuse(stream: trio.SocketStream, status: bytes, why: bytes) -> None:
    answer = b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
    await stream.send_all(answer % (status, len(why), why))
