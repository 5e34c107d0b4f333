"""What a daemon costs while nothing happens."""

import time
from collections.abc import Iterator
from typing import Final

from figure import Figure
from product import cpu_seconds
from setting import Setting

LAB: Final = "rest"
SIZES: Final = (3, 9)
BIG: Final = 30
CPU_LIMIT: Final = 0.5
"""Percent of a core, with the fewest members; with more of them it may grow as their number does."""
MEMORY_LIMIT_MB: Final = 70.0
SETTLE_S: Final = 12.0
"""After the boot: trio's idle threads end after 10 s."""


def measure(setting: Setting) -> Iterator[Figure]:
    """CPU and memory of one lab's daemon, for several numbers of members."""
    costs: dict[int, float] = {}
    for size in (*SIZES, *([BIG] if setting.big else [])):
        setting.product.run("up", "--name", LAB, "--nodes", str(size), "--timeout", "5m")
        daemon = setting.product.daemon(LAB)
        members = [node.pid for node in setting.product.status(LAB).nodes if node.pid]
        time.sleep(SETTLE_S)
        windows = [_cpu_percent([daemon.pid], members, setting.window_s) for _ in range(setting.runs)]
        memory = daemon.memory_info().rss / 1e6
        setting.product.purge(LAB)
        figure = Figure(
            name=f"daemon at rest, CPU, {size} members",
            unit="%",
            samples=tuple(own for own, _ in windows),
            beside=tuple(etcds for _, etcds in windows),
            beside_name="its etcds",
            target=CPU_LIMIT if size == SIZES[0] else None,
        )
        costs[size] = figure.value
        yield figure
        yield Figure(
            name=f"daemon at rest, memory, {size} members", unit="MB", samples=(memory,), target=MEMORY_LIMIT_MB
        )
    for size in list(costs)[1:]:
        growth = costs[size] / costs[SIZES[0]]
        name = f"daemon at rest, CPU, {size} members to {SIZES[0]}"
        yield Figure(name=name, unit="times", samples=(growth,), target=size / SIZES[0])


def _cpu_percent(daemon: list[int], members: list[int], window_s: float) -> tuple[float, float]:
    """Percent of a core that the daemon, and that its members together, take over a window."""
    began, before = time.monotonic(), [sum(map(cpu_seconds, pids)) for pids in (daemon, members)]
    time.sleep(window_s)
    after, took = [sum(map(cpu_seconds, pids)) for pids in (daemon, members)], time.monotonic() - began
    own, etcds = (100 * (end - start) / took for start, end in zip(before, after, strict=True))
    return own, etcds
