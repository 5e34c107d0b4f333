"""etcdlab as its users run it: the command, in a home of its own, and the daemons it leaves running."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import psutil

from etcdlab.etcd.environment import clean
from etcdlab.model.status import LabStatus


class CannotMeasure(Exception):
    """What went wrong outside of what is measured, for the person at the terminal."""


class Product:
    """The `etcdlab` command with `home` for its labs."""

    def __init__(self, home: Path) -> None:
        self.home: Final = home
        self._program = Path(sys.executable).with_name("etcdlab")
        # Users' Pythons keep compiled modules; without them each command would spend 50 ms on compiling.
        dropped = ("ETCDLAB_", "PYTHONDONTWRITEBYTECODE")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        self.environment: Final = clean(inherited) | {"ETCDLAB_HOME": str(home)}

    def run(self, *arguments: str | Path) -> bytes:
        """Run a verb; its output. Raises CannotMeasure with its messages when it fails."""
        return run([self._program, *arguments], self.environment)

    def time(self, *arguments: str | Path) -> float:
        """Seconds from exec to exit of a verb."""
        return timed([self._program, *arguments], self.environment)

    def spawn(self, *arguments: str | Path) -> "subprocess.Popen[bytes]":
        """Start a verb with a pipe for its output."""
        return subprocess.Popen([self._program, *arguments], env=self.environment, stdout=subprocess.PIPE)

    def status(self, lab: str) -> LabStatus:
        """`etcdlab status` of a lab that is to be healthy."""
        return msgspec.json.decode(self.run("status", "--json", "--lab", lab), type=LabStatus)

    def daemon(self, lab: str) -> psutil.Process:
        """The lab's daemon, found as any user would: by its command line."""
        shown = f"etcdlab daemon {self.home / lab}"
        for process in psutil.process_iter(["cmdline"]):
            if " ".join(process.info["cmdline"] or ()).rstrip() == shown:
                return process
        raise CannotMeasure(f"no process has the command line {shown!r}")

    def purge(self, lab: str) -> None:
        """Remove a lab."""
        self.run("down", "--purge", "--lab", lab)

    def purge_all(self) -> None:
        """Remove whatever labs there are."""
        self.run("down", "--purge", "--all")


def run(command: Sequence[str | Path], environment: Mapping[str, str]) -> bytes:
    """Run a command, its output in a pipe. Raises CannotMeasure when it fails."""
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        shown = " ".join(map(str, command))
        raise CannotMeasure(f"`{shown}` left with status {done.returncode}:\n{done.stderr.decode(errors='replace')}")
    return done.stdout


def timed(command: Sequence[str | Path], environment: Mapping[str, str]) -> float:
    """Seconds that a command takes."""
    began = time.perf_counter()
    run(command, environment)
    return time.perf_counter() - began


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, threads that ended included."""
    if sys.platform == "linux":
        # clock_getcpuclockid(3) of a process, which Python does not have: nanoseconds, where /proc counts 10 ms.
        return time.clock_gettime((~pid << 3) | 2)
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system
