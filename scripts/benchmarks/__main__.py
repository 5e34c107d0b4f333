"""Measure etcdlab beside what it is held against, and say which targets are met.

The two are measured in turn within one run, so that whatever else the machine does falls on both. A machine that does
much else gives numbers that say little all the same: the load is printed with them.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import boot
import logs
import net
import peers
import report
import rest
import restart
import stop
import suite
import verbs
from figure import Figure
from product import CannotMeasure, Product
from setting import Setting

ROWS: Final[Mapping[str, tuple[Callable[[Setting], Iterator[Figure]], str]]] = {
    "up": (boot.measure, "`up` from exec to ready, beside the same etcds spawned bare"),
    "restart": (restart.measure, "SIGKILL of a follower to healthy, beside etcd's own restart, and of an adopted one"),
    "status": (verbs.measure, "`status` and `env`, beside `etcdctl endpoint status`"),
    "idle": (rest.measure, "the daemon at rest: CPU and memory"),
    "down": (stop.measure, "`down` and `down --purge`, beside the same etcds ended bare"),
    "suite": (suite.measure, "a suite's first fixture and its end, beside a fixture of the usual kind; `reset`"),
    "logs": (logs.measure, "following a log that grows, beside `tail -F`"),
    "net": (net.measure, "puts with a fault network that does nothing, beside puts without one"),
    "peers": (peers.measure, "pifpaf, honcho, supervisord and the recipe by hand, where installed: only when named"),
}
UNLESS_NAMED: Final = frozenset({"peers"})


def main() -> int:
    """Measure the rows that were asked for. 1 when that cannot be done or, with --check, when a target is missed."""
    options = arguments()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="etcdlab-bench-") as scratch:
        setting = Setting(
            runs=options.runs,
            window_s=options.window,
            big=options.big,
            scratch=Path(scratch),
            product=Product(Path(scratch) / "home"),
        )
        machine = report.machine()
        try:
            for row in options.rows or [row for row in ROWS if row not in UNLESS_NAMED]:
                for figure in ROWS[row][0](setting):
                    print(f"{row}: {figure.name}: {report.value(figure)}", file=sys.stderr)
                    figures.append(figure)
        except CannotMeasure as problem:
            print(f"bench: {problem}", file=sys.stderr)
            return 1
        finally:
            setting.product.purge_all()
    print(report.table(figures, machine, runs=options.runs))
    options.json.write_bytes(report.encode(figures, machine, runs=options.runs))
    return 1 if options.check and any(figure.met is False for figure in figures) else 0


def arguments() -> argparse.Namespace:
    """The command line."""
    rows = "\n".join(f"  {name:8} {text}" for name, (_, text) in ROWS.items())
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=f"Measure etcdlab. Rows, by default all but peers:\n\n{rows}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rows", nargs="*", choices=[[], *ROWS], metavar="ROW", help="(default: all but peers)")
    parser.add_argument("--runs", type=int, default=7, metavar="N", help="samples of each figure (default: 7)")
    parser.add_argument("--window", type=float, default=5, metavar="S", help="seconds of one CPU sample (default: 5)")
    parser.add_argument("--big", action="store_true", help="idle: 30 members too, which takes 1 GB of memory")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), metavar="FILE", help="(default: bench.json)")
    parser.add_argument("--check", action="store_true", help="exit 1 when a target is missed")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
