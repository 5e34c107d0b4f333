"""What a lab lacks for a while: it says so, and goes on when it is there again."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from etcdlab.control.reserve import SIZE
from etcdlab.errors import EtcdlabError
from etcdlab.lab import Lab
from etcdlab.model.event import EventKind
from etcdlab.model.exit import ExitReason
from etcdlab.model.lifecycle import NodeState
from etcdlab.model.status import LabStatus
from etcdlab.model.topology import EtcdTable, Profile, Topology
from etcdlab.prepare.ports import LOOPBACK
from etcdlab.prepare.process import send_signal
from etcdlab.prepare.title import process_of
from etcdlab.runtime import journal
from etcdlab.up import Request, up
from tests.e2e.labs import WATCHER, running, wait_event

pytestmark = pytest.mark.etcd
ONE = Topology(name="small", nodes=1, etcd=EtcdTable(profile=Profile.FAST))
PATIENCE_S = 30
PROMPT_S = 2.0
LARGE = "x" * 100_000


@contextlib.contextmanager
def small_disk(path: Path, size: str) -> Iterator[None]:
    """A file system of this size at `path`, which becomes the labs' home; skips where that is not allowed."""
    path.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "etcdlab-test", str(path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)  # a daemon may be ending


@pytest.fixture
def home(tmp_path, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.setenv("ETCDLAB_HOME", str(home))
    return home


def fill(path: Path) -> None:
    """Leave no byte on the disk of this path."""
    with path.open("wb", buffering=0) as file:
        for size in (2**20, 2**12):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * size)


def put_until_it_dies(lab: Lab) -> LabStatus:
    """Write until the lab's member has ended; a write that fails is not yet its end. Gives the status then."""
    for number in range(100):
        with contextlib.suppress(EtcdlabError):
            lab.etcdctl("--command-timeout=2s", "put", f"k{number}", LARGE)
        if (status := lab.status()).nodes[0].last_exit is not None:
            return status
    raise AssertionError("it does not die")


def test_a_member_that_a_full_disk_ended_goes_on_when_there_is_space(home, tmp_path):
    with small_disk(home, "160m"), running(ONE, base=tmp_path) as (lab, _):
        lab.etcdctl("put", "before", "1")
        before = journal.read(lab.directory.events)[-1].seq
        fill(home / "fill")
        status = put_until_it_dies(lab)
        (node,) = status.nodes
        assert (node.state, node.last_exit and node.last_exit.reason) == (NodeState.BACKOFF, ExitReason.DISK_FULL)
        assert "no space left on the disk" in status.problems[0]
        (home / "fill").unlink()
        wait_event(lab, EventKind.READY, "n1", after=before)
        assert lab.status().problems == ()
        assert "before" in lab.etcdctl("get", "before")
        written = journal.read(lab.directory.events)
        assert [event.seq for event in written] == list(range(1, written[-1].seq + 1))
        lab.etcdctl("put", "after", "1")


@pytest.mark.parametrize("size", ["4k", "24k", "48k", "80k", "1m", "40m"])
def test_an_up_on_a_disk_that_is_too_small_says_so_and_leaves_nothing(home, tmp_path, size):
    with small_disk(home, size):
        with pytest.raises(EtcdlabError, match=r"[Nn]o space left"):
            up(Request(topology=ONE, base=tmp_path, explicit=True), WATCHER)
        assert list(home.iterdir()) == []


@contextlib.contextmanager
def at_most(descriptors: int, daemon: int) -> Iterator[None]:
    """While the block runs, no file that the daemon opens may have a number from this one on."""
    before = resource.prlimit(daemon, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon, resource.RLIMIT_NOFILE, (descriptors, before[1]))
    try:
        yield
    finally:
        resource.prlimit(daemon, resource.RLIMIT_NOFILE, before)


@pytest.fixture
def lab_and_daemon(home, tmp_path):
    home.mkdir(mode=0o700)
    with running(ONE, base=tmp_path) as (lab, _):
        daemon = process_of(lab.directory)
        assert daemon is not None
        yield lab, daemon.pid
        assert "Traceback" not in lab.directory.daemon_log.read_text()


def test_a_daemon_without_descriptors_says_so_or_refuses_at_once(lab_and_daemon):
    lab, daemon = lab_and_daemon
    client = lab.client(timeout_s=PROMPT_S)
    highest = max(int(entry.name) for entry in Path(f"/proc/{daemon}/fd").iterdir())
    with at_most(highest + 1, daemon), contextlib.ExitStack() as clients:

        def connect() -> None:
            clients.enter_context(socket.socket(socket.AF_UNIX)).connect(lab.plan.socket)

        tries = 0
        while not any("may open no more files" in problem for problem in client.status().problems):
            connect()
            assert (tries := tries + 1) <= highest

        def use_the_reserve() -> None:
            for _ in range(2 * SIZE):
                connect()
                client.status()

        with pytest.raises(EtcdlabError, match="may open no more files"):
            use_the_reserve()
    assert client.status().problems == ()


def test_a_member_is_started_again_when_there_are_descriptors_at_no_cost(lab_and_daemon):
    lab, daemon = lab_and_daemon
    before = journal.read(lab.directory.events)[-1].seq
    pid = lab.status().nodes[0].pid
    assert pid is not None
    with at_most(3, daemon):
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE_S
        while [event.kind for event in journal.read(lab.directory.events)].count(EventKind.RESTARTED) < 2:
            assert time.monotonic() < deadline
    ready = wait_event(lab, EventKind.READY, "n1", after=before)
    told = [event for event in journal.read(lab.directory.events) if before < event.seq < ready.seq]
    reasons = [event.detail["reason"] for event in told if event.kind is EventKind.EXITED]
    assert reasons[:2] == [ExitReason.SIGNALLED.value, ExitReason.OUT_OF_RESOURCES.value]
    assert len([event for event in told if "is_free" in event.detail]) == len(reasons) - 1
    assert lab.status().problems == ()


def test_a_member_whose_port_somebody_has_names_them_and_is_started_when_it_is_free(home, tmp_path):
    home.mkdir(mode=0o700)
    with running(ONE, base=tmp_path) as (lab, _):
        lab.client().stop(["n1"], force=True)
        before = journal.read(lab.directory.events)[-1].seq
        with socket.create_server((LOOPBACK, lab.plan.nodes[0].client_port)):
            with pytest.raises(EtcdlabError, match=f"is held by .*{os.getpid()}"):
                lab.client().start(["n1"])
            (node,) = lab.status().nodes
            assert (node.state, node.last_exit and node.last_exit.reason) == (NodeState.BACKOFF, ExitReason.PORT_TAKEN)
        wait_event(lab, EventKind.READY, "n1", after=before)


def test_where_proc_cannot_be_read_a_running_lab_goes_on_and_every_verb_says_what_is_missing(home, tmp_path):
    home.mkdir(mode=0o700)

    def without_proc(*words: str) -> str:
        """A verb's messages, and its status."""
        hidden = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc || exit 99; "$@"; echo $?', "sh"]
        program = str(Path(sys.executable).with_name("etcdlab"))
        done = subprocess.run([*hidden, program, *words], capture_output=True, text=True, check=False, timeout=60)
        if done.returncode:
            pytest.skip("needs the right to mount")
        return done.stdout.splitlines()[-1] + done.stderr

    with running(ONE, base=tmp_path) as (lab, _):
        assert without_proc("status") == "0"
        assert without_proc("restart", "n1", "--force") == "0"
        for verb in ("doctor", "up --name other"):
            assert without_proc(*verb.split()).startswith("1error: /proc cannot be read here")
        assert [path.name for path in home.iterdir()] == [lab.name]
        daemon = process_of(lab.directory)
        assert daemon is not None
        send_signal(daemon, signal.SIGKILL)
        assert lab.directory.wait_released(PATIENCE_S)
        for verb in ("status", "up --name small", "down", "down --purge"):
            assert without_proc(*verb.split()).startswith("1error: /proc cannot be read here")
