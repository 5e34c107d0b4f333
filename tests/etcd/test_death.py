"""Why members die: each death provoked on a real etcd where that is quick, else told by lines that etcd printed."""

import contextlib
import errno
import os
import queue
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from etcdlab.etcd.death import (
    LINES_WANTED,
    Explanation,
    binary_missing,
    foreign_data,
    lines_wanted,
    not_started,
    place_unusable,
    why,
)
from etcdlab.model.exit import ExitReason
from etcdlab.prepare.ports import Ports

ETCD = shutil.which("etcd")
PATIENCE_S = 20
real_etcd = [pytest.mark.etcd, pytest.mark.skipif(ETCD is None, reason="no etcd in PATH")]


class Etcd:
    """An etcd process whose output is kept, line by line."""

    def __init__(self, *arguments: str, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env if env is not None else {}
        )
        self.lines: list[bytes] = []
        self._arrived: queue.Queue[bytes] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            self._arrived.put(line)

    def wait_line(self, words: bytes) -> None:
        while words not in self._arrived.get(timeout=PATIENCE_S):
            pass

    def death(self) -> Explanation:
        """Wait for its end and explain it."""
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return why(code=code, lines=self.lines[-LINES_WANTED:], requested=False, node="n1")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Member:
    """One member's ports and directory, and the processes started for it."""

    def __init__(self, name: str, directory: Path, ports: Ports) -> None:
        self.name = name
        self.data = directory / name
        self.client = ports.choose()
        self.peer = ports.choose()
        self.processes: list[Etcd] = []

    def argv(self, *more: str, cluster: "tuple[Member, ...]" = (), token: str = "t", tls: str = "") -> list[str]:
        client = f"http{'s' if tls == 'client' else ''}://127.0.0.1:{self.client}"
        peer = f"http{'s' if tls == 'peer' else ''}://127.0.0.1:{self.peer}"
        members = ",".join(f"{each.name}={each.peer_url}" for each in cluster) or f"{self.name}={peer}"
        return [
            ETCD or "etcd",
            f"--name={self.name}",
            f"--data-dir={self.data}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster={members}",
            f"--initial-cluster-token={token}",
            "--heartbeat-interval=10",
            "--election-timeout=100",
            "--unsafe-no-fsync",
            *more,
        ]

    @property
    def peer_url(self) -> str:
        return f"http://127.0.0.1:{self.peer}"

    def start(self, argv: list[str], env: dict[str, str] | None = None) -> Etcd:
        self.processes.append(Etcd(*argv, env=env))
        return self.processes[-1]

    def run(self, *more: str, tls: str = "") -> Explanation:
        return self.start(self.argv(*more, tls=tls)).death()

    def serve_and_die(self) -> None:
        process = self.start(self.argv())
        process.wait_line(b"ready to serve client requests")
        process.kill()


@pytest.fixture
def new_member(tmp_path: Path, ports: Ports) -> Iterator[Callable[[str], Member]]:
    members: list[Member] = []

    def make(name: str) -> Member:
        members.append(Member(name, tmp_path, ports))
        return members[-1]

    yield make
    for member in members:
        for process in member.processes:
            process.kill()


@pytest.fixture
def member(new_member: Callable[[str], Member]) -> Member:
    return new_member("n1")


class TestRealDeaths:
    """One real etcd for each."""

    pytestmark = real_etcd

    @pytest.mark.parametrize("which", ["client", "peer"])
    def test_port_taken(self, member: Member, which: str) -> None:
        port = getattr(member, which)
        with socket.create_server(("127.0.0.1", port)):
            death = member.run()
        assert death.reason is ExitReason.PORT_TAKEN
        assert death.port == port
        assert "address already in use" in death.detail
        assert "started again by itself" in death.remedy

    @pytest.mark.parametrize(
        ("argument", "words"),
        [
            ("--nonsense", "flag provided but not defined: -nonsense"),
            ("--quota-backend-bytes=much", 'invalid value "much" for flag -quota-backend-bytes'),
            ("--election-timeout=20", "--election-timeout[20ms] should be at least as 5 times"),
            ("--auto-compaction-mode=never", "unknown auto-compaction-mode"),
            ("--log-level=loud", "unrecognized level"),
            ("--initial-cluster=n2=http://127.0.0.1:1", "couldn't find local name"),
            ("--listen-client-urls=http://192.0.2.1:2379", "cannot assign requested address"),
        ],
    )
    def test_bad_flag(self, member: Member, argument: str, words: str) -> None:
        death = member.run(argument)
        assert death.reason is ExitReason.BAD_FLAG
        assert words in death.detail
        assert "etcdlab plan" in death.remedy

    def test_variable_that_repeats_a_flag(self, member: Member) -> None:
        death = member.start(member.argv(), env={"ETCD_NAME": "n1"}).death()
        assert death.reason is ExitReason.BAD_FLAG
        assert "ETCD_NAME" in death.detail

    @pytest.mark.parametrize("side", ["client", "peer"])
    @pytest.mark.parametrize(
        ("certificate", "key", "words"),
        [
            ("a.pem", "nowhere.pem", "no such file"),
            ("garbage.pem", "garbage.pem", "failed to find any PEM data"),
            ("a.pem", "b-key.pem", "private key does not match public key"),
        ],
    )
    def test_certificate(self, member: Member, pairs: Path, side: str, certificate: str, key: str, words: str) -> None:
        prefix = "--peer-" if side == "peer" else "--"
        death = member.run(f"{prefix}cert-file={pairs / certificate}", f"{prefix}key-file={pairs / key}", tls=side)
        assert death.reason is ExitReason.CERTIFICATE
        assert words in death.detail
        assert "etcdlab pki show" in death.remedy

    def test_data_directory_wiped(self, pair: tuple[Member, Member]) -> None:
        first, second = pair
        second.processes[-1].kill()
        shutil.rmtree(second.data)
        death = second.start(second.argv(cluster=(first, second))).death()
        assert death.reason is ExitReason.DATA_LOST
        assert "has already been bootstrapped" in death.detail

    def test_removed_member_though_it_exits_0(self, pair: tuple[Member, Member]) -> None:
        first, second = pair
        etcdctl = [shutil.which("etcdctl") or "etcdctl", f"--endpoints=http://127.0.0.1:{first.client}", "member"]
        listing = subprocess.run([*etcdctl, "list"], check=True, capture_output=True, text=True, env={}).stdout
        identity = next(line.split(",")[0] for line in listing.splitlines() if ", n2, " in line)
        subprocess.run([*etcdctl, "remove", identity], check=True, capture_output=True, env={})
        running = second.processes[-1]
        assert running.death().reason is ExitReason.REMOVED
        assert running.process.returncode == 0
        again = second.start(second.argv(cluster=pair)).death()
        assert again.reason is ExitReason.REMOVED
        assert again.detail == "the member has been permanently removed from the cluster"

    def test_another_clusters_member(self, new_member: Callable[[str], Member]) -> None:
        members = (new_member("n1"), new_member("n2"), new_member("n3"))
        at_home = start_pair(members[0], members[1], cluster=members)
        stranger = members[2].start(members[2].argv(cluster=members, token="another"))
        stranger.wait_line(b"cluster ID mismatch")
        stranger.wait_line(b"became pre-candidate")
        at_home.wait_line(b"cluster ID mismatch")
        assert foreign_data(at_home.lines) is None
        stranger.process.kill()
        death = stranger.death()
        assert death.reason is ExitReason.DATA_FOREIGN
        assert "its data is of cluster" in death.detail

    def test_corrupt_wal(self, member: Member) -> None:
        member.serve_and_die()
        (wal,) = (member.data / "member" / "wal").glob("*.wal")
        with wal.open("r+b") as file:
            position = file.read(4096).index(b"http://")
            file.seek(position)
            file.write(b"HTTP")
        death = member.run()
        assert death.reason is ExitReason.DATA_CORRUPT
        assert "crc mismatch" in death.detail

    def test_garbage_database(self, member: Member) -> None:
        member.serve_and_die()
        (member.data / "member" / "snap" / "db").write_bytes(b"\xa5" * 100_000)
        death = member.run()
        assert death.reason is ExitReason.DATA_CORRUPT
        assert "failed to open database: invalid database" in death.detail

    def test_data_directory_is_a_file(self, member: Member) -> None:
        member.data.touch()
        assert member.run().reason is ExitReason.DATA_UNUSABLE

    def test_file_size_limit(self, member: Member) -> None:
        limited = ["/bin/sh", "-c", 'ulimit -f 64; exec "$@"', "sh", *member.argv()]
        death = member.start(limited).death()
        assert death.reason is ExitReason.DISK_FULL

    def test_memory_limit(self, member: Member) -> None:
        limited = ["/bin/sh", "-c", 'ulimit -v 300000; exec "$@"', "sh", *member.argv()]
        death = member.start(limited).death()
        assert death.reason is ExitReason.OUT_OF_MEMORY
        assert "memory" in death.detail

    def test_disk_full(self, member: Member) -> None:
        member.data.mkdir(mode=0o700)
        with small_disk(member.data):
            death = member.run()
        assert death.reason is ExitReason.DISK_FULL
        assert "no space left on device" in death.detail

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
    def test_signal(self, member: Member, number: signal.Signals) -> None:
        process = member.start(member.argv())
        process.wait_line(b"notifying init daemon")  # what etcdmain does once it handles signals
        process.process.send_signal(number)
        death = process.death()
        assert death.reason is ExitReason.SIGNALLED
        assert death.detail == f"killed by {number.name}"
        if number is signal.SIGTERM:
            adopted = why(code=None, lines=process.lines, requested=False)
            assert (adopted.reason, adopted.detail) == (ExitReason.SIGNALLED, "shut down on signal terminated")

    def test_go_stack_dump(self, member: Member) -> None:
        process = member.start(member.argv())
        process.wait_line(b"ready to serve client requests")
        process.process.send_signal(signal.SIGQUIT)
        process.process.wait(PATIENCE_S)
        death = process.death()
        assert death.reason is ExitReason.CRASHED


@pytest.fixture
def pair(new_member: Callable[[str], Member]) -> tuple[Member, Member]:
    """A cluster of two, serving."""
    members = (new_member("n1"), new_member("n2"))
    start_pair(*members, cluster=members)
    return members


def start_pair(first: Member, second: Member, *, cluster: tuple[Member, ...]) -> Etcd:
    # One after the other: a second member that meets a first which listens but does not serve waits for 1 s.
    # Without the check, etcd refuses to remove a member in the first 5 s of a cluster.
    process = first.start(first.argv("--strict-reconfig-check=false", cluster=cluster))
    process.wait_line(b"serving peer traffic")
    second.start(second.argv(cluster=cluster)).wait_line(b"ready to serve client requests")
    process.wait_line(b"ready to serve client requests")
    return process


@contextlib.contextmanager
def small_disk(path: Path) -> Iterator[None]:
    """A file system of 1 MB at `path`; skips where that is not allowed."""
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "etcdlab-test", str(path)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("needs the right to mount")
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a.pem with a-key.pem, b.pem with b-key.pem, and garbage.pem."""
    directory = tmp_path_factory.mktemp("pairs")
    (directory / "garbage.pem").write_text("garbage")
    for stem in "ab":
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, stem)])
        now = datetime.now(UTC)
        certificate = x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1)
        ).sign(key, hashes.SHA256())
        (directory / f"{stem}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (directory / f"{stem}-key.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    return directory


def fatal(error: str, message: str = "discovery failed") -> bytes:
    return b'{"level":"fatal","ts":"2026-11-25T00:36:37.281965Z","msg":"%s","error":"%s"}' % (
        message.encode(),
        error.encode(),
    )


TOCOMMIT = "tocommit(9) is out of range [lastIndex(0)]. Was the raft log corrupted, truncated, or lost?"

DOWNGRADE = "invalid downgrade; server version is lower than determined cluster version"
CAPNSLOG = b"2021-03-04 10:00:00.123456 C | etcdmain: listen tcp 127.0.0.1:1: bind: address already in use"


@pytest.mark.parametrize(
    ("code", "line", "reason"),
    [
        (2, b'{"level":"panic","logger":"raft","msg":"%s"}' % TOCOMMIT.encode(), ExitReason.DATA_LOST),
        (2, b"panic: " + TOCOMMIT.encode(), ExitReason.DATA_LOST),
        (1, fatal("open /lab/pki/server-key.pem: permission denied"), ExitReason.CERTIFICATE),
        (1, fatal("open /lab/pki/server: permission denied", "listener failed"), ExitReason.CERTIFICATE),
        (1, fatal("open d/member/snap/db: permission denied", "failed to open database"), ExitReason.DATA_UNUSABLE),
        (1, fatal("cannot access data directory: mkdir d: read-only file system"), ExitReason.DATA_UNUSABLE),
        (1, fatal("open d/member/snap: no such file or directory", "failed to purge snap file"), ExitReason.DATA_LOST),
        (1, fatal("error validating peerURLs {}: member count is unequal"), ExitReason.DATA_FOREIGN),
        (1, fatal("write d/member/snap/db: no space left on device", "failed to commit tx"), ExitReason.DISK_FULL),
        (1, fatal("proto: Record: illegal tag 0 (wire type 0)"), ExitReason.DATA_CORRUPT),
        (1, fatal("", DOWNGRADE), ExitReason.VERSION_TOO_OLD),
        (1, CAPNSLOG, ExitReason.PORT_TAKEN),
        (2, b"panic: runtime error: invalid memory address or nil pointer dereference", ExitReason.CRASHED),
        (2, b"fatal error: concurrent map writes", ExitReason.CRASHED),
    ],
)  # fmt: skip
def test_recorded_lines(code: int, line: bytes, reason: ExitReason) -> None:
    noise = [b'{"level":"info","msg":"x"}', b'{"level":"warn","msg":"y","error":"tls: bad certificate"}']
    stack = [b"", b"goroutine 1 [running]:", b"\t/usr/lib/go/src/tls: no space left on device"] * 50
    assert why(code=code, lines=[*noise, line, *stack], requested=False).reason is reason


def test_a_crash_is_told_by_its_first_line() -> None:
    death = why(code=2, lines=[b"panic: boom", b"", b"goroutine 1 [running]:"], requested=False, node="n7")
    assert death.detail == "panic: boom"
    assert death.remedy == "`etcdlab logs n7` shows what led to it; `etcdlab start n7` starts it again."


def test_intent_comes_first() -> None:
    assert why(code=2, lines=[b"panic: boom"], requested=True).reason is ExitReason.REQUESTED


@pytest.mark.parametrize(
    ("code", "reason", "detail"),
    [
        (0, ExitReason.CLEAN, "exited by itself with status 0"),
        (7, ExitReason.CRASHED, "exited with status 7, after: x: y"),
        (-9, ExitReason.SIGNALLED, "killed by SIGKILL"),
        (-64, ExitReason.SIGNALLED, "killed by SIGRTMAX"),
        (-63, ExitReason.SIGNALLED, "killed by signal 63"),
        (None, ExitReason.UNKNOWN, "ended with an exit code that nobody could see"),
    ],
)
def test_without_last_words_the_code_decides(code: int | None, reason: ExitReason, detail: str) -> None:
    death = why(code=code, lines=[b'{"level":"warn","msg":"x","error":"y"}'], requested=False)
    assert (death.reason, death.detail) == (reason, detail)


def test_a_kill_of_nobody_is_the_systems() -> None:
    assert why(code=-9, lines=[], requested=False).remedy.startswith("If nobody sent it, the system did, for want of m")


def test_no_lines_at_all() -> None:
    assert why(code=1, lines=[], requested=False).detail == "exited with status 1"


def test_what_cannot_heal_has_a_remedy() -> None:
    """The table and the enum agree: a reason without a rule is one that a restart may heal, or is spawn's."""
    told = {
        why(code=1, lines=[fatal(text)], requested=False).reason
        for text in (
            "permanently removed from the cluster",
            "has already been bootstrapped", "cluster ID mismatch", "read-only file system", "crc mismatch", "tls: x",
            "--initial-cluster", "cannot downgrade",
        )
    }  # fmt: skip
    told.add(binary_missing("/nowhere/etcd", FileNotFoundError(2, "No such file or directory")).reason)
    assert told == {reason for reason in ExitReason if not reason.recoverable}


def test_binary_missing() -> None:
    death = binary_missing("/nowhere/etcd", FileNotFoundError(2, "No such file or directory"))
    assert death.detail == "cannot run /nowhere/etcd: No such file or directory"
    assert "etcdlab etcd install" in death.remedy


def test_a_member_whose_directory_is_gone_or_closed_is_not_without_its_binary():
    gone = place_unusable("/lab/n1", FileNotFoundError(2, "No such file or directory"), node="n1")
    assert (gone.reason, gone.detail) == (ExitReason.DATA_LOST, "cannot run in /lab/n1: No such file or directory")
    assert "`etcdlab start n1`" in gone.remedy
    closed = place_unusable("/lab/n1/etcd.log", PermissionError(13, "Permission denied"), node="n1")
    assert (closed.reason, "Make it writable" in closed.remedy) == (ExitReason.DATA_UNUSABLE, True)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM])
@pytest.mark.parametrize("place", ["/lab/n1", "/bin/etcd", None])
def test_a_member_that_the_system_had_no_means_to_start_is_tried_again(number, place):
    """It was FAILED for good with "Make it writable", when the daemon had no descriptor left for a moment."""
    death = not_started("/bin/etcd", OSError(number, os.strerror(number), place), node="n1")
    assert (death.reason, death.reason.recoverable) == (ExitReason.OUT_OF_RESOURCES, True)
    assert death.detail == f"cannot run /bin/etcd: {os.strerror(number)}"


def test_a_member_that_found_a_full_disk_when_it_was_started_says_so():
    death = not_started("/bin/etcd", OSError(errno.ENOSPC, "No space left on device", "/lab/n1/etcd.log"), node="n1")
    assert (death.reason, death.detail) == (
        ExitReason.DISK_FULL,
        "cannot run in /lab/n1/etcd.log: No space left on device",
    )
    assert "Free space" in death.remedy


@pytest.mark.parametrize(
    ("code", "lines", "reason"),
    [
        (1, [], ExitReason.DISK_FULL),
        (2, [b'{"level":"fatal","ts":"2026-01-01T00:00:00Z","caller":"x.go:1","ms'], ExitReason.DISK_FULL),
        (None, [], ExitReason.DISK_FULL),
        (-9, [], ExitReason.SIGNALLED),
        (0, [], ExitReason.CLEAN),
        (1, [fatal("bind: address already in use")], ExitReason.PORT_TAKEN),
    ],
)
def test_a_crash_without_a_reason_on_a_full_disk_is_for_want_of_space(code, lines, reason):
    assert why(code=code, lines=lines, requested=False, is_disk_full=True).reason is reason


def test_a_line_that_a_full_disk_cut_short_is_told_in_its_own_words():
    line = fatal("write d/member/snap/db: no space left on device", "failed to commit tx")
    torn = line[: line.index(b"device") + len(b'device","stack')]
    death = why(code=1, lines=[torn], requested=False)
    assert death.detail == "failed to commit tx: write d/member/snap/db: no space left on device"


def test_a_thread_that_could_not_be_had_is_for_want_of_memory():
    words = b"runtime/cgo: pthread_create failed: Resource temporarily unavailable"
    death = why(code=2, lines=[words, b"SIGABRT: abort", b"PC=0x7f m=5 sigcode=18446744073709551610"], requested=False)
    assert (death.reason, death.detail) == (ExitReason.OUT_OF_MEMORY, words.decode())


def test_a_fatal_error_of_go_is_found_above_all_its_stacks():
    stacks = [b"goroutine 1 [select]:", b"main.main()"] * 1500
    lines = [b"fatal error: runtime: out of memory", *stacks]
    death = why(code=2, lines=lines[-lines_wanted(2) :], requested=False)
    assert (death.reason, death.detail) == (ExitReason.OUT_OF_MEMORY, "fatal error: runtime: out of memory")
