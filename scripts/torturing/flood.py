"""A member's log flooded with numbered lines, and somebody who follows it and counts those that are missing.

Both are processes of their own: neither is to wait for the interpreter of the other.
"""

import contextlib
import os
import time
from multiprocessing import Event, Process, Value
from pathlib import Path
from typing import Final, Self

from etcdlab.etcd.parts import LogParts

RATE: Final = 100_000
"""Lines a second."""
PACE_S: Final = 0.002
LOOK_S: Final = 0.02
BYTES: Final = 2**18
SIGN: Final = b'{"level":"info","ts":"2026-01-01T00:00:00.000000Z","caller":"flood.py","msg":"flood","number":'
END_S: Final = 30.0


class Flood:
    """Floods and follows one log. A context manager: the follower ends with the block, when it has seen all."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self.written = 0
        self._spent_s = Value("d", 0.0)
        self._seen = Value("q", 0)
        self._missing = Value("q", 0)
        self._twice = Value("q", 0)
        self._overtaken = Value("q", 0)
        self._ended = Event()
        self._follower = Process(target=self._follow, daemon=True)
        self._writer: Process | None = None

    def __enter__(self) -> Self:
        self._follower.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()
        deadline = time.monotonic() + END_S
        while self._seen.value < self.written and time.monotonic() < deadline:
            time.sleep(LOOK_S)
        self._ended.set()
        self._follower.join()

    def begin(self, seconds: float) -> None:
        """Flood for so long, after the last one has ended."""
        self.wait()
        count = int(seconds * RATE)
        self._writer = Process(target=self._write, args=(self.written, count), daemon=True)
        self.written += count
        self._writer.start()

    def wait(self) -> None:
        """Wait for the end of a flood."""
        if self._writer is not None:
            self._writer.join()
        self._writer = None

    @property
    def rate(self) -> float:
        """How many lines a second were written, while some were."""
        return self.written / self._spent_s.value if self._spent_s.value else 0.0

    @property
    def missing(self) -> int:
        """Lines that were written and never seen, though the follower kept up."""
        return int(self.written - self._seen.value - self._overtaken.value)

    @property
    def twice(self) -> int:
        """Lines that came again."""
        return int(self._twice.value)

    @property
    def overtaken(self) -> int:
        """Lines that were no longer kept when the follower came to them: the machine did not let it run."""
        return int(self._overtaken.value)

    def _write(self, first: int, count: int) -> None:
        log = os.open(self._log, os.O_WRONLY | os.O_APPEND)
        began = time.monotonic()
        for number in range(count):
            os.write(log, b"%s%d}\n" % (SIGN, first + number))
            ahead = number / RATE - (time.monotonic() - began)
            if ahead > PACE_S:
                time.sleep(ahead)
        self._spent_s.value += time.monotonic() - began

    def _follow(self) -> None:
        with LogParts(self._log) as parts, contextlib.suppress(KeyboardInterrupt):
            place, rest, expected = parts.end(), b"", 0
            while not self._ended.is_set():
                start, data = parts.read(place, BYTES)
                was_overtaken, place = start != place, start + len(data)
                if not data:
                    time.sleep(LOOK_S)
                    continue
                *lines, rest = ((b"" if was_overtaken else rest) + data).split(b"\n")
                for line in lines:
                    if not line.startswith(SIGN):
                        continue
                    number = int(line[len(SIGN) : -1])
                    if number < expected:
                        self._twice.value += 1
                        continue
                    if was_overtaken:
                        self._overtaken.value += number - expected
                        was_overtaken = False
                    expected = number + 1
                    self._seen.value += 1
