"""`python -m etcdlab.network DIRECTORY`: the fault network of the lab in this directory, until it is told to end.

It says on its standard output when it carries connections, or what keeps it from that, in one line.
"""

import contextlib
import logging
import os
import signal
import sys
import time
from pathlib import Path
from socket import socket

import setproctitle
import trio

from etcdlab.control.listener import bind
from etcdlab.errors import EtcdlabError
from etcdlab.model.plan import Plan
from etcdlab.network import proxy, server
from etcdlab.network.network import Network
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.prepare.title import Role, title


class MonotonicClock(trio.abc.Clock):
    """The system's monotonic clock: what is told of times is understood in other processes."""

    def start_clock(self) -> None:
        """Nothing to do."""

    def current_time(self) -> float:
        """Now."""
        return time.monotonic()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Seconds until then."""
        return deadline - time.monotonic()


async def run(plan: Plan, listener: socket) -> None:
    """Carry connections until somebody says that it is over."""
    network, ended = Network(), trio.Event()
    listening = await proxy.listen(plan.nodes, network)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(proxy.serve, listening)
        nursery.start_soon(network.run)
        nursery.start_soon(server.serve, listener, network, ended)
        nursery.start_soon(_watch_signals, ended)
        with contextlib.suppress(BrokenPipeError):  # a daemon that was killed meanwhile; the next one finds us
            os.write(1, b"ready\n")
        await ended.wait()
        nursery.cancel_scope.cancel()


async def _watch_signals(ended: trio.Event) -> None:
    """SIGTERM ends it; what a terminal sends is for the lab's daemon, or its launcher."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for number in signals:
            if number == signal.SIGTERM:
                ended.set()


def main() -> None:
    """Bind, say so, run."""
    directory = LabDirectory(Path(sys.argv[1]))
    setproctitle.setproctitle(title(directory, Role.NETWORK))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        plan = directory.load_plan()
        listener = bind(plan.network_socket)
        trio.run(run, plan, listener, clock=MonotonicClock())
    except (EtcdlabError, OSError) as error:
        os.write(1, f"{error}\n".encode())
        sys.exit(1)


if __name__ == "__main__":
    main()
