"""What passes over links with faults, in virtual time, over sockets that are real."""

import contextlib

import pytest
import trio
import trio.testing

from etcdlab.model.link import Blackhole, Cut, Delay, Flap, Link, Rate
from etcdlab.network.line import Line
from etcdlab.network.network import Network

pytestmark = pytest.mark.trio
LINK = Link("n1", "n2")


@pytest.fixture
def clock(mock_clock):
    """Time that passes only while nothing else happens. pytest-trio wants it among the arguments of each test."""
    mock_clock.autojump_threshold = 0.02  # what goes through a socket takes a moment
    return mock_clock


@pytest.fixture
async def network(clock, nursery):
    network = Network()
    nursery.start_soon(network.run)
    return network


async def pair():
    """Two ends of a TCP connection."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    near = await trio.testing.open_stream_to_socket_listener(listeners[0])
    far = await listeners[0].accept()
    await listeners[0].aclose()
    return near, far


class Carried:
    """A connection of which one direction goes over LINK: `send` at one end, `receive` at the other."""

    def __init__(self, sender, source, sink, receiver):
        self.sender, self.source, self.sink, self.receiver = sender, source, sink, receiver
        self.ended = trio.Event()

    async def run(self, network):
        with contextlib.suppress(trio.BrokenResourceError), network.dialled(LINK, self.source, self.sink):
            await Line(self.source, self.sink, LINK, network).carry()
        self.ended.set()

    async def arrival(self, size):
        """When so many bytes have come."""
        while size > 0:
            size -= len(await self.receiver.receive_some(65536))
        return trio.current_time()


@pytest.fixture
async def carried(network, nursery):
    made = Carried(*await pair(), *await pair())
    nursery.start_soon(made.run, network)
    yield made
    for stream in (made.sender, made.source, made.sink, made.receiver):
        await trio.aclose_forcefully(stream)


async def test_what_is_sent_arrives_with_its_end(clock, carried, nursery):
    async def send():
        await carried.sender.send_all(b"x" * 500_000)
        await carried.sender.send_eof()

    nursery.start_soon(send)
    received = b"".join([bytes(chunk) async for chunk in carried.receiver])
    assert received == b"x" * 500_000
    await carried.ended.wait()


async def test_a_blackhole_holds_and_delivers_late(clock, network, carried):
    await carried.sender.send_all(b"before")
    assert await carried.receiver.receive_some(100) == b"before"
    network.inject([LINK], Blackhole(), for_s=9)
    began = trio.current_time()
    await carried.sender.send_all(b"during")
    await carried.sender.send_eof()
    assert await carried.receiver.receive_some(100) == b"during"
    assert trio.current_time() - began == pytest.approx(9, abs=0.1)
    assert await carried.receiver.receive_some(100) == b""


async def test_a_delay_is_a_line_and_not_a_sleep_for_each_chunk(clock, network, carried):
    network.inject([LINK], Delay(delay_s=10), for_s=None)
    began = trio.current_time()
    for _ in range(5):
        await carried.sender.send_all(b"x")
        await trio.sleep(1)
    assert [await carried.arrival(1) - began for _ in range(5)] == pytest.approx([10, 11, 12, 13, 14], abs=0.1)


async def test_what_is_late_by_chance_overtakes_nothing(clock, network, carried):
    network.inject([LINK], Delay(delay_s=1, jitter_s=1), for_s=None)
    for number in range(50):
        await carried.sender.send_all(b"%c" % number)
        await trio.sleep(0.01)
    received = b""
    while len(received) < 50:
        received += bytes(await carried.receiver.receive_some(100))
    assert received == bytes(range(50))


async def test_a_delay_that_is_healed_delivers_at_once(clock, network, carried):
    network.inject([LINK], Delay(delay_s=1000), for_s=5)
    began = trio.current_time()
    await carried.sender.send_all(b"x")
    assert await carried.arrival(1) - began == pytest.approx(5, abs=0.1)


async def test_a_rate(clock, network, carried):
    network.inject([LINK], Rate(bytes_per_s=1000), for_s=None)
    began = trio.current_time()
    await carried.sender.send_all(b"x" * 3000)
    assert [await carried.arrival(1000) - began for _ in range(3)] == pytest.approx([1, 2, 3], abs=0.2)


async def test_who_sends_has_to_wait_when_much_is_on_its_way(clock, network, carried):
    network.inject([LINK], Blackhole(), for_s=60)
    began = trio.current_time()
    with trio.move_on_after(30) as scope:
        await carried.sender.send_all(b"x" * 50_000_000)
    assert scope.cancelled_caught
    assert trio.current_time() - began == pytest.approx(30, abs=0.1)


async def test_a_cut_resets_what_was_dialled(clock, network, carried, nursery):
    network.inject([LINK.back], Cut(), for_s=None)
    await trio.testing.wait_all_tasks_blocked()
    assert not carried.ended.is_set()
    network.inject([LINK], Cut(), for_s=None)
    await carried.ended.wait()
    for stream in (carried.source, carried.sink):
        await trio.aclose_forcefully(stream)
    for stream in (carried.sender, carried.receiver):
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some(1)


async def test_flapping_turns_by_itself(clock, network):
    network.inject([LINK], Flap(down_s=2, up_s=3), for_s=11)
    began, turns = trio.current_time(), []
    while network.faults:
        changed = network.changed
        turns.append((round(trio.current_time() - began, 3), network.is_cut(LINK)))
        await changed.wait()
    assert turns == [(0, True), (2, False), (5, True), (7, False), (10, True)]
    assert not network.is_cut(LINK)


async def test_what_was_on_the_links_is_put_back_unless_it_is_over(clock, network):
    network.inject([LINK], Cut(), for_s=5)
    network.inject([LINK], Blackhole(), for_s=None)
    faults = network.faults
    await trio.sleep(6)
    restored = Network()
    restored.restore(faults)
    assert [type(active.fault) for active in restored.faults] == [Blackhole]
    assert restored.faults == network.faults
