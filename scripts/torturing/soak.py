"""Everything at once for half an hour, and whether the daemon is afterwards as it was before.

One member's log is flooded, members are killed and restarted, fifty clients ask for the status, a client writes. The
daemon may not grow, in memory or descriptors; no exit may be missed, no write, log line or event lost.
"""

import argparse
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Final, Self

import msgspec
import psutil

from etcdlab.cli.layout import layout
from etcdlab.cli.result import Table
from etcdlab.errors import EtcdlabError
from etcdlab.etcd.parts import LogParts
from etcdlab.interruption import Interrupted, end_by
from etcdlab.model.event import Event, EventKind
from etcdlab.model.exit import ExitReason
from etcdlab.model.topology import Profile
from etcdlab.prepare.process import is_alive, send_signal
from torturing import report
from torturing.field import Field
from torturing.flood import Flood
from torturing.ground import ground
from torturing.siege import Siege
from torturing.tally import Loss, Tally

MINUTES: Final = 30.0
CLIENTS: Final = 50
ASK_S: Final = 1.0
SAMPLE_S: Final = 2.0
FLOOD_S: Final = 5.0
FLOOD_EVERY_S: Final = 20.0
KILL_EVERY_S: Final = 7.0
RESTART_EVERY_S: Final = 40.0
RETURN_S: Final = 60.0
"""Seconds that a member gets to be ready again."""
POLL_S: Final = 0.05
WARM_UP: Final = 0.2
"""The part of the time that the daemon may grow in."""
JUDGED: Final = 40
"""Samples that it takes to tell growth from chance."""
MORE_BYTES: Final = 4 * 2**20
REST_S: Final = 10.0
"""Seconds that the daemon gets to close what its last clients had open."""
SHOWN: Final = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The daemon and its files at a moment. Sizes in bytes."""

    at_s: float
    rss: int
    descriptors: int
    threads: int
    cpu_s: float
    log: int
    journal: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How something changed after the warm-up: by how much from the first third to the last, and by the hour."""

    by: float
    hourly: float


def growth(samples: Sequence[Sample], value: Callable[[Sample], float]) -> Growth | None:
    """By medians, which a flood does not move. None when there are too few samples to tell."""
    warm = [sample for sample in samples if sample.at_s >= samples[-1].at_s * WARM_UP]
    if len(warm) < JUDGED:
        return None
    values = [value(sample) for sample in warm]
    third = len(values) // 3
    slope, _ = statistics.linear_regression([sample.at_s for sample in warm], values)
    return Growth(by=statistics.median(values[-third:]) - statistics.median(values[:third]), hourly=slope * 3600)


class Clients:
    """Threads that ask for the status again and again. A context manager."""

    def __init__(self, field: Field, tally: Tally) -> None:
        self._field = field
        self._tally = tally
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask, name="client") for _ in range(CLIENTS)]
        self.waits: list[float] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        client = self._field.lab.client()
        while not self._ended.wait(ASK_S):
            began = time.monotonic()
            try:
                client.status()
            except EtcdlabError as error:
                self._tally.lost(Loss.STATUS, f"{type(error).__name__}: {error}")
            self.waits.append(time.monotonic() - began)


class Soak:
    """One lab under everything at once."""

    def __init__(self, field: Field, tally: Tally, chance: Random) -> None:
        self._field = field
        self._tally = tally
        self._chance = chance
        self._flooded = field.plan.nodes[0]
        self.flood = Flood(Path(self._flooded.log))
        self.clients = Clients(field, tally)
        self.samples: list[Sample] = []
        self.kills = 0
        self.restarts = 0
        self.exits = 0
        self.descriptors = 0, 0
        """At rest, before and after."""

    def run(self, seconds: float) -> None:
        """Do it for so long."""
        field = self._field
        daemon = psutil.Process(field.daemon.pid)
        began, at_rest = time.monotonic(), daemon.num_fds()
        due = {self._flood: 0.0, self._kill: KILL_EVERY_S, self._restart: RESTART_EVERY_S, self._sample: 0.0}
        every = {
            self._flood: FLOOD_EVERY_S,
            self._kill: KILL_EVERY_S,
            self._restart: RESTART_EVERY_S,
            self._sample: SAMPLE_S,
        }
        with self.flood, field.writer, self.clients:
            while (now := time.monotonic() - began) < seconds:
                for act, at_s in due.items():
                    if at_s <= now:
                        due[act] = now + every[act]
                        act(daemon, now)
                self._read_journal()
                time.sleep(POLL_S)
            self._wait(lambda: self._are_ready(*field.names), "all members are healthy")
        self._settle(daemon, at_rest)
        self._judge()

    def _settle(self, daemon: psutil.Process, before: int) -> None:
        deadline = time.monotonic() + REST_S
        while (after := daemon.num_fds()) > before and time.monotonic() < deadline:
            time.sleep(POLL_S)
        self.descriptors = before, after
        if after > before:
            self._tally.lost(Loss.GROWTH, f"the daemon had {before} descriptors at rest, and has {after} afterwards")

    def _flood(self, _daemon: psutil.Process, _now: float) -> None:
        self.flood.begin(FLOOD_S)

    def _sample(self, daemon: psutil.Process, now: float) -> None:
        with LogParts(Path(self._flooded.log)) as log, LogParts(self._field.directory.events) as journal:
            sizes = log.end() - log.start(), journal.end() - journal.start()
        with daemon.oneshot():
            times = daemon.cpu_times()
            self.samples.append(
                Sample(
                    at_s=now,
                    rss=daemon.memory_info().rss,
                    descriptors=daemon.num_fds(),
                    threads=daemon.num_threads(),
                    cpu_s=times.user + times.system,
                    log=sizes[0],
                    journal=sizes[1],
                )
            )

    def _kill(self, _daemon: psutil.Process, _now: float) -> None:
        """SIGKILL to a member; its end must be told, and that it is ready again."""
        name, identity = self._chance.choice(sorted(self._field.members().items()))
        if send_signal(identity, signal.SIGKILL):
            self.kills += 1
            exits = self.exits
            self._wait(lambda: self.exits > exits, f"the end of {name}, killed as {identity.pid}, was told")
            self._wait(lambda: self._are_ready(name), f"{name} is ready after a SIGKILL")
            assert not is_alive(identity)

    def _restart(self, _daemon: psutil.Process, _now: float) -> None:
        name = self._chance.choice(self._field.names)
        try:
            self._field.lab.client().restart([name])
            self.restarts += 1
        except EtcdlabError as error:
            self._tally.lost(Loss.WORD, f"restart of {name}: {type(error).__name__}: {error}")

    def _are_ready(self, *names: str) -> bool:
        try:
            return all(node.healthy for node in self._field.lab.status().nodes if node.name in names)
        except EtcdlabError as error:
            self._tally.lost(Loss.STATUS, f"{type(error).__name__}: {error}")
            return False

    def _wait(self, accept: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + RETURN_S
        while not accept():
            self._read_journal()
            if time.monotonic() > deadline:
                self._tally.lost(Loss.EVENT, f"not within {RETURN_S:g} s: {what}")
                return
            time.sleep(POLL_S)

    def _read_journal(self) -> None:
        self.exits += sum(map(_is_kill, self._field.chronicle.news()))

    def _judge(self) -> None:
        tally, samples = self._tally, self.samples
        self._read_journal()
        if self.exits != self.kills:
            tally.lost(Loss.EVENT, f"{self.kills} members were killed, and the ends of {self.exits} told")
        if self.flood.missing or self.flood.twice:
            tally.lost(Loss.LOG, f"{self.flood.missing} lines are missing, {self.flood.twice} came twice")
        plan = self._field.plan
        # What is written between two looks of the daemon comes on top.
        bound = plan.log_size * (plan.log_count + 2)
        if (largest := max(sample.log for sample in samples)) > bound:
            tally.lost(Loss.GROWTH, f"the log had {largest} bytes")
        memory = growth(samples, lambda sample: sample.rss)
        if memory is not None and memory.by > MORE_BYTES:
            tally.lost(Loss.GROWTH, f"the daemon has {memory.by / 2**20:.1f} MiB more than after its warm-up")

    def tables(self) -> tuple[Table, Table]:
        """The daemon over time, and all in numbers."""
        samples = self.samples
        step = max(1, (len(samples) - 1) // (SHOWN - 1))
        shown = samples[::step]
        rows = [
            (
                f"{later.at_s / 60:.1f}",
                f"{later.rss / 2**20:.1f}",
                str(later.descriptors),
                str(later.threads),
                f"{(later.cpu_s - sooner.cpu_s) / (later.at_s - sooner.at_s) * 100:.0f} %",
                f"{later.log / 2**20:.1f}",
                f"{later.journal / 1024:.0f}",
            )
            for sooner, later in pairwise(shown)
        ]
        header = ("MINUTE", "RSS MiB", "DESCRIPTORS", "THREADS", "CPU", "LOG MiB", "JOURNAL KiB")
        waits = sorted(self.clients.waits)
        numbers: list[tuple[str, str]] = [
            ("memory after the warm-up", _grown(growth(samples, lambda sample: sample.rss / 2**20), "MiB")),
            ("descriptors at rest, before and after", f"{self.descriptors[0]}, {self.descriptors[1]}"),
            ("log lines written", f"{self.flood.written:,} at {self.flood.rate:,.0f}/s"),
            ("log lines missing, told twice", f"{self.flood.missing}, {self.flood.twice}"),
            ("log lines gone before they were read", f"{self.flood.overtaken:,}"),
            ("most bytes of a log", f"{max(sample.log for sample in samples):,}"),
            ("members killed, ends told", f"{self.kills}, {self.exits}"),
            ("members restarted", str(self.restarts)),
            ("statuses", f"{len(waits):,}, median {waits[len(waits) // 2]:.3f} s, worst {waits[-1]:.3f} s"),
            ("longest gap between writes", f"{max(self._tally.gaps.values(), default=0.0):.3f} s"),
        ]
        return Table(header=header, rows=tuple(rows)), Table(header=("", ""), rows=tuple(numbers))


def _is_kill(event: Event) -> bool:
    return event.kind is EventKind.EXITED and event.detail.get("reason") == ExitReason.SIGNALLED.value


def _grown(change: Growth | None, unit: str) -> str:
    return "too short to tell" if change is None else f"{change.by:+.1f} {unit}, {change.hourly:+.1f} {unit}/h"


def main() -> int:
    """Soak a lab. 1 when anything was lost, or the daemon grew."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, metavar="M", help="(default: 30)")
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    parser.add_argument("--profile", choices=[profile.value for profile in Profile], default=Profile.FAST.value)
    parser.add_argument("--json", type=Path, metavar="FILE", help="the samples, for programs")
    options = parser.parse_args()
    tally = Tally()
    tally.begin(1, "soak")
    try:
        with ground("soak", tally) as home:
            field = Field(home, Profile(options.profile), tally)
            soak = Soak(field, tally, Random(options.seed))
            soak.run(options.minutes * 60)
            Siege(field, tally).end(without_daemon=False)
    except Interrupted as interrupted:
        end_by(interrupted.number)
    print("\n\n".join(map(layout, soak.tables())))
    print(report.tables(tally, ()))
    if options.json is not None:
        options.json.write_bytes(msgspec.json.encode(soak.samples) + b"\n")
    return 1 if tally.findings else 0


if __name__ == "__main__":
    sys.exit(main())
