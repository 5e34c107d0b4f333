"""Figures as a table and as JSON, with what is needed to judge them: versions, cores, load."""

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import inf
from typing import Final

import msgspec
from figure import Figure, spread

from etcdlab import __version__
from etcdlab.cli.layout import layout
from etcdlab.cli.result import Table
from etcdlab.etcd import binaries

JSON_VERSION: Final = 1
DECIMALS: Final = {"s": 3, "ms": 1, "%": 2, "MB": 1, "lines/s": 0, "puts/s": 0, "times": 2, "s/100k": 2, "etcds": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where and when; `load` is the one-minute average before the first sample."""

    at: str
    system: str
    cpus: int
    load: float
    python: str
    etcd: str
    etcdlab: str


def machine() -> Machine:
    """This machine, now. Raises BinaryError when there is no etcd."""
    return Machine(
        at=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        load=os.getloadavg()[0],
        python=platform.python_version(),
        etcd=binaries.find(path=None, version=None).version,
        etcdlab=__version__,
    )


def table(figures: Sequence[Figure], where: Machine, *, runs: int) -> str:
    """For people: median (min to max) of both sides, the value and its target."""
    header = ("FIGURE", "ETCDLAB", "BESIDE IT", "", "VALUE", "PAIRED", "TARGET", "")
    rows = tuple(
        (
            figure.name,
            _samples(figure.samples, figure.unit),
            _samples(figure.beside, figure.unit) if figure.beside else "",
            figure.beside_name,
            value(figure),
            "" if figure.paired is None else f"{figure.paired:+.{DECIMALS[figure.unit]}f}",
            "" if figure.target is None else f"<= {figure.target:g} {figure.unit}",
            {None: "", True: "pass", False: "MISS"}[figure.met],
        )
        for figure in figures
    )
    title = (
        f"etcdlab {where.etcdlab}, etcd {where.etcd}, Python {where.python}, {where.system}, {where.cpus} CPUs, "
        f"load {where.load:.2f}; medians of {runs} (min to max)"
    )
    return f"{title}\n\n{layout(Table(header=header, rows=rows))}"


def value(figure: Figure) -> str:
    """The figure's value with its unit, and its sign where it is a difference."""
    sign = "+" if figure.is_overhead else ""
    return "never" if figure.value == inf else f"{figure.value:{sign}.{DECIMALS[figure.unit]}f} {figure.unit}"


def encode(figures: Sequence[Figure], where: Machine, *, runs: int) -> bytes:
    """For programs: all samples, and what follows from them."""
    data = {
        "version": JSON_VERSION,
        "machine": asdict(where),
        "runs": runs,
        "figures": [
            asdict(figure) | {"value": figure.value, "paired": figure.paired, "met": figure.met} for figure in figures
        ],
    }
    return msgspec.json.format(msgspec.json.encode(data), indent=2) + b"\n"


def _samples(samples: Sequence[float], unit: str) -> str:
    low, median, high = ("never" if sample == inf else f"{sample:.{DECIMALS[unit]}f}" for sample in spread(samples))
    return f"{median} ({low} to {high})" if low != high else median
