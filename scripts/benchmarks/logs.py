"""Following logs: how many lines a second, and at which cost, while a log grows faster than it can be read.

And the other way round: what lines at a steady rate cost the daemon, which reads every one.
"""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import trio
from figure import Figure
from product import CannotMeasure, cpu_seconds
from setting import Setting

from etcdlab.prepare.labdir import LabDirectory
from etcdlab.runtime.tail import watch_lines

LAB: Final = "logs"
FLOOD_LINES: Final = 100_000
RATE: Final = 1000
"""Lines a second: what a test suite that has etcd log every slow request may see."""
TICK_S: Final = 0.01
SIGN: Final = b'{"level":"info","msg":"the follower is there"}\n'
START_S: Final = 10.0

Sample = tuple[float, float]
"""Lines a second, and seconds of CPU for 100,000 lines."""


def measure(setting: Setting) -> Iterator[Figure]:
    """The command's two renderings and the daemon's tail beside `tail -F`; then the daemon at a steady rate."""
    setting.product.run("up", "--name", LAB)
    log = Path(LabDirectory(setting.product.home / LAB).load_plan().nodes[0].log)
    lines = log.read_bytes().splitlines(keepends=True)
    yield _steady(setting, log, lines)
    # From here on without a daemon, which would follow and rotate the log as well.
    setting.product.run("down", "--lab", LAB)
    flood = setting.scratch / "flood"
    flood.write_bytes(b"".join(_restamped(lines, FLOOD_LINES)))
    followers: dict[str, Callable[[], Sample]] = {
        "logs -f --raw": lambda: _verb(setting, log, flood, "--raw"),
        "logs -f": lambda: _verb(setting, log, flood),
        "the daemon's tail": lambda: _daemons_tail(log, flood),
    }
    samples: dict[str, list[Sample]] = {name: [] for name in followers}
    beside: list[Sample] = []
    for _ in range(setting.runs):
        for name, follow in followers.items():
            os.truncate(log, 0)
            samples[name].append(follow())
        os.truncate(log, 0)
        tail = subprocess.Popen(["tail", "-n", "0", "-F", log], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        beside.append(_follow(tail, log, flood))
    setting.product.purge(LAB)
    for name, pairs in samples.items():
        for place, (what, unit) in enumerate((("lines", "lines/s"), ("CPU", "s/100k"))):
            yield Figure(
                name=f"{name}, {what}",
                unit=unit,
                samples=tuple(pair[place] for pair in pairs),
                beside=tuple(pair[place] for pair in beside),
                beside_name="tail -F",
            )


def _steady(setting: Setting, log: Path, lines: list[bytes]) -> Figure:
    """The daemon's CPU while one member logs RATE lines a second, beside its CPU while none does."""
    daemon = setting.product.daemon(LAB).pid
    quiet, busy = list[float](), list[float]()
    flood = _restamped(lines, int(RATE * (setting.window_s + 1)) * setting.runs)
    for _ in range(setting.runs):
        quiet.append(_cpu_percent(daemon, setting.window_s, lambda: None))
        with log.open("ab", buffering=0) as file:
            write = file.write
            busy.append(
                _cpu_percent(
                    daemon,
                    setting.window_s,
                    lambda: write(b"".join(next(flood) for _ in range(int(RATE * TICK_S)))),  # noqa: B023 - called here
                )
            )
    name = f"daemon, CPU, {RATE} log lines/s"
    return Figure(name=name, unit="%", samples=tuple(busy), beside=tuple(quiet), beside_name="the same at rest")


def _cpu_percent(pid: int, window_s: float, on_tick: Callable[[], object]) -> float:
    began, before, ticks = time.monotonic(), cpu_seconds(pid), 0
    while (now := time.monotonic() - began) < window_s:
        on_tick()
        ticks += 1
        time.sleep(max(0.0, ticks * TICK_S - now))
    return 100 * (cpu_seconds(pid) - before) / (time.monotonic() - began)


def _verb(setting: Setting, log: Path, flood: Path, *options: str) -> Sample:
    follower = setting.product.spawn("logs", log.parent.name, "-f", "--lab", LAB, *options)
    return _follow(follower, log, flood)


def _follow(follower: "subprocess.Popen[bytes]", log: Path, flood: Path) -> Sample:
    """Let a process that copies `log` to a pipe meet the flood."""
    assert follower.stdout is not None
    pipe = follower.stdout.fileno()
    try:
        _wait_following(follower, log)
        before, began, seen = cpu_seconds(follower.pid), time.perf_counter(), 0
        with _flooding(log, flood):
            while seen < FLOOD_LINES:
                seen += _read(follower, pipe).count(b"\n")
        took, cpu = time.perf_counter() - began, cpu_seconds(follower.pid) - before
    finally:
        follower.kill()
        follower.wait()
        follower.stdout.close()
    return FLOOD_LINES / took, cpu * 100_000 / FLOOD_LINES


def _wait_following(follower: "subprocess.Popen[bytes]", log: Path) -> None:
    """Append lines until one comes out at the other end, then let the pipe run empty."""
    assert follower.stdout is not None
    pipe, deadline, answer = follower.stdout.fileno(), time.monotonic() + START_S, b""
    os.set_blocking(pipe, False)
    while b"the follower is there" not in answer:
        if time.monotonic() > deadline:
            raise CannotMeasure(f"{follower.args!r} shows nothing of {log}")
        with log.open("ab") as file:
            file.write(SIGN)
        time.sleep(0.1)
        with contextlib.suppress(BlockingIOError):
            answer += _read(follower, pipe)
    time.sleep(0.3)
    with contextlib.suppress(BlockingIOError):
        while _read(follower, pipe):
            pass
    os.set_blocking(pipe, True)


def _read(follower: "subprocess.Popen[bytes]", pipe: int) -> bytes:
    if data := os.read(pipe, 2**20):
        return data
    raise CannotMeasure(f"{follower.args!r} ended")


@contextlib.contextmanager
def _flooding(log: Path, flood: Path) -> Iterator[None]:
    """Append the flood in another process, so that neither the follower nor we write it."""
    with log.open("ab") as file, subprocess.Popen(["cat", flood], stdout=file):
        yield


def _daemons_tail(log: Path, flood: Path) -> Sample:
    """The same lines through the daemon's own tail, in this process."""
    return trio.run(_watch, log, flood)


async def _watch(log: Path, flood: Path) -> Sample:
    seen, all_seen = 0, trio.Event()

    def on_lines(name: str, lines: list[bytes]) -> None:
        nonlocal seen
        seen += len(lines)
        if seen >= FLOOD_LINES:
            all_seen.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(watch_lines, size=2**62, count=1), {LAB: log}, on_lines)
        cpu, began = time.process_time(), time.perf_counter()
        with _flooding(log, flood):
            await all_seen.wait()
            took, cpu = time.perf_counter() - began, time.process_time() - cpu
        nursery.cancel_scope.cancel()
    return FLOOD_LINES / took, cpu * 100_000 / FLOOD_LINES


def _restamped(lines: list[bytes], count: int) -> Iterator[bytes]:
    """`count` lines as etcd would write them: those it wrote, again and again, a millisecond apart."""
    records = [json.loads(line) for line in lines if line.startswith(b"{")]
    now = datetime.now(UTC)
    for number in range(count):
        record = records[number % len(records)]
        record["ts"] = f"{now + timedelta(milliseconds=number):%Y-%m-%dT%H:%M:%S.%fZ}"
        yield json.dumps(record, separators=(",", ":")).encode() + b"\n"
