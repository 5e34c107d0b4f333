"""etcdlab beside what people use today: to a healthy cluster, to a member's return, and what a killed tool leaves."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Final

import psutil
from bare import POLL_S, is_healthy, is_leader
from figure import Figure
from peer import PAIRS, Peer, Place, place, which
from product import CannotMeasure
from setting import Setting

FIRST_S: Final = 60.0
AGAIN_S: Final = 10.0
"""After which a member that is still not back counts as never back."""
LEFT_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Seconds until healthy, at first and after a follower's SIGKILL; then the tool's own SIGKILL: etcds left over.

    `retaken` are the seconds until a follower is back that was killed after the tool was started again.
    """

    first: float
    again: float
    left: int
    retaken: float


FIGURES: Final[tuple[tuple[str, str, Callable[[Sample], float]], ...]] = (
    ("to three healthy members", "s", lambda sample: sample.first),
    ("SIGKILL of a follower to healthy", "s", lambda sample: sample.again),
    ("etcds left by SIGKILL of the tool", "etcds", lambda sample: float(sample.left)),
    ("tool started again, follower's SIGKILL to healthy", "s", lambda sample: sample.retaken),
)


class Attempt:
    """A peer at work in a place of its own, until the block ends."""

    def __init__(self, setting: Setting, peer: Peer, directory: Path) -> None:
        self._setting = setting
        self._peer = peer
        self._place: Place = place(directory)
        self._tools: list[subprocess.Popen[bytes]] = []

    def begin(self) -> None:
        """Start the tool."""
        program, *arguments = self._peer.command(self._place)
        search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        with (self._place.directory / "tool.log").open("ab") as log:
            tool = subprocess.Popen(
                [which(program) or program, *arguments],
                cwd=self._place.directory,
                env=self._setting.product.environment | {"TMPDIR": str(self._place.directory), "PATH": search},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._tools.append(tool)

    def healthy(self) -> bool:
        """Whether all members answer a linearizable read."""
        return all(is_healthy(port) for port in self._peer.health(self._place))

    def kill_follower(self) -> None:
        """SIGKILL of one, until its health shows it."""
        ports = self._peer.health(self._place)
        number = next(number for number, port in enumerate(ports) if not is_leader(port))
        for etcd in self.etcds(self._place.clients[number]):
            etcd.kill()
        if not _within(AGAIN_S, lambda: not is_healthy(ports[number])):
            raise CannotMeasure(f"{self._peer.name}: a member that was killed is healthy")

    def kill_tool(self) -> None:
        """SIGKILL of the process that looks after the members."""
        tool = self._tools[-1]
        if self._peer.is_detached:
            tool.wait()
            self._setting.product.daemon("peers").kill()
        else:
            tool.kill()
            tool.wait()

    def etcds(self, *clients: int) -> list[psutil.Process]:
        """The members that run, or those of them with these client ports."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                words = process.cmdline()
                line = " ".join(words)
                if (
                    words
                    and Path(words[0]).name == "etcd"
                    and any(f":{port}" in line for port in clients or self._place.clients)
                ):
                    found.append(process)
        return found

    def end(self) -> None:
        """End all that it left, and remove it."""
        if self._peer.is_detached:
            self._setting.product.purge_all()
        for tool in self._tools:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(tool.pid, signal.SIGKILL)
            tool.wait()
        etcds = self.etcds()
        for etcd in etcds:
            with contextlib.suppress(psutil.NoSuchProcess):
                etcd.kill()
        psutil.wait_procs(etcds, timeout=AGAIN_S)
        shutil.rmtree(self._place.directory)


@contextlib.contextmanager
def _attempt(setting: Setting, peer: Peer) -> Iterator[Attempt]:
    attempt = Attempt(setting, peer, setting.scratch / "peer")
    try:
        yield attempt
    finally:
        attempt.end()


def measure(setting: Setting) -> Iterator[Figure]:
    """Like beside like, in turn; peers that are not installed are left out, with a word."""
    for ours, peer in PAIRS:
        if peer.missing:
            print(f"peers: {peer.name} is left out: {' and '.join(peer.missing)} not installed", file=sys.stderr)
            continue
        pairs = [(_sample(setting, ours), _sample(setting, peer)) for _ in range(setting.runs)]
        for name, unit, aspect in FIGURES:
            yield Figure(
                name=f"{ours.name}, {name}",
                unit=unit,
                samples=tuple(aspect(own) for own, _ in pairs),
                beside=tuple(aspect(other) for _, other in pairs),
                beside_name=peer.name,
            )


def _sample(setting: Setting, peer: Peer) -> Sample:
    with _attempt(setting, peer) as attempt:
        first = _healthy(peer, attempt)
        attempt.kill_follower()
        again = _seconds(AGAIN_S, attempt.healthy)
    with _attempt(setting, peer) as attempt:
        _healthy(peer, attempt)
        attempt.kill_tool()
        _within(LEFT_S, lambda: not attempt.etcds())
        left = len(attempt.etcds())
        attempt.begin()
        retaken = inf
        if _within(AGAIN_S, attempt.healthy):
            time.sleep(LEFT_S)  # for the tool to find the members; the commands that stay do not say when they have
            attempt.kill_follower()
            retaken = _seconds(AGAIN_S, attempt.healthy)
    return Sample(first=first, again=again, left=left, retaken=retaken)


def _healthy(peer: Peer, attempt: Attempt) -> float:
    began = time.perf_counter()
    attempt.begin()
    if not _within(FIRST_S, attempt.healthy):
        raise CannotMeasure(f"{peer.name} has no healthy cluster after {FIRST_S:g} s")
    return time.perf_counter() - began


def _seconds(limit_s: float, holds: Callable[[], bool]) -> float:
    began = time.perf_counter()
    return time.perf_counter() - began if _within(limit_s, holds) else inf


def _within(limit_s: float, holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True
