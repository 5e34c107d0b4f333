"""Lab: the synchronous handle on one lab that the command line, test suites and scripts share."""

import contextlib
import os
import signal
from typing import Final

from etcdlab import launch
from etcdlab.control.client import Client
from etcdlab.errors import LabStateError, NotRunningError, TimedOutError
from etcdlab.model.lifecycle import NodeState
from etcdlab.model.plan import Plan
from etcdlab.model.status import ClusterVerdict, LabStatus, NodeStatus
from etcdlab.prepare import labdir
from etcdlab.prepare.labdir import LabDirectory

STATUS_TIMEOUT_S: Final = 10.0
STOP_TIMEOUT_S: Final = 60.0


class Lab:
    """One lab. Make it with `up` or `attach`."""

    def __init__(self, directory: LabDirectory) -> None:
        self.directory = directory
        self.name = directory.name

    @classmethod
    def attach(cls, name: str | None = None) -> "Lab":
        """The lab called `name`; else `$ETCDLAB_LAB`, else the only one running. Raises NotRunningError, UsageError."""
        return cls(labdir.choose(name))

    @property
    def plan(self) -> Plan:
        """The plan on disk. Raises NotRunningError when the lab is gone, LabStateError when it cannot be read."""
        return self.directory.load_plan()

    def client(self, *, timeout_s: float | None) -> Client:
        """The control socket's client, each wait bounded by `timeout_s` seconds."""
        return Client(self.plan.socket, timeout_s=timeout_s)

    def is_running(self) -> bool:
        """Whether the lab's daemon is alive."""
        return self.directory.is_running()

    def status(self) -> LabStatus:
        """Measured now; of a lab without a daemon, what its plan and its processes tell."""
        if not self.is_running():
            return self._dormant_status()
        return self.client(timeout_s=STATUS_TIMEOUT_S).status()

    def down(self, *, purge: bool) -> bool:
        """Stop the lab, whether or not its daemon lives, and (`purge`) remove it. False when it was down already.

        Raises TimedOutError when the daemon does not end in time.
        """
        try:
            plan = self.plan
        except LabStateError:
            if not purge:
                raise
            plan = None
        was_up = self.is_running()
        if was_up and plan is not None:
            with contextlib.suppress(NotRunningError):  # it ended by itself meanwhile
                Client(plan.socket, timeout_s=STATUS_TIMEOUT_S).shutdown(purge=purge)
        timeout_s = STOP_TIMEOUT_S
        if not self.directory.wait_released(timeout_s):
            raise TimedOutError(
                f"lab {self.name!r} has not stopped within {timeout_s:g} s",
                hint=f"{self.directory.daemon_log} says what it waits for.",
            )
        was_up |= bool(self._end_orphans(plan, purge=purge))
        if purge and self.directory.path.exists() and (lock := self.directory.acquire()) is not None:
            self.directory.purge(plan)
            os.close(lock)
        return was_up

    def _end_orphans(self, plan: Plan | None, *, purge: bool) -> list[str]:
        """End the members that a dead daemon left."""
        number = signal.SIGKILL if purge else signal.SIGTERM
        return launch.end_members(self.directory, number, timeout_s=plan.timeouts.stop_s if plan else 0.0)

    def _dormant_status(self) -> LabStatus:
        plan = self.plan
        living = launch.living_members(self.directory)
        nodes = tuple(
            NodeStatus(
                name=node.name,
                state=NodeState.RUNNING if node.name in living else NodeState.STOPPED,
                healthy=False,
                paused=False,
                is_leader=False,
                is_learner=node.learner,
                member_id=node.member_id,
                pid=living[node.name].identity.pid if node.name in living else None,
                restarts=0,
                uptime_s=None,
                client_url=node.client_url,
                peer_url=node.peer_url,
                metrics_url=node.metrics_url,
                etcd_version=node.etcd_version,
                problem="runs without its daemon, unsupervised" if node.name in living else "",
            )
            for node in plan.nodes
        )
        return LabStatus(
            lab=plan.lab,
            verdict=ClusterVerdict.STOPPED,
            cluster_id=None,
            is_this_lab=True,
            leader=None,
            nodes=nodes,
        )
