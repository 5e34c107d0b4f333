"""The restart loop over scripted processes, in virtual time."""

import signal
import socket
import time
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from etcdlab.model.event import Event, EventKind
from etcdlab.model.exit import ExitReason
from etcdlab.model.lifecycle import NodeState
from etcdlab.model.past import Past
from etcdlab.model.restart import History, RestartPolicy, RestartRules
from etcdlab.prepare import ports, space
from etcdlab.prepare.process import ProcessIdentity, ProcessRecord
from etcdlab.runtime import node as nodes
from etcdlab.runtime.http import Endpoint
from tests.runtime.scripted import BAD_FLAG, DATA_GONE, NO_PORT, NO_SPACE, STOP_S, ScriptedProcess, supervised

RULES = RestartRules(backoff_s=1, backoff_max_s=4, healthy_after_s=10, budget=6, window_s=300)
TERM, KILL, STOP, CONT = signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT


@pytest.fixture
async def member(tmp_path, monkeypatch):
    async with supervised(tmp_path, monkeypatch, RULES) as member:
        yield member


@pytest.fixture
async def stubborn(tmp_path, monkeypatch):
    """One that ignores SIGTERM."""
    async with supervised(tmp_path, monkeypatch, RULES, ignores_sigterm=True) as member:
        yield member


@pytest.mark.trio
class TestLife:
    async def test_becomes_running_when_healthy_and_not_before(self, member, autojump_clock):
        assert await member.settle() is NodeState.STOPPED
        member.node.start()
        assert await member.settle() is NodeState.STARTING
        member.process.healthy.set()
        assert await member.node.wait_settled() is NodeState.RUNNING
        assert member.kinds() == [EventKind.SPAWNED, EventKind.READY]
        assert member.events()[0].detail == {"pid": member.process.identity.pid}

    async def test_nobody_asks_for_its_health_while_others_are_still_to_be_spawned(self, member, autojump_clock):
        member.node._staged = staged = trio.Event()
        member.node.start()
        await member.settle()
        member.process.healthy.set()
        assert await member.settle() is NodeState.STARTING
        staged.set()
        assert await member.settle() is NodeState.RUNNING

    async def test_each_incarnation_says_anew_that_it_serves(self, member, autojump_clock):
        await member.start()
        member.node.serving_peers.set()
        member.node.serving_clients.set()
        member.process.end(2)
        await member.wait_spawned(2)
        assert not member.node.serving_peers.is_set()
        assert not member.node.serving_clients.is_set()

    async def test_connections_end_with_the_process(self, member, monkeypatch, autojump_clock):
        closed = []

        async def aclose(endpoint) -> None:
            await trio.lowlevel.checkpoint()
            closed.append(endpoint)

        await member.start()
        monkeypatch.setattr(Endpoint, "aclose", aclose)
        member.process.end(2)
        await member.wait_spawned(2)
        assert closed == [member.node.metrics, member.node.client]

    async def test_the_time_that_it_runs_ends_with_it(self, member, autojump_clock):
        assert member.node.uptime_s is None
        await member.start()
        assert not member.node.is_adopted
        assert 0 <= member.node.uptime_s < 60
        member.node.stop()
        await member.settle()
        assert member.node.uptime_s is None

    async def test_the_record_on_disk_names_the_process(self, member, autojump_clock):
        await member.start()
        record = ProcessRecord.of_living(Path(member.plan.directory))
        assert record is None  # since no process has this identity
        assert f'"pid":{member.process.identity.pid}' in (Path(member.plan.directory) / "process.json").read_text()

    async def test_the_first_crash_of_a_healthy_member_is_followed_by_a_restart_at_once(self, member, autojump_clock):
        await member.start()
        died_at = trio.current_time()
        member.process.end(-KILL)
        await member.wait_spawned(2)
        assert member.process.spawned_at == died_at
        assert member.node.restarts == 1
        assert member.node.last_exit.reason is ExitReason.SIGNALLED
        assert member.kinds()[2:] == [EventKind.EXITED, EventKind.RESTARTED, EventKind.SPAWNED]

    async def test_backoff_doubles_to_its_bound_then_the_budget_ends_it(self, member, autojump_clock):
        await member.start()
        pauses = []
        for count in range(2, 2 + RULES.budget):
            died_at = trio.current_time()
            member.process.end(2)
            await member.wait_spawned(count)
            pauses.append(member.process.spawned_at - died_at)
        member.process.end(2)
        assert await member.settle() is NodeState.FAILED
        assert pauses == [0, 1, 2, 4, 4, 4]
        failed = member.events()[-1]
        assert failed.kind is EventKind.FAILED
        assert "restarted 6 times within 300 s" in failed.detail["why"]

    async def test_who_is_killed_on_purpose_starts_at_once_and_spends_nothing(self, member, autojump_clock):
        """Once a scenario that killed members again and again ended with members that had failed."""
        await member.start()
        for count in range(2, 4 + RULES.budget):
            killed_at = trio.current_time()
            member.node.signal(signal.SIGKILL)
            await member.wait_spawned(count)
            assert member.process.spawned_at == killed_at
        assert member.node.last_exit.reason is ExitReason.KILLED
        assert member.node.last_exit.detail == "killed by SIGKILL, as asked"
        assert Past(member.events()).lives["n1"].history == History()
        member.process.end(-KILL)
        await member.settle()
        assert member.node.last_exit.reason is ExitReason.SIGNALLED, "by somebody else"

    @pytest.mark.parametrize(
        ("sent", "reason"), [(signal.SIGHUP, ExitReason.KILLED), (signal.SIGCONT, ExitReason.UNKNOWN)]
    )
    async def test_an_end_after_a_signal_is_its_doing_where_nobody_saw_the_code(
        self, member, sent, reason, autojump_clock
    ):
        await member.start()
        member.node.signal(sent)
        member.process.end(None)
        await member.wait_spawned(2)
        assert member.node.last_exit.reason is reason

    async def test_a_healthy_period_ends_the_backoff(self, member, autojump_clock):
        await member.start()
        for count in (2, 3, 4):
            member.process.end(2)
            await member.wait_spawned(count)
        member.process.healthy.set()
        await member.node.wait_settled()
        await trio.sleep(RULES.healthy_after_s)
        died_at = trio.current_time()
        member.process.end(2)
        await member.wait_spawned(5)
        assert member.process.spawned_at == died_at

    async def test_an_operators_start_leaves_failed_with_the_whole_budget(self, member, autojump_clock):
        member.node.start()
        for count in range(1, 2 + RULES.budget):
            await member.wait_spawned(count)
            member.process.end(2)
        assert await member.settle() is NodeState.FAILED
        await member.start()
        member.process.end(2)
        await member.wait_spawned(3 + RULES.budget)

    async def test_what_cannot_heal_fails_at_once(self, member, autojump_clock):
        member.node.start()
        await member.settle()
        member.process.end(1, BAD_FLAG)
        assert await member.node.wait_settled() is NodeState.FAILED
        assert len(member.processes) == 1
        assert member.node.last_exit.reason is ExitReason.BAD_FLAG
        assert member.node.last_exit.remedy in member.events()[-1].detail["remedy"]

    async def test_the_remedy_names_the_member(self, member, autojump_clock):
        await member.start()
        member.process.end(1, DATA_GONE)
        assert await member.settle() is NodeState.FAILED
        assert "etcdlab start n1" in member.node.last_exit.remedy

    async def test_words_of_an_earlier_incarnation_explain_nothing(self, member, autojump_clock):
        await member.start()
        member.process.end(1, BAD_FLAG)
        assert await member.settle() is NodeState.FAILED
        await member.start()
        member.process.end(-KILL)
        await member.wait_spawned(3)
        assert member.node.last_exit.reason is ExitReason.SIGNALLED

    async def test_a_missing_binary_fails_with_its_path_and_can_be_started_again(self, member, autojump_clock):
        member.spawn_error = FileNotFoundError(2, "No such file or directory")
        member.node.start()
        assert await member.node.wait_settled() is NodeState.FAILED
        assert member.node.last_exit.reason is ExitReason.BINARY_MISSING
        assert "/opt/etcd" in member.node.last_exit.detail
        assert "etcdlab start n1" in member.node.last_exit.remedy
        member.spawn_error = None
        await member.start()

    async def test_a_process_whose_record_cannot_be_written_is_supervised_all_the_same(
        self, member, monkeypatch, autojump_clock
    ):
        def full(self: ProcessRecord, directory: Path) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(ProcessRecord, "save", full)
        await member.start()
        member.node.stop()
        assert await member.node.wait_down() is NodeState.STOPPED
        assert member.process.signals[0] is TERM

    async def test_a_member_that_cannot_be_recorded_is_not_taken_for_the_one_before_it(
        self, member, monkeypatch, autojump_clock
    ):
        def full(self: ProcessRecord, directory: Path) -> None:
            raise OSError(28, "No space left on device")

        await member.start()
        monkeypatch.setattr(ProcessRecord, "save", full)
        member.process.end(2)
        await member.wait_spawned(2)
        assert ProcessRecord.last(Path(member.plan.directory)) is None


@pytest.mark.trio
class TestWhatPasses:
    @pytest.fixture
    def disk(self, monkeypatch):
        class Disk:
            full = True

        monkeypatch.setattr(space, "is_full", lambda _: Disk.full)
        return Disk

    async def test_a_member_waits_for_space_as_long_as_it_takes_and_spends_no_budget(
        self, member, disk, autojump_clock
    ):
        await member.start()
        for count in range(2, 4 + RULES.budget):
            disk.full = True
            member.process.end(1, NO_SPACE)
            await trio.sleep(60)
            assert (member.node.state, len(member.processes)) == (NodeState.BACKOFF, count - 1)
            disk.full = False
            freed_at = trio.current_time()
            await member.wait_spawned(count)
            assert member.process.spawned_at - freed_at <= nodes.LOOK_S
        assert Past(member.events()).lives["n1"].history.restarts == ()
        member.process.healthy.set()
        assert await member.node.wait_settled() is NodeState.RUNNING

    async def test_a_disk_that_is_full_on_purpose_is_waited_for_until_it_is_healed(self, member, disk, autojump_clock):
        disk.full = False
        await member.start()
        member.node.have_disk_full(True)
        member.process.end(1)
        await trio.sleep(600.5)  # between two looks
        assert (member.node.state, len(member.processes)) == (NodeState.BACKOFF, 1)
        assert member.node.last_exit.reason is ExitReason.DISK_FULL
        assert member.node.last_exit.remedy.startswith("`etcdlab disk heal n1`")
        member.node.have_disk_full(False)
        await member.settle()
        assert len(member.processes) == 2
        assert Past(member.events()).lives["n1"].history.restarts == ()

    async def test_each_incarnation_has_it_full(self, member, disk, monkeypatch, autojump_clock):
        disk.full = False
        limited = []
        monkeypatch.setattr(nodes, "have_disk_full", lambda identity, is_full: limited.append((identity, is_full)))
        member.node.have_disk_full(True)
        await member.start()
        assert limited == [(None, True), (member.process.identity, True)]
        member.node.have_disk_full(False)
        member.process.end(1)
        await member.wait_spawned(2)
        assert limited[2:] == [(member.processes[0].identity, False)]

    async def test_who_ended_just_before_the_disk_was_healed_ended_of_it(self, member, disk, autojump_clock):
        """Its end may be explained when that is done, and was a crash then: the next start waited, and was counted."""
        disk.full = False
        await member.start()
        member.node.have_disk_full(True)
        member.process.end(1)
        member.node.have_disk_full(False)
        await member.settle()
        assert member.node.last_exit.reason is ExitReason.DISK_FULL
        await member.wait_spawned(2)
        member.process.healthy.set()
        await trio.sleep(nodes.AFTERMATH_S)
        member.process.end(1)
        await member.settle()
        assert member.node.last_exit.reason is not ExitReason.DISK_FULL

    async def test_who_ended_of_a_disk_that_has_space_again_starts_at_once(self, member, disk, autojump_clock):
        """Once it waited for its backoff, ever longer."""
        disk.full = False
        await member.start()
        for count in (2, 3, 4):
            member.node.have_disk_full(True)
            await trio.sleep(60)
            member.node.have_disk_full(False)
            member.process.end(1)
            ended_at = trio.current_time()
            await member.wait_spawned(count)
            assert trio.current_time() == ended_at
        restarted = [event.detail["delay_s"] for event in member.events() if event.kind is EventKind.RESTARTED]
        assert restarted == [0, 0, 0]
        member.process.end(1)  # of what it was never without
        await member.wait_spawned(5)
        assert trio.current_time() > ended_at

    async def test_who_is_asked_to_start_while_its_end_is_explained_starts_at_once(
        self, member, monkeypatch, autojump_clock
    ):
        """Once it was taken for running."""
        explained = trio.Event()

        async def explain(call, *arguments):
            await explained.wait()
            return call(*arguments)

        await member.start()
        for count in (2, 3):  # no longer at once by the second time
            monkeypatch.setattr(trio.to_thread, "run_sync", explain)
            member.process.end(1)
            await trio.sleep(0.1)
            member.node.start()
            with trio.move_on_after(1) as settled:
                await member.node.wait_settled()
            assert settled.cancelled_caught
            asked_at = trio.current_time()
            explained.set()
            await member.wait_spawned(count)
            assert trio.current_time() == asked_at
            member.process.healthy.set()
            assert await member.node.wait_settled() is NodeState.RUNNING
            explained = trio.Event()

    async def test_another_quota_is_for_the_next_start(self, member, monkeypatch, autojump_clock):
        spawned = []

        async def spawn(argv, **rest):
            spawned.append(argv)
            return await member.spawn(argv, **rest)

        monkeypatch.setattr(nodes, "spawn", spawn)
        await member.start()
        member.node.quota = 65536
        member.process.end(-KILL)
        await member.wait_spawned(2)
        member.node.quota = None
        member.process.end(-KILL)
        await member.wait_spawned(3)
        usual = tuple(member.plan.argv)
        assert spawned == [usual, (*usual, "--quota-backend-bytes=65536"), usual]

    async def test_a_limit_that_the_disk_knows_nothing_of_is_tried_ever_more_rarely(self, member, disk, autojump_clock):
        disk.full = False
        await member.start()
        for count in range(2, 4 + RULES.budget):
            member.process.end(1, NO_SPACE)
            await member.wait_spawned(count)
        died_at = trio.current_time()
        member.process.end(1, NO_SPACE)
        await member.wait_spawned(count + 1)
        assert member.process.spawned_at - died_at == RULES.backoff_max_s

    async def test_who_waits_for_a_start_is_told_at_once_and_can_have_it_tried_at_once(
        self, member, disk, autojump_clock
    ):
        for count in (1, 2):
            member.node.start()
            await member.wait_spawned(count)
            asked_at = trio.current_time()
            member.process.end(1, NO_SPACE)
            assert await member.node.wait_settled() is NodeState.BACKOFF
            assert trio.current_time() == asked_at
        member.node.stop()
        assert await member.node.wait_down() is NodeState.STOPPED

    async def test_a_port_that_somebody_has_is_waited_for(self, member, monkeypatch, autojump_clock):
        await member.start()
        with socket.create_server((ports.LOOPBACK, 0)) as squatter:
            member.process.end(1, NO_PORT.replace(b"127.0.0.1:1:", b"127.0.0.1:%d:" % squatter.getsockname()[1]))
            await trio.sleep(600)
            assert (member.node.state, len(member.processes)) == (NodeState.BACKOFF, 1)
            assert member.node.last_exit.reason is ExitReason.PORT_TAKEN
            assert f"port {squatter.getsockname()[1]} is held by " in member.node.last_exit.detail
        await member.wait_spawned(2)
        assert Past(member.events()).lives["n1"].history.restarts == ()

    async def test_a_crash_whose_last_words_had_no_space_is_one(self, member, disk, autojump_clock):
        await member.start()
        member.process.end(2)
        assert await member.settle() is NodeState.BACKOFF
        assert member.node.last_exit.reason is ExitReason.DISK_FULL


@pytest.mark.trio
class TestPolicy:
    @pytest.mark.parametrize(
        ("policy", "code", "state"),
        [
            (RestartPolicy.ON_FAILURE, 0, NodeState.STOPPED),
            (RestartPolicy.ON_FAILURE, 1, NodeState.BACKOFF),
            (RestartPolicy.ALWAYS, 0, NodeState.BACKOFF),
            (RestartPolicy.NEVER, 0, NodeState.STOPPED),
            (RestartPolicy.NEVER, 1, NodeState.FAILED),
            (RestartPolicy.NEVER, -9, NodeState.FAILED),
        ],
    )
    async def test_decides_what_follows_an_exit(self, tmp_path, monkeypatch, autojump_clock, policy, code, state):
        async with supervised(tmp_path, monkeypatch, RestartRules(policy=policy)) as member:
            member.node.start()
            await member.settle()
            member.process.end(code)
            assert await member.settle() is state


@pytest.mark.trio
class TestStop:
    async def test_while_starting(self, member, autojump_clock):
        member.node.start()
        await member.settle()
        member.node.stop()
        assert await member.node.wait_down() is NodeState.STOPPED
        assert member.process.signals[0] is TERM
        assert member.kinds() == [EventKind.SPAWNED, EventKind.EXITED, EventKind.STOPPED]
        assert member.node.last_exit.reason is ExitReason.REQUESTED

    async def test_while_it_is_being_spawned(self, member, autojump_clock):
        member.may_spawn = trio.Event()
        member.node.start()
        await member.settle()
        member.node.stop()
        member.may_spawn.set()
        assert await member.node.wait_down() is NodeState.STOPPED
        assert member.process.signals[0] is TERM

    async def test_while_running(self, member, autojump_clock):
        await member.start()
        member.node.stop()
        assert await member.node.wait_down() is NodeState.STOPPED
        assert member.node.process is None
        await trio.sleep(1000)
        assert len(member.processes) == 1

    async def test_while_backing_off(self, member, autojump_clock):
        member.node.start()
        await member.settle()
        member.process.end(2)
        await member.node.wait_state(lambda state: state is NodeState.BACKOFF)
        asked_at = trio.current_time()
        member.node.stop()
        assert await member.node.wait_down() is NodeState.STOPPED
        assert trio.current_time() == asked_at
        assert member.kinds()[-1] is EventKind.STOPPED
        await member.start()

    async def test_before_the_start_was_acted_on(self, member, autojump_clock):
        member.node.start()
        member.node.stop()
        assert await member.settle() is NodeState.STOPPED
        assert member.processes == []

    async def test_of_one_that_is_stopped_or_failed_changes_nothing(self, member, autojump_clock):
        member.node.stop()
        assert await member.node.wait_down() is NodeState.STOPPED
        member.spawn_error = FileNotFoundError(2, "No such file or directory")
        member.node.start()
        await member.node.wait_settled()
        member.node.stop()
        assert await member.node.wait_down() is NodeState.FAILED

    async def test_still_works_after_a_start_that_had_nothing_to_do(self, member, autojump_clock):
        await member.start()
        member.node.start()
        assert await member.settle() is NodeState.RUNNING
        member.node.stop()
        assert await member.node.wait_down() is NodeState.STOPPED

    async def test_ends_though_the_member_fails_for_good_meanwhile(self, member, autojump_clock):
        """The spawn that fails after the stop leaves it FAILED: down all the same."""
        member.may_spawn = trio.Event()
        member.spawn_error = FileNotFoundError(2, "No such file or directory")
        member.node.start()
        await member.settle()
        member.node.stop()
        member.may_spawn.set()
        assert await member.node.wait_down() is NodeState.FAILED

    async def test_a_start_meanwhile_starts_it_again_and_lets_the_waiter_go(self, member, autojump_clock):
        for _ in range(20):  # whether the waiter or the member's task runs first is the scheduler's choice
            await member.start()
            member.node.stop()
            await member.node.wait_state(lambda state: state is NodeState.STOPPING)
            member.node.start()
            await member.node.wait_down()
            count = len(member.processes)
            await member.settle()
            member.process.healthy.set()
            assert await member.node.wait_settled() is NodeState.RUNNING
            assert len(member.processes) in (count, count + 1)
            member.node.stop()
            await member.node.wait_down()

    async def test_sigkill_follows_when_sigterm_is_ignored(self, stubborn, autojump_clock):
        await stubborn.start()
        asked_at = trio.current_time()
        stubborn.node.stop()
        assert await stubborn.node.wait_down() is NodeState.STOPPED
        assert trio.current_time() - asked_at == STOP_S
        assert stubborn.process.signals == [TERM, CONT, KILL]
        assert stubborn.node.last_exit.reason is ExitReason.REQUESTED

    async def test_with_its_own_grace_and_with_none(self, stubborn, autojump_clock):
        await stubborn.start()
        asked_at = trio.current_time()
        stubborn.node.stop(grace_s=2)
        await stubborn.node.wait_down()
        assert trio.current_time() - asked_at == 2
        await stubborn.start()
        asked_at = trio.current_time()
        stubborn.node.stop(grace_s=0)
        await stubborn.node.wait_down()
        assert trio.current_time() == asked_at
        assert stubborn.process.signals == [KILL]

    async def test_resumes_a_paused_member_so_that_it_can_obey(self, stubborn, autojump_clock):
        await stubborn.start()
        stubborn.node.signal(STOP)
        stubborn.node.stop()
        await stubborn.node.wait_down()
        assert stubborn.process.signals == [STOP, TERM, CONT, KILL]
        assert not stubborn.node.paused

    async def test_in_the_tick_in_which_the_process_ends(self, tmp_path, monkeypatch, autojump_clock):
        """Once 1 in 6 slept out its backoff: whatever runs first, it was asked for, and it ends at once."""
        rules = RestartRules(backoff_s=1000, backoff_max_s=1000)
        async with supervised(tmp_path, monkeypatch, rules) as member:
            for number in range(60):
                member.node.start()
                await member.settle()
                if number % 2:
                    member.process.healthy.set()
                asked_at = trio.current_time()
                if number % 3:
                    member.process.end(2)
                    member.node.stop()
                else:
                    member.node.stop()
                    member.process.end(2)
                assert await member.node.wait_down() is NodeState.STOPPED
                assert member.node.last_exit.reason is ExitReason.REQUESTED
                assert trio.current_time() == asked_at


@pytest.mark.trio
class TestStart:
    async def test_of_a_running_one_changes_nothing(self, member, autojump_clock):
        await member.start()
        member.node.start()
        await trio.sleep(100)
        assert member.node.state is NodeState.RUNNING
        assert len(member.processes) == 1

    async def test_while_backing_off_does_not_wait(self, member, autojump_clock):
        member.node.start()
        await member.settle()
        member.process.end(2)
        await member.node.wait_state(lambda state: state is NodeState.BACKOFF)
        asked_at = trio.current_time()
        member.node.start()
        await member.node.wait_state(lambda state: state is NodeState.STARTING)
        assert trio.current_time() == asked_at

    async def test_while_stopping_starts_again(self, stubborn, autojump_clock):
        await stubborn.start()
        stubborn.node.stop()
        await stubborn.settle()
        stubborn.node.start()
        await stubborn.node.wait_state(lambda state: state is NodeState.STARTING)
        await stubborn.settle()
        stubborn.process.healthy.set()
        assert await stubborn.node.wait_settled() is NodeState.RUNNING
        assert len(stubborn.processes) == 2


@pytest.mark.trio
class TestPause:
    async def test_and_resume_are_observed_and_journaled_once(self, member, autojump_clock):
        await member.start()
        for number in (STOP, STOP, CONT, CONT):
            member.node.signal(number)
        assert member.kinds()[2:] == [EventKind.PAUSED, EventKind.RESUMED]
        assert not member.node.paused
        assert member.node.state is NodeState.RUNNING

    async def test_ends_with_the_process(self, member, autojump_clock):
        await member.start()
        member.node.signal(STOP)
        assert member.node.paused
        member.process.end(-KILL)
        await member.wait_spawned(2)
        assert not member.node.paused

    async def test_of_one_without_a_process_is_nothing(self, member, autojump_clock):
        member.node.signal(STOP)
        assert not member.node.paused
        assert member.kinds() == []


@pytest.mark.trio
class TestAfterADaemonThatWasKilled:
    """What the journal and the record of a daemon that died lead to."""

    PID = 4711

    @pytest.fixture
    def told(self, tmp_path):
        """Writes the journal that the daemon left."""

        def told(kind: EventKind, *, ago_s: float = 0.0, **detail: object) -> None:
            at = time.monotonic() - ago_s
            event = Event(seq=1, time="", monotonic_s=at, kind=kind, node="n1", detail=detail)
            with (tmp_path / "events.jsonl").open("ab") as file:
                file.write(msgspec.json.encode(event) + b"\n")

        return told

    @pytest.fixture
    def record(self, tmp_path):
        """Writes the member's log and record as the daemon left them; call it before the member's task has begun."""

        def record(*, was_ended: bool = False) -> None:
            directory = tmp_path / "demo" / "nodes" / "n1"
            (directory / "etcd.log").write_bytes(NO_SPACE + b"{}\n")
            identity = ProcessIdentity(pid=self.PID, start_time=1, boot="another")
            ProcessRecord(identity=identity, spawned_s=0.0, log_start=len(NO_SPACE), was_ended=was_ended).save(
                directory
            )

        return record

    async def test_an_end_that_nobody_saw_is_told_and_the_restart_counted(
        self, told, record, tmp_path, monkeypatch, autojump_clock
    ):
        told(EventKind.SPAWNED, pid=self.PID)
        async with supervised(tmp_path, monkeypatch, RULES) as member:
            record()
            await member.settle()
            assert member.kinds()[1:] == [EventKind.EXITED]
            assert member.node.last_exit.reason is ExitReason.UNKNOWN  # and not what the log said before its time
            await member.start()
            assert member.kinds()[2:] == [EventKind.RESTARTED, EventKind.SPAWNED, EventKind.READY]
            assert member.node.restarts == 1

    async def test_an_end_that_was_told_is_not_told_again(self, told, record, tmp_path, monkeypatch, autojump_clock):
        told(EventKind.SPAWNED, pid=self.PID)
        told(EventKind.EXITED, reason="signalled")
        async with supervised(tmp_path, monkeypatch, RULES) as member:
            record()
            await member.start()
            assert member.kinds()[2:] == [EventKind.RESTARTED, EventKind.SPAWNED, EventKind.READY]

    async def test_what_down_ended_is_no_crash(self, told, record, tmp_path, monkeypatch, autojump_clock):
        told(EventKind.RESTARTED, restarts=3, delay_s=0.0, failures=3)
        told(EventKind.SPAWNED, pid=self.PID)
        async with supervised(tmp_path, monkeypatch, RULES) as member:
            record(was_ended=True)
            await member.start()
            assert member.kinds()[2:] == [EventKind.EXITED, EventKind.SPAWNED, EventKind.READY]
            assert member.events()[2].detail["reason"] == ExitReason.REQUESTED.value
            assert member.node.restarts == 3

    async def test_the_budget_and_the_backoff_go_on(self, told, tmp_path, monkeypatch, autojump_clock):
        for count in range(1, RULES.budget):
            told(EventKind.RESTARTED, restarts=count, delay_s=0.0, failures=count)
        async with supervised(tmp_path, monkeypatch, RULES) as member:
            member.node.start()
            await member.wait_spawned(1)
            died_at = trio.current_time()
            member.process.end(2)
            await member.wait_spawned(2)
            assert member.process.spawned_at - died_at == RULES.backoff_max_s
            assert member.node.restarts == RULES.budget
            member.process.end(2)
            assert await member.settle() is NodeState.FAILED

    async def test_restarts_before_the_machine_was_are_forgotten(self, told, tmp_path, monkeypatch, autojump_clock):
        for count in range(1, 2 * RULES.budget):
            told(EventKind.RESTARTED, ago_s=-3600, restarts=count, delay_s=0.0, failures=count)
        async with supervised(tmp_path, monkeypatch, RULES) as member:
            await member.start()
            member.process.end(2)
            await member.wait_spawned(2)

    async def test_health_before_the_adoption_counts(self, told, tmp_path, monkeypatch, autojump_clock):
        """So the first crash after it is followed by a restart at once, as ever after a healthy period."""
        told(EventKind.RESTARTED, ago_s=60, restarts=3, delay_s=0.0, failures=3)
        told(EventKind.SPAWNED, ago_s=60, pid=self.PID)
        told(EventKind.READY, ago_s=60)
        async with self.adopting(tmp_path, monkeypatch) as member:
            member.process.healthy.set()
            assert await member.node.wait_settled() is NodeState.RUNNING
            died_at = trio.current_time()
            member.process.end(2)
            await member.wait_spawned(2)
            assert member.process.spawned_at == died_at
            assert member.node.restarts == 4

    async def test_a_frozen_one_is_resumed(self, tmp_path, monkeypatch, autojump_clock):
        monkeypatch.setattr(nodes, "is_stopped", lambda _: True)
        async with self.adopting(tmp_path, monkeypatch) as member:
            assert member.process.signals == [CONT]
            assert member.kinds() == [EventKind.ADOPTED, EventKind.RESUMED]
            assert not member.node.paused

    @asynccontextmanager
    async def adopting(self, directory, monkeypatch):
        """A member that runs as PID."""
        async with supervised(directory, monkeypatch, RULES) as member:
            identity = ProcessIdentity(pid=self.PID, start_time=1, boot="")
            record = ProcessRecord(identity=identity, spawned_s=0.0, log_start=0)
            member.processes.append(ScriptedProcess(0, Path(member.plan.log), obeys=frozenset()))
            member.process.identity = identity
            monkeypatch.setattr(ProcessRecord, "of_living", lambda _: record)
            monkeypatch.setattr(nodes, "AdoptedProcess", lambda _: member.processes[0])
            await member.settle()
            yield member


class Step:
    """What a random history is made of."""

    ALL = ("start", "stop", "stop now", "healthy", "crash", "end", "fail", "kill", "pause", "resume", "tick", "wait")

    @staticmethod
    async def take(member, step: str) -> None:
        alive = member.node.process is not None
        if step == "start":
            member.node.start()
        elif step == "stop":
            member.node.stop()
        elif step == "stop now":
            member.node.stop(grace_s=0)
        elif step == "kill":
            member.node.signal(signal.SIGKILL)
        elif step == "pause":
            member.node.signal(STOP)
        elif step == "resume":
            member.node.signal(CONT)
        elif step == "tick":
            await trio.lowlevel.checkpoint()
        elif step == "wait":
            await trio.sleep(3)
        elif alive and step == "healthy":
            member.process.healthy.set()
        elif alive:
            code, words = {"crash": (-9, b""), "end": (0, b""), "fail": (1, BAD_FLAG)}[step]
            member.process.end(code, words)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(steps=st.lists(st.sampled_from(Step.ALL), max_size=25), policy=st.sampled_from(RestartPolicy))
def test_any_history_is_legal_and_stop_then_start_always_work(steps, policy):
    """An illegal state change would raise in the member's task, and a lost request would run into the bound."""

    async def history(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        rules = RestartRules(policy=policy, budget=3)
        async with supervised(directory, monkeypatch, rules, ignores_sigterm=True) as member:
            for step in steps:
                await Step.take(member, step)
            member.node.stop()
            assert await member.node.wait_down() in (NodeState.STOPPED, NodeState.FAILED)
            assert member.node.process is None
            await member.start()
            member.node.stop()
            assert await member.node.wait_down() is NodeState.STOPPED

    with TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as monkeypatch:
        clock = trio.testing.MockClock(autojump_threshold=0)
        trio.run(history, Path(directory), monkeypatch, clock=clock)
