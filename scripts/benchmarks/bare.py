"""The floor: the same etcds with the same arguments and certificates, and nobody to look after them."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from product import CannotMeasure

from etcdlab.etcd import binaries
from etcdlab.etcd.environment import clean
from etcdlab.model.plan import NodePlan
from etcdlab.model.topology import Topology
from etcdlab.pki import store
from etcdlab.prepare.build import build
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.prepare.ports import LOOPBACK, Ports

POLL_S: Final = 0.001
ANSWER_S: Final = 1.0
PATIENCE_S: Final = 60.0
SERVING_PEERS: Final = b'"serving peer traffic"'


class BareCluster:
    """One cluster, planned by etcdlab and run by hand. Its certificates are made here, beforehand."""

    def __init__(self, topology: Topology, directory: Path) -> None:
        self._directory = LabDirectory(directory)
        with Ports() as ports:
            plan = build(topology, directory=self._directory, base=directory, ports=ports, find=binaries.find)
        self.nodes: Final = plan.nodes
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for node in self.nodes:
            Path(node.directory).mkdir(mode=0o700, parents=True)
        if plan.pki is not None:
            store.create(plan.pki)

    def boot(self) -> float:
        """Seconds from the first spawn until all are healthy: staged, each when the one before serves its peers."""
        began = time.perf_counter()
        for node in self.nodes:
            self.spawn(node)
            if node is not self.nodes[-1]:
                wait_for(f"{node.name} serves its peers", lambda node=node: SERVING_PEERS in _log(node))  # type: ignore[misc]
        for node in self.nodes:
            wait_healthy(node)
        took = time.perf_counter() - began
        self.leader()
        return took

    def spawn(self, node: NodePlan) -> None:
        """Start a member as the daemon does."""
        log = os.open(node.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        environment = clean(os.environ) | dict(node.env)
        self._processes[node.name] = subprocess.Popen(
            node.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=node.directory, env=environment
        )
        os.close(log)

    def signal(self, node: NodePlan, number: signal.Signals) -> None:
        """Signal a member."""
        self._processes[node.name].send_signal(number)

    def reap(self, node: NodePlan) -> None:
        """Wait for a member's end."""
        self._processes.pop(node.name).wait()

    def leader(self) -> NodePlan:
        """The one leader. Raises CannotMeasure when there is not exactly one."""
        leaders = [node for node in self.nodes if is_leader(node.metrics_port)]
        if len(leaders) != 1:
            raise CannotMeasure(f"the bare cluster has {len(leaders)} leaders")
        return leaders[0]

    def stop(self) -> float:
        """Seconds to stop in order: followers first, then the leader."""
        leader = self.leader()
        followers = [node for node in self.nodes if node is not leader]
        began = time.perf_counter()
        for group in (followers, [leader]):
            for node in group:
                self.signal(node, signal.SIGTERM)
            for node in group:
                self.reap(node)
        return time.perf_counter() - began

    def discard(self) -> float:
        """Seconds to kill what runs and to remove data and logs; afterwards it can boot again."""
        began = time.perf_counter()
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()
        self._processes.clear()
        for node in self.nodes:
            shutil.rmtree(node.data_dir, ignore_errors=True)
            Path(node.log).unlink(missing_ok=True)
        return time.perf_counter() - began


@contextlib.contextmanager
def bare_cluster(topology: Topology, directory: Path) -> Iterator[BareCluster]:
    """A cluster that does not outlive the block."""
    cluster = BareCluster(topology, directory)
    try:
        yield cluster
    finally:
        cluster.discard()
        shutil.rmtree(directory)


def wait_for(what: str, holds: Callable[[], bool]) -> None:
    """Look every millisecond. Raises CannotMeasure after a minute."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            raise CannotMeasure(f"still not so after {PATIENCE_S:g} s: {what}")
        time.sleep(POLL_S)


def wait_healthy(node: NodePlan) -> None:
    """Wait until a member answers a linearizable read."""
    wait_for(f"{node.name} is healthy (see {node.log})", lambda: is_healthy(node.metrics_port))


def is_healthy(port: int) -> bool:
    """Whether the member with this plain HTTP port answers a linearizable read."""
    return b'"health":"true"' in _ask(port, "/health")


def is_leader(port: int) -> bool:
    """Whether the member with this plain HTTP port leads."""
    return b"\netcd_server_is_leader 1\n" in _ask(port, "/metrics")


def _ask(port: int, target: str) -> bytes:
    """What a member answers; nothing when it does not in time."""
    answer = b""
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), ANSWER_S) as connection:
        connection.sendall(f"GET {target} HTTP/1.0\r\n\r\n".encode())
        while data := connection.recv(65536):
            answer += data
    return answer


def _log(node: NodePlan) -> bytes:
    return Path(node.log).read_bytes()
