"""The fault network's process as a daemon has it: started, found, started again; told, and journalled."""

import contextlib
import functools
import gc
import os
import signal
import stat
import subprocess
import sys

import msgspec
import pytest
import trio

from etcdlab.errors import BootError, LabStateError
from etcdlab.launch import end_network
from etcdlab.model.event import EventKind
from etcdlab.model.link import Blackhole, Cut, Delay, Link
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.prepare.ports import LOOPBACK
from etcdlab.prepare.process import is_alive, send_signal
from etcdlab.prepare.title import NETWORK_MODULE, Role, process_of
from etcdlab.runtime.journal import Journal, read
from etcdlab.runtime.network import FaultNetwork
from tests.network.plans import with_links
from tests.plans import make_plan

# A daemon that ends without a word leaves the process to nobody; here it is in the middle of one that goes on.
pytestmark = [pytest.mark.trio, pytest.mark.filterwarnings("ignore::ResourceWarning")]
LINK = Link("n1", "n2")
BOUND_S = 30


@pytest.fixture
def directory(home, ports):
    plan = make_plan(home, nodes=2)
    directory = LabDirectory(home / plan.lab)
    nodes = tuple(with_links(node, number, ports) for number, node in enumerate(plan.nodes, start=1))
    directory.save_plan(msgspec.structs.replace(plan, nodes=nodes))
    yield directory
    end_network(directory, directory.load_plan())
    directory.purge(directory.load_plan())


@contextlib.asynccontextmanager
async def supervised(directory):
    """A daemon's fault network, until the daemon ends without a word."""
    journal = Journal(directory.events)
    network = FaultNetwork(directory, directory.load_plan(), journal)
    with trio.fail_after(BOUND_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(network.run)
            await network.wait_started()
            yield network
            nursery.cancel_scope.cancel()
    journal.close()
    gc.collect()  # here, where the warnings are expected, and not in another test


def told(directory):
    kinds = (EventKind.FAULT_INJECTED, EventKind.FAULT_HEALED, EventKind.NETWORK_LOST)
    return [(event.kind, event.detail.get("text")) for event in read(directory.events) if event.kind in kinds]


def process(directory):
    found = process_of(directory, Role.NETWORK)
    assert found is not None
    return found


async def wait_until(network, accept):
    while not accept(network.faults):
        await network._changed.wait()


async def test_it_carries_connections_and_ends_when_told(directory):
    node = directory.load_plan().nodes[0]
    async with supervised(directory) as network:
        async with await trio.open_tcp_stream(LOOPBACK, node.links.proxy_port):
            pass
        await network.end()
    assert process_of(directory, Role.NETWORK) is None


async def test_faults_are_on_when_it_is_said_and_in_the_journal(directory):
    async with supervised(directory) as network:
        await network.inject([LINK, LINK.back], Cut(), for_s=None)
        assert [(active.link, active.fault) for active in network.faults] == [(LINK, Cut()), (LINK.back, Cut())]
        await network.inject([LINK], Delay(delay_s=0.03), for_s=0.05)
        await wait_until(network, lambda faults: len(faults) == 2)
        await network.heal([LINK], ["cut"])
        assert [active.link for active in network.faults] == [LINK.back]
        await network.heal()
        assert network.faults == ()
    assert told(directory) == [
        (EventKind.FAULT_INJECTED, "cut n1 ↔ n2"),
        (EventKind.FAULT_INJECTED, "delay 30ms n1 → n2 for 0.05 s"),
        (EventKind.FAULT_HEALED, "delay 30ms n1 → n2"),
        (EventKind.FAULT_HEALED, "cut n1 → n2"),
        (EventKind.FAULT_HEALED, "cut n2 → n1"),
    ]


async def test_what_takes_anothers_place_heals_nothing(directory):
    async with supervised(directory) as network:
        await network.inject([LINK], Delay(delay_s=0.01), for_s=None)
        await network.inject([LINK], Delay(delay_s=0.02), for_s=None)
    assert told(directory) == [
        (EventKind.FAULT_INJECTED, "delay 10ms n1 → n2"),
        (EventKind.FAULT_INJECTED, "delay 20ms n1 → n2"),
    ]


async def test_the_next_daemon_finds_it_with_its_faults(directory):
    async with supervised(directory) as network:
        await network.inject([LINK], Cut(), for_s=None)
        await network.inject([LINK], Blackhole(), for_s=0.05)
    first = process(directory)
    async with supervised(directory) as network:
        await wait_until(network, lambda faults: len(faults) == 1)
        assert network.faults[0].fault == Cut()
        assert process(directory) == first
    assert told(directory) == [
        (EventKind.FAULT_INJECTED, "cut n1 → n2"),
        (EventKind.FAULT_INJECTED, "blackhole n1 → n2 for 0.05 s"),
        (EventKind.FAULT_HEALED, "blackhole n1 → n2"),
    ]


@pytest.mark.parametrize("daemon_lives", [True, False], ids=["alone", "with its daemon"])
async def test_one_that_died_is_followed_by_one_with_the_same_faults(directory, daemon_lives):
    async with supervised(directory) as network:
        await network.inject([LINK], Cut(), for_s=None)
        await network.inject([LINK.back], Blackhole(), for_s=500)
        before, first = network.faults, process(directory)
        if daemon_lives:
            send_signal(first, signal.SIGKILL)
            while network._stream is not None:
                await network._changed.wait()
            await network.wait_started()
            assert network.faults == before
    if not daemon_lives:
        send_signal(first, signal.SIGKILL)
        while is_alive(first):  # noqa: ASYNC110 - it is no child of the test
            await trio.sleep(0.01)
    async with supervised(directory) as network:
        assert network.faults == before
        await network.heal([LINK], None)
        assert [active.link for active in network.faults] == [LINK.back]
    assert [kind for kind, _ in told(directory)].count(EventKind.FAULT_INJECTED) == 2


@pytest.mark.parametrize("notices", [True, False], ids=["when it is known to be dead", "while it dies"])
async def test_what_is_ordered_meanwhile_is_carried_out_by_the_next_one(directory, notices):
    """Once it was refused, with a hint to try again in a moment."""
    async with supervised(directory) as network:
        await network.inject([LINK], Cut(), for_s=None)
        send_signal(process(directory), signal.SIGKILL)
        while notices and network._stream is not None:
            await network._changed.wait()
        await network.inject([LINK.back], Cut(), for_s=None)
        assert [active.link for active in network.faults] == [LINK, LINK.back]
        await network.heal()
        assert network.faults == ()
    assert [kind for kind, _ in told(directory)].count(EventKind.NETWORK_LOST) == 1


async def test_what_is_ordered_at_the_end_is_refused(directory):
    async with supervised(directory) as network:
        await network.end()
        with pytest.raises(LabStateError, match="the fault network does not run"):
            await network.heal()


async def test_one_that_nobody_ever_reached_is_ended(directory):
    """A daemon was killed as soon as it had begun it. Once it stayed, or had the ports that the next one needed."""
    journal = Journal(directory.events)
    journal.emit(EventKind.LAB_READY)
    journal.close()
    command = [sys.executable, "-P", "-m", NETWORK_MODULE, str(directory.path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as stray:  # noqa: ASYNC220 - it does not block
        stray.send_signal(signal.SIGSTOP)
        async with supervised(directory):
            assert process(directory).pid != stray.pid
        assert stray.wait() == -signal.SIGKILL


async def test_one_that_nobody_waits_for_any_more_is_found_by_the_next_daemon(directory):
    """The daemon was killed while it began. Once it died of that, with a traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-P", "-m", NETWORK_MODULE, str(directory.path)]
    with subprocess.Popen(command, stdout=writing) as begun:  # noqa: ASYNC220 - it does not block
        os.close(writing)
        with trio.fail_after(BOUND_S):
            while not await trio.Path(directory.load_plan().network_socket).exists():  # noqa: ASYNC110 - of its own
                await trio.sleep(0.01)
        async with supervised(directory) as network:
            assert process(directory).pid == begun.pid
            await network.end()


async def test_a_port_that_is_taken_is_named(directory):
    port = directory.load_plan().nodes[1].links.proxy_port
    listeners = await trio.open_tcp_listeners(port, host=LOOPBACK)
    async with listeners[0]:
        with pytest.RaisesGroup(
            pytest.RaisesExc(
                BootError, match=r"did not start: .*in use", check=lambda error: "daemon.log" in error.hint
            )
        ):
            async with supervised(directory):
                pass


async def test_what_a_dead_daemon_left_is_ended(directory):
    async with supervised(directory):
        pass
    end = functools.partial(end_network, directory, directory.load_plan())
    await trio.to_thread.run_sync(end)
    assert process_of(directory, Role.NETWORK) is None
    await trio.to_thread.run_sync(end)


async def test_its_socket_is_this_users_alone(directory):
    async with supervised(directory):
        assert stat.S_IMODE((await trio.Path(directory.load_plan().network_socket).stat()).st_mode) == 0o600
