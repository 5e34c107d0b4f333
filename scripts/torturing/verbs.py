"""etcdlab as its users run it: the command, in a home of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

from etcdlab.errors import ExitStatus
from etcdlab.etcd.environment import clean
from etcdlab.model.status import LabStatus
from torturing.tally import Loss, Tally

PATIENCE_S: Final = 120.0
"""Seconds after which a verb counts as one that hangs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a verb ended."""

    status: int
    out: bytes
    errors: str

    @property
    def told(self) -> str:
        """All that it said: an error is in the output if that is JSON."""
        return self.out.decode(errors="replace") + self.errors

    @property
    def lab(self) -> LabStatus:
        """What `up --json` and `status --json` print."""
        return msgspec.json.decode(self.out, type=LabStatus)


class Running:
    """A verb on its way."""

    def __init__(self, words: tuple[str, ...], process: "subprocess.Popen[bytes]", tally: Tally) -> None:
        self.pid: Final = process.pid
        self._words = " ".join(words)
        self._began = time.monotonic()
        self._process = process
        self._tally = tally
        self._struck: set[int] = set()

    def __str__(self) -> str:
        return self._words

    def kill(self) -> None:
        """SIGKILL."""
        self.strike(signal.SIGKILL)

    def strike(self, number: signal.Signals) -> None:
        """A signal to it and its process group, as from a terminal."""
        self._words += f" {number.name}@{time.monotonic() - self._began:.3f}"
        if self._process.poll() is None:
            self._struck |= {-number, 128 + number}  # the latter by an `exec` whose command ended so
            os.killpg(self.pid, number)

    def wait(self) -> Done:
        """Wait for its end. However it was hit, it has a documented status, or that signal's, and no traceback."""
        try:
            out, errors = self._process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._tally.lost(Loss.WORD, f"`{self}` hung for {PATIENCE_S:g} s")
            self.kill()
            out, errors = self._process.communicate()
        done = Done(status=self._process.returncode, out=out, errors=errors.decode(errors="replace"))
        if "Traceback" in done.errors or done.status not in {*ExitStatus, *self._struck}:
            self._tally.lost(Loss.WORD, f"`{self}` ended with {done.status}: {done.errors}")
        return done


class Verbs:
    """The `etcdlab` command with `home` for its labs."""

    def __init__(self, home: Path, tally: Tally) -> None:
        self._tally = tally
        self._program = Path(sys.executable).with_name("etcdlab")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ETCDLAB_")}
        self._environment = clean(inherited) | {"ETCDLAB_HOME": str(home)}

    def start(self, *words: str | Path, environment: Mapping[str, str] = MappingProxyType({})) -> Running:
        """Start a verb."""
        process = subprocess.Popen(
            [self._program, *words],
            env={**self._environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )
        return Running(tuple(map(str, words)), process, self._tally)

    def run(self, *words: str | Path) -> Done:
        """Run a verb."""
        return self.start(*words).wait()
