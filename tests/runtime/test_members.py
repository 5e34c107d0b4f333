"""The members together, over scripted processes in virtual time: what is asked of some of them."""

import contextlib
import signal

import pytest
import trio

from etcdlab.errors import BootError, LabStateError, TimedOutError
from etcdlab.model.event import EventKind
from etcdlab.model.lifecycle import NodeState
from etcdlab.model.status import ClusterVerdict
from tests.runtime.scripted import BAD_FLAG

pytestmark = pytest.mark.trio


async def test_stop_and_start_return_when_done(ready, autojump_clock):
    await ready.members.stop(["n3"])
    assert ready.nodes["n3"].state is NodeState.STOPPED
    await ready.members.start(["n3"])
    assert ready.nodes["n3"].state is NodeState.RUNNING


async def test_stop_and_start_again_and_again_of_what_is_so_already(ready, autojump_clock):
    await ready.members.start(["n3"])
    await ready.members.stop(["n3"])
    await ready.members.stop(["n3"])
    await ready.members.start(["n3"])
    assert ready.nodes["n3"].state is NodeState.RUNNING


async def test_start_waits_no_longer_than_a_boot(ready, autojump_clock):
    await ready.members.stop(["n3"])
    ready.sick.add("n3")
    with pytest.raises(TimedOutError, match="not running after 60 s: n3 is starting"):
        await ready.members.start(["n3"])


async def test_start_of_too_few_for_a_quorum_does_not_wait(ready, autojump_clock):
    await ready.members.stop(["n1", "n2", "n3"])
    ready.sick.add("n3")
    await ready.members.start(["n3"])
    assert ready.nodes["n3"].state is not NodeState.RUNNING


async def test_start_of_enough_for_a_quorum_waits(ready, autojump_clock):
    await ready.members.stop(["n2", "n3"])
    await ready.members.start(["n3"])
    assert ready.nodes["n3"].state is NodeState.RUNNING


async def test_concurrent_stops_and_starts_of_one_member_all_return(ready, autojump_clock):
    async def start() -> None:
        with contextlib.suppress(BootError):  # "stopped as asked", by one of the others
            await ready.members.start(["n3"])

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(start)
            nursery.start_soon(lambda: ready.members.stop(["n3"]))
    assert await ready.nodes["n3"].wait_settled() in (NodeState.STOPPED, NodeState.RUNNING)


async def test_pause_and_resume(ready, autojump_clock):
    ready.members.pause(["n3"])
    status = await ready.members.measure()
    assert [node.paused for node in status.nodes] == [False, False, True]
    assert status.nodes[2].problem == "paused"
    assert status.verdict is ClusterVerdict.DEGRADED
    ready.members.resume(["n3"])
    assert (await ready.members.measure()).verdict is ClusterVerdict.HEALTHY


async def test_signals_are_for_those_that_have_a_process(ready, autojump_clock):
    """Once a member that was stopped was reported as paused, and a signal that nobody got was in the journal."""
    await ready.members.stop(["n3"])
    assert ready.members.pause(["n2", "n3"]) == ["n2"]
    assert ready.members.kill(["n2", "n3"], signal.SIGHUP) == ["n2"]
    assert [name for kind, name in ready.kinds() if kind is EventKind.SIGNAL_SENT] == ["n2"]


async def test_a_stop_for_a_time_ends_whatever_signals_are_sent_meanwhile(ready, autojump_clock):
    await ready.members.stop(["n3"], for_s=10)
    with pytest.raises(LabStateError, match="there is no process to send SIGKILL to: n3 is stopped"):
        ready.members.kill(["n3"], signal.SIGKILL)
    with pytest.raises(LabStateError, match="there is no process to freeze: n3 is stopped"):
        ready.members.pause(["n3"], for_s=1)
    ready.members.resume(["n3"])
    await trio.sleep(9)
    assert ready.nodes["n3"].state is NodeState.STOPPED
    await trio.sleep(2)
    assert ready.nodes["n3"].state is NodeState.RUNNING


async def test_a_pause_for_a_time_ends_whatever_signals_are_sent_meanwhile(ready, autojump_clock):
    ready.members.pause(["n3"], for_s=10)
    ready.members.kill(["n3"], signal.SIGHUP)
    await trio.sleep(11)
    assert not ready.nodes["n3"].paused


async def test_a_member_that_was_started_in_time_is_not_started_again_by_it(ready, autojump_clock):
    await ready.members.stop(["n3"], for_s=10)
    await ready.members.start(["n3"])
    ready.process("n3").end(1, BAD_FLAG)
    await trio.sleep(11)
    assert ready.nodes["n3"].state is NodeState.FAILED


async def test_what_is_asked_for_without_an_end_has_none(ready, autojump_clock):
    await ready.members.stop(["n3"], for_s=10)
    await ready.members.stop(["n3"])
    ready.members.pause(["n2"], for_s=10)
    ready.members.pause(["n2"])
    ready.members.pause(["n1"], for_s=10)
    ready.members.resume(["n1"])
    ready.members.kill(["n1"], signal.SIGSTOP)
    await trio.sleep(11)
    assert ready.nodes["n3"].state is NodeState.STOPPED
    assert [ready.nodes[name].paused for name in ("n1", "n2")] == [True, True]


@pytest.mark.parametrize("verb", ["stop", "start", "pause", "resume"])
async def test_what_comes_of_it_is_looked_at_at_once(ready, verb, monkeypatch, autojump_clock):
    woken = []
    monkeypatch.setattr(ready.members.watch, "wake", lambda: woken.append(verb))
    done = getattr(ready.members, verb)(["n3"])
    if done is not None and verb in ("stop", "start"):
        await done
    assert woken
