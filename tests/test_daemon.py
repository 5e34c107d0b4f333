"""The daemon as a process, over fake members: boot, signals, its owner's death, its own."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import termios
import time

import msgspec
import pytest

from etcdlab.control.client import Client
from etcdlab.errors import BootError, TimedOutError
from etcdlab.interpreter import Interpreter
from etcdlab.launch import Daemon, living_members, reach
from etcdlab.model.event import EventKind
from etcdlab.model.exit import ExitReason
from etcdlab.model.lifecycle import NodeState
from etcdlab.model.report import Go, OwnerEnd
from etcdlab.model.status import ClusterVerdict, LabPhase
from etcdlab.prepare.labdir import LabDirectory


def pid_of(daemon) -> int:
    return daemon._process.pid


def test_boots_reports_and_serves(fake_lab):
    with fake_lab.daemon() as daemon:
        status = fake_lab.boot(daemon)
        assert status.verdict is ClusterVerdict.HEALTHY
        assert status.leader == "n1"
        again = Client(fake_lab.plan.socket, timeout_s=20).status()
        assert [node.pid for node in again.nodes] == [node.pid for node in status.nodes]
        assert set(living_members(fake_lab.directory)) == {"n1", "n2"}
        assert fake_lab.directory.is_running()


def test_it_is_up_from_when_its_launcher_wants_it(fake_lab):
    """Before, it is undone if the launcher ends: another `up` that waits for it must not report it yet."""
    with fake_lab.daemon() as daemon:
        assert daemon.boot(boot_s=30, on_event=lambda _: None).phase is LabPhase.UP
        client = Client(fake_lab.plan.socket, timeout_s=20)
        assert client.status().phase is LabPhase.STARTING
        daemon.keep()
        while client.status().phase is not LabPhase.UP:
            pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_members_and_then_it(fake_lab, number):
    with fake_lab.daemon() as daemon:
        fake_lab.boot(daemon)
        os.kill(pid_of(daemon), number)
        daemon.wait()
        assert living_members(fake_lab.directory) == {}
        assert not fake_lab.directory.is_running()
        assert fake_lab.events()[-1] == (EventKind.LAB_STOPPED, None)
        stopped = [node for kind, node in fake_lab.events() if kind is EventKind.STOPPED]
        assert stopped == ["n2", "n1"]  # the leader last


def test_what_its_launcher_blocks_and_ignores_it_hears(fake_lab):
    """Once SIGTERM stopped neither the daemon nor a member, and a member that was killed had left with status 0."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    ignored = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with contextlib.ExitStack() as stack:
        try:
            daemon = stack.enter_context(fake_lab.daemon())
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            signal.signal(signal.SIGCHLD, ignored)
        status = fake_lab.boot(daemon)
        os.kill(status.nodes[1].pid, signal.SIGKILL)
        events = Client(fake_lab.plan.socket, timeout_s=20).events(follow=True)
        ended = next(event for event in events if event.kind is EventKind.EXITED)
        assert ended.detail["reason"] == ExitReason.SIGNALLED.value
        os.kill(pid_of(daemon), signal.SIGTERM)
        daemon.wait()
        assert living_members(fake_lab.directory) == {}
        assert fake_lab.events()[-1] == (EventKind.LAB_STOPPED, None)


def test_the_end_of_a_terminal_is_none_of_its_business(fake_lab):
    with fake_lab.daemon() as daemon:
        fake_lab.boot(daemon)
        os.kill(pid_of(daemon), signal.SIGHUP)
        assert Client(fake_lab.plan.socket, timeout_s=20).status().verdict is ClusterVerdict.HEALTHY


def test_shutdown_through_the_socket_may_purge(fake_lab):
    with fake_lab.daemon() as daemon:
        fake_lab.boot(daemon)
        Client(fake_lab.plan.socket, timeout_s=20).shutdown(purge=True)
        daemon.wait()
        assert not fake_lab.directory.path.exists()


def test_a_member_that_ignores_sigterm_is_killed_after_its_bound(make_lab):
    lab = make_lab("--ignore-sigterm", stop_s=0.1)
    with lab.daemon() as daemon:
        lab.boot(daemon)
        daemon.stop()
        daemon.wait()
        assert living_members(lab.directory) == {}


def test_a_second_signal_does_not_wait_for_that_bound(make_lab):
    lab = make_lab("--ignore-sigterm", stop_s=600)
    with lab.daemon() as daemon:
        lab.boot(daemon)
        daemon.stop()
        client = Client(lab.plan.socket, timeout_s=20)
        while client.status().nodes[1].state is not NodeState.STOPPING:
            pass
        daemon.stop()
        daemon.wait()
        assert living_members(lab.directory) == {}


def test_a_member_that_is_never_healthy_runs_into_the_bound(make_lab):
    lab = make_lab("--never-healthy")
    with lab.daemon() as daemon:
        with pytest.raises(TimedOutError, match=r"not ready within 1 s: n2 is starting"):
            lab.boot(daemon, boot_s=1)
        daemon.wait()
        assert living_members(lab.directory) == {}


def test_a_member_that_ends_by_itself_stops_the_boot(make_lab):
    lab = make_lab("--exit", "0")
    with lab.daemon() as daemon, pytest.raises(BootError, match="n2 did not start: exited by itself with status 0"):
        lab.boot(daemon)


def test_one_that_is_stopped_while_it_boots_says_so(make_lab):
    lab = make_lab("--never-healthy")
    with lab.daemon() as daemon:
        told = []

        def on_event(event) -> None:
            told.append(event)
            if event.kind is EventKind.READY:
                daemon.stop()

        with pytest.raises(BootError, match="stopped while it came up"):
            daemon.boot(boot_s=60, on_event=on_event)
        daemon.wait()
        assert living_members(lab.directory) == {}


def test_a_tied_one_ends_when_its_owner_does(fake_lab):
    with fake_lab.daemon(owner_end=OwnerEnd.STOP) as daemon:
        fake_lab.boot(daemon)
        daemon._channel.close()  # as the kernel does for a process that was killed
        daemon.wait()
        assert living_members(fake_lab.directory) == {}


def test_one_without_a_word_of_go_does_nothing(fake_lab, home):
    with fake_lab.daemon() as daemon:
        daemon._channel.close()
        daemon.wait()
        assert daemon._process.returncode == 0
    assert not fake_lab.directory.events.exists()


def unread(interpreter: Interpreter) -> int:
    """Bytes that it was told and has not read."""
    assert interpreter._spare is not None
    return int.from_bytes(fcntl.ioctl(interpreter._spare[1], termios.TIOCOUTQ, bytes(4)), sys.byteorder)


class TestReach:
    """A launcher that is killed when it has just made a lab's directory, and held nothing else."""

    def told(self, directory) -> None:
        interpreter = Interpreter()
        reach(interpreter, directory)
        process, channel = interpreter.take()
        with process:
            channel.close()
            assert process.wait(30) == 0

    def test_leaves_nothing(self, home):
        directory = LabDirectory(home / "x")
        os.close(directory.acquire())
        self.told(directory)
        self.told(directory)
        assert list(home.iterdir()) == []

    def test_leaves_nothing_of_the_real_one_either(self, home):
        kill = "from etcdlab import up; import os; up._clear = lambda _: os.kill(os.getpid(), 9)"
        make = 'from etcdlab.lab import Lab; Lab.up(name="x")'
        with subprocess.Popen([sys.executable, "-c", f"{kill}; {make}"], stdout=subprocess.PIPE) as killed:
            killed.stdout.read()
        assert killed.returncode == -signal.SIGKILL
        deadline = time.monotonic() + 30
        while list(home.iterdir()):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def test_takes_nothing_from_who_holds_it_by_now_or_has_anything_there(self, home):
        directory = LabDirectory(home / "x")
        lock = directory.acquire()
        self.told(directory)
        assert directory.is_running()
        os.close(lock)
        (directory.path / "mine").touch()
        self.told(directory)
        assert (directory.path / "mine").exists()
        directory.purge(None)

    @pytest.mark.parametrize("is_heard_alone", [True, False])
    def test_is_told_from_a_hold_however_they_arrive(self, home, is_heard_alone):
        interpreter, directory = Interpreter(), LabDirectory(home / "x")
        reach(interpreter, directory)
        lock = directory.acquire()
        while is_heard_alone and unread(interpreter):
            time.sleep(0.001)
        with Daemon(interpreter, directory, lock, owner_end=OwnerEnd.STAY, is_draft=True) as daemon:
            os.close(lock)
            daemon._channel.close()
            daemon.wait()
        assert daemon._process.returncode == 0
        assert list(home.iterdir()) == []


class TestDeath:
    """Members outlive their daemon, and the next one adopts them."""

    def test_of_the_daemon_costs_no_member(self, fake_lab):
        with fake_lab.daemon() as first:
            before = fake_lab.boot(first)
            os.kill(pid_of(first), signal.SIGKILL)
            first.wait()
            assert not fake_lab.directory.is_running()
            assert set(living_members(fake_lab.directory)) == {"n1", "n2"}
            with fake_lab.daemon() as second:
                after = fake_lab.boot(second)
                assert [node.pid for node in after.nodes] == [node.pid for node in before.nodes]
                assert after.nodes[0].uptime_s > before.nodes[0].uptime_s
                assert (EventKind.ADOPTED, "n1") in fake_lab.events()
                os.kill(pid_of(second), signal.SIGTERM)
                second.wait()
                assert living_members(fake_lab.directory) == {}

    def test_of_an_adopted_member_is_seen_and_mended(self, fake_lab):
        with fake_lab.daemon() as first:
            pid = fake_lab.boot(first).nodes[1].pid
            os.kill(pid_of(first), signal.SIGKILL)
            first.wait()
            with fake_lab.daemon() as second:
                fake_lab.boot(second)
                client = Client(fake_lab.plan.socket, timeout_s=20)
                since = list(client.events())[-1].seq
                os.kill(pid, signal.SIGKILL)
                events = client.events(since=since, follow=True)
                seen = next(event for event in events if event.kind is EventKind.READY)
                assert seen.node == "n2"
                assert client.status().nodes[1].pid != pid

    def test_of_a_member_meanwhile_is_mended_by_the_next_daemon(self, fake_lab):
        with fake_lab.daemon() as first:
            before = fake_lab.boot(first)
            os.kill(pid_of(first), signal.SIGKILL)
            first.wait()
            os.kill(before.nodes[1].pid, signal.SIGKILL)
            with fake_lab.daemon() as second:
                after = fake_lab.boot(second)
                assert after.nodes[0].pid == before.nodes[0].pid
                assert after.nodes[1].pid != before.nodes[1].pid

    @pytest.mark.parametrize("way", ["fails", "is interrupted"])
    def test_a_boot_that_comes_to_nothing_leaves_what_was_there_before(self, fake_lab, way):
        with fake_lab.daemon() as first:
            before = fake_lab.boot(first)
            os.kill(pid_of(first), signal.SIGKILL)
            first.wait()
            os.kill(before.nodes[1].pid, signal.SIGKILL)
            broken = msgspec.structs.replace(fake_lab.plan.nodes[1], argv=("/no/such/etcd",))
            fake_lab.directory.save_plan(msgspec.structs.replace(fake_lab.plan, nodes=(fake_lab.plan.nodes[0], broken)))

            def on_event(event):
                if way == "is interrupted" and event.kind is EventKind.ADOPTED:
                    raise KeyboardInterrupt

            def boot():
                with fake_lab.daemon() as second:
                    second.boot(boot_s=30, on_event=on_event)

            with pytest.raises(BootError if way == "fails" else KeyboardInterrupt):
                boot()
            assert not fake_lab.directory.is_running()
            living = living_members(fake_lab.directory)
            assert {name: record.identity.pid for name, record in living.items()} == {"n1": before.nodes[0].pid}


def test_a_purging_one_discards_the_lab_when_its_owner_ends(fake_lab):
    with fake_lab.daemon(owner_end=OwnerEnd.PURGE) as daemon:
        fake_lab.boot(daemon)
        daemon._channel.close()
        daemon.wait()
        assert not fake_lab.directory.path.exists()


class TestLauncher:
    """What depends on the process that makes the lab, until it has said that it wants it."""

    def test_that_ends_before_it_is_ready_has_undone_it(self, make_lab):
        lab = make_lab("--never-healthy")
        with lab.daemon() as daemon:

            def on_event(event) -> None:
                if event.node == "n1" and event.kind is EventKind.READY:
                    daemon._channel.close()  # as the kernel does for a process that was killed

            with pytest.raises(BootError, match="stopped while it came up"):
                daemon.boot(boot_s=60, on_event=on_event)
            daemon.wait()
            assert living_members(lab.directory) == {}
            assert lab.directory.exists()

    def test_that_ends_when_it_is_ready_and_before_it_is_kept_has_undone_it(self, fake_lab):
        with fake_lab.daemon() as daemon:
            daemon.boot(boot_s=30, on_event=lambda _: None)
            daemon._channel.close()
            daemon.wait()
            assert living_members(fake_lab.directory) == {}

    def test_that_reads_nothing_holds_nothing_up(self, fake_lab):
        """It was stopped, and the pipe to it is full: once this was a daemon that hung."""
        with fake_lab.daemon() as daemon:
            pipe = daemon._process.stdout.fileno()
            with open(f"/proc/self/fd/{pipe}", "wb", buffering=0) as writing:  # noqa: PTH123
                os.set_blocking(writing.fileno(), False)
                while writing.write(b"\n" * 4096):
                    pass
            daemon._is_booting = True
            daemon._say(Go(boot_s=30))
            while not fake_lab.directory.events.exists() or (EventKind.LAB_READY, None) not in fake_lab.events():
                time.sleep(0.01)
            assert Client(fake_lab.plan.socket, timeout_s=20).status().verdict is ClusterVerdict.HEALTHY
            daemon.stop()
            daemon.wait()
            assert living_members(fake_lab.directory) == {}


OWNER = """
import os, sys
from pathlib import Path
from etcdlab.interpreter import Interpreter
from etcdlab.launch import Daemon
from etcdlab.model.report import Go, OwnerEnd
from etcdlab.prepare.labdir import LabDirectory

directory = LabDirectory(Path(sys.argv[1]))
lock = directory.acquire()
daemon = Daemon(Interpreter(), directory, lock, owner_end=OwnerEnd.PURGE, is_draft=True)
os.close(lock)
if sys.argv[2] != "draft":
    daemon.boot(boot_s=30, on_event=lambda _: None)
if sys.argv[2] == "kept":
    daemon.keep()
if os.fork() == 0:  # lives on with the other end of the daemon's standard input
    sys.stdin.read()
    os._exit(0)
print("done", flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("reached", ["kept", "ready", "draft"])
def test_an_owner_that_was_killed_leaves_nothing_whoever_it_forked(fake_lab, reached):
    command = [sys.executable, "-c", OWNER, str(fake_lab.directory.path), reached]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout.readline() == b"done\n"
        if reached != "draft":
            assert fake_lab.directory.wait_released(30)
            assert not fake_lab.directory.path.exists()
        owner.stdin.close()
        assert fake_lab.directory.wait_released(30)
        assert not fake_lab.directory.path.exists()
