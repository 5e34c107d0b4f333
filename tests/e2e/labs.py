"""Real labs for tests: started as `etcdlab up` does, and gone without a trace afterwards."""

import os
import queue
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from etcdlab.lab import Lab
from etcdlab.launch import living_members
from etcdlab.model.event import Event, EventKind
from etcdlab.model.status import LabStatus
from etcdlab.model.topology import Topology
from etcdlab.prepare.process import is_alive
from etcdlab.up import Request, Watcher, up

WATCHER = Watcher(on_event=lambda _: None, on_install=lambda _: None)
EVENT_TIMEOUT_S = 30.0


@contextmanager
def running(topology: Topology, *, base: Path | None = None) -> Iterator[tuple[Lab, LabStatus]]:
    """A lab that is ready, in ETCDLAB_HOME, with the status that says so."""
    started = up(Request(topology=topology, base=base or Path.cwd(), explicit=True), WATCHER)
    assert started.daemon is not None
    lab = Lab(started.directory)
    members = living_members(started.directory)
    try:
        yield lab, started.status
    finally:
        members |= living_members(started.directory)
        if started.directory.exists():  # unless the test removed it
            lab.down(purge=True)
        started.daemon.wait()
    assert not [name for name, record in members.items() if is_alive(record.identity)]
    assert not started.directory.path.exists()


@contextmanager
def shared(topology: Topology, paths: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab for the tests of a module, which `enter`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ETCDLAB_HOME", str(paths.mktemp("h")))
        with running(topology) as (lab, _):
            yield lab


def enter(lab: Lab, patch: pytest.MonkeyPatch) -> None:
    """Have verbs of this test find the lab."""
    patch.setenv("ETCDLAB_HOME", str(lab.directory.path.parent))
    patch.delenv("ETCDLAB_LAB", raising=False)


def wait_event(lab: Lab, kind: EventKind, node: str, *, after: int) -> Event:
    """Wait for an event of a member after that with number `after`."""
    found: queue.Queue[Event] = queue.Queue()

    def follow() -> None:
        for event in lab.client(timeout_s=EVENT_TIMEOUT_S).events(since=after, follow=True):
            if (event.kind, event.node) == (kind, node):
                found.put(event)
                return

    threading.Thread(target=follow, daemon=True).start()
    return found.get(timeout=EVENT_TIMEOUT_S)


def etcdctl(lab: Lab, *arguments: str, identity: bool = True, ca: bool = True) -> "subprocess.CompletedProcess[str]":
    """Run the lab's etcdctl against all its voters, as its default client or as a stranger."""
    plan = lab.plan
    assert plan.etcdctl is not None
    flags = ["--endpoints", ",".join(plan.endpoints)]
    if plan.tls and ca:
        flags += ["--cacert", plan.tls.ca]
    if plan.tls and identity:
        flags += ["--cert", plan.tls.client.certificate, "--key", plan.tls.client.private_key]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCDCTL_")}
    return subprocess.run(
        [plan.etcdctl, *flags, *arguments],
        env=environment | {"ETCDCTL_API": "3"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
