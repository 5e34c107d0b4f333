"""A lab of fake members (tests/fake_etcd.py) under a real daemon."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from etcdlab.etcd import identity
from etcdlab.interpreter import Interpreter
from etcdlab.launch import Daemon, end_members
from etcdlab.model.event import EventKind
from etcdlab.model.plan import NodePlan, Plan
from etcdlab.model.report import OwnerEnd
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.prepare.ports import Ports
from etcdlab.runtime import journal
from tests import fake_etcd
from tests.plans import make_plan


class _EndError(Exception):
    """Makes a Daemon end what it started."""


class FakeLab:
    """Two voters, n1 leading; `n2` holds what n2 does wrong."""

    def __init__(self, home: Path, ports: Ports, *n2: str, stop_s: float = 10.0) -> None:
        plan = make_plan(home, nodes=2, tls=False, lab="fake")
        self.directory = LabDirectory(home / "fake")
        ids = {node.name: identity.member_id(node.peer_url, plan.token) for node in plan.nodes}
        nodes = tuple(msgspec.structs.replace(node, member_id=ids[node.name]) for node in plan.nodes)
        plan = msgspec.structs.replace(plan, nodes=nodes)
        nodes = tuple(_fake(node, plan, ports, n2 if node.name == "n2" else ()) for node in plan.nodes)
        timeouts = msgspec.structs.replace(plan.timeouts, stop_s=stop_s)
        self.plan = msgspec.structs.replace(plan, nodes=nodes, timeouts=timeouts)
        self.directory.save_plan(self.plan)
        for node in nodes:
            Path(node.data_dir).mkdir(parents=True)

    @contextlib.contextmanager
    def daemon(self, *, owner_end: OwnerEnd = OwnerEnd.STAY) -> Iterator[Daemon]:
        """A daemon that has not been told to boot yet. Ends it and its members at the end."""
        lock = self.directory.acquire()
        assert lock is not None
        daemon = Daemon(Interpreter(), self.directory, lock, owner_end=owner_end, is_draft=False)
        os.close(lock)
        with contextlib.suppress(_EndError), daemon:
            yield daemon
            raise _EndError
        daemon._process.kill()  # one that was kept lives on
        daemon.wait()
        end_members(self.directory, signal.SIGKILL, timeout_s=10)
        assert not self.directory.is_running()

    def boot(self, daemon: Daemon, boot_s: float = 30.0):
        status = daemon.boot(boot_s=boot_s, on_event=lambda _: None)
        daemon.keep()
        return status

    def events(self) -> list[tuple[EventKind, str | None]]:
        return [(event.kind, event.node) for event in journal.read(self.directory.events)]

    def purge(self) -> None:
        end_members(self.directory, signal.SIGKILL, timeout_s=10)
        self.directory.purge(self.plan)


def _fake(node: NodePlan, plan: Plan, ports: Ports, more: tuple[str, ...]) -> NodePlan:
    client, metrics = ports.choose(), ports.choose()
    arguments = {
        "--data-dir": node.data_dir,
        "--listen-peer-urls": node.peer_url,
        "--client-port": client,
        "--metrics-port": metrics,
        "--cluster-id": plan.cluster_id,
        "--member-id": node.member_id,
        "--leader-id": plan.nodes[0].member_id,
    }
    flags = [f"{flag}={value}" for flag, value in arguments.items()]
    return msgspec.structs.replace(
        node,
        client_url=f"http://127.0.0.1:{client}",
        metrics_url=f"http://127.0.0.1:{metrics}",
        argv=(sys.executable, "-I", fake_etcd.__file__, *flags, *more),
    )
