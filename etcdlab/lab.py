"""Lab: the synchronous handle on one lab that the command line, test suites and scripts share."""

import contextlib
import errno
import os
import re
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from etcdlab import dormant, down, history
from etcdlab.certificates import Certificates
from etcdlab.control.client import Client
from etcdlab.errors import TimedOutError, ToolError
from etcdlab.etcd.environment import clean
from etcdlab.etcd.log import Record
from etcdlab.etcd.tools import tool
from etcdlab.export.env import choose_identity, variables
from etcdlab.history import Mark
from etcdlab.interpreter import Interpreter
from etcdlab.links import Links
from etcdlab.member import Member
from etcdlab.model.disk import Freed
from etcdlab.model.event import Event, EventKind
from etcdlab.model.healed import Healed
from etcdlab.model.plan import IdentityPlan, Plan
from etcdlab.model.reset import ResetOutcome
from etcdlab.model.selection import Word, require_leader
from etcdlab.model.status import ClusterVerdict, LabStatus, NodeStatus
from etcdlab.model.timeline import Timeline, timeline
from etcdlab.prepare import labdir
from etcdlab.prepare.labdir import LabDirectory

if TYPE_CHECKING:  # what only `up` and `topology` need is imported there: who attaches does not pay for it
    from etcdlab.chaos import Chaos
    from etcdlab.launch import Daemon
    from etcdlab.model.scenario import Scenario
    from etcdlab.model.topology import Profile, Topology
    from etcdlab.probe import Probe

STATUS_TIMEOUT_S: Final = 10.0
ACTION_TIMEOUT_S: Final = 120.0
"""Seconds. The daemon has its own bounds, the topology's; this is for a daemon that hangs."""
POLL_S: Final = 0.02
"""Seconds between two measurements of what `wait_until` waits for: not everything that changes is an event."""


class Lab(Links):
    """One lab. Make it with `up`, or `attach` to one that there is.

    A context manager: a lab that `up` made is gone at the end of the block, one that was attached to is left.
    """

    def __init__(self, directory: LabDirectory, daemon: "Daemon | None" = None) -> None:
        self.directory = directory
        self.name = directory.name
        self._daemon = daemon

    @classmethod
    def attach(cls, name: str | None = None) -> Self:
        """The lab called `name`; else `$ETCDLAB_LAB`, else the only one running. Raises NotRunningError, UsageError."""
        return cls(labdir.choose(name))

    @classmethod
    def up(
        cls,
        topology: "Topology | str | os.PathLike[str] | None" = None,
        *,
        name: str | None = None,
        nodes: int | None = None,
        profile: "Profile | str | None" = None,
        tls: bool | None = None,
        etcd: str | None = None,
        faults: bool = False,
        timeout: float | None = None,
        keep: bool = False,
        tied: bool = True,
    ) -> Self:
        """Make a lab of this process's own and wait until it is ready.

        `topology` is a file or what `etcdlab.load_topology` gives; the other arguments change it as the flags of
        `etcdlab up` do. Without a name it gets a fresh one. `timeout` is in seconds, by default the topology's.

        The lab is gone when this process ends, however it ends, unless it is not `tied` to it. `keep` leaves one that
        did not come up, for a look at it.

        Raises TopologyError, BinaryError, PortTakenError, CertificateError, BootError, TimedOutError, and LabStateError
        when there is a lab of that name already.
        """
        with Interpreter() as interpreter:  # first of all: what follows imports for 0.1 s
            from etcdlab.model.report import OwnerEnd
            from etcdlab.model.topology import Profile, Topology
            from etcdlab.prepare import config
            from etcdlab.up import Request, Watcher, up

            loaded = config.load(None if topology is None or isinstance(topology, Topology) else Path(topology))
            given = topology if isinstance(topology, Topology) else loaded.topology
            unnamed = name is None and given.name == Topology().name
            changed = config.override(
                given,
                name=f"lab-{secrets.token_hex(4)}" if unnamed else name,
                nodes=nodes,
                profile=Profile(profile) if profile else None,
                tls=tls,
                etcd=etcd,
                faults=faults,
            )
            started = up(
                Request(
                    topology=changed,
                    base=loaded.base,
                    explicit=True,
                    must_be_new=True,
                    boot_s=timeout,
                    keep=keep,
                    owner_end=OwnerEnd.PURGE if tied else OwnerEnd.STAY,
                ),
                Watcher(on_event=lambda _: None, on_install=lambda _: None),
                interpreter,
            )
        return cls(started.directory, started.daemon)

    def __repr__(self) -> str:
        return f"<Lab {self.name}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._daemon is not None:
            self.down(purge=True)

    # What it is

    @property
    def plan(self) -> Plan:
        """The plan on disk. Raises NotRunningError when the lab is gone, LabStateError when it cannot be read."""
        return self.directory.load_plan()

    @property
    def topology(self) -> "Topology":
        """What was asked for, with all defaults."""
        from etcdlab.prepare import config

        return config.load(self.directory.topology).topology

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The client URLs of the voting members."""
        return self.plan.endpoints

    @property
    def ca_cert(self) -> str | None:
        """The file with the CA that signed the members' certificates; None without TLS."""
        tls = self.plan.tls
        return tls.ca if tls else None

    @property
    def client_cert(self) -> str | None:
        """The default client's certificate file; None without TLS."""
        identity = self.identity()
        return identity.certificate if identity else None

    @property
    def client_key(self) -> str | None:
        """The default client's private key file; None without TLS."""
        identity = self.identity()
        return identity.private_key if identity else None

    def identity(self, name: str | None = None) -> IdentityPlan | None:
        """A client identity's files: the default one, or the one of that name. Raises UsageError if there is none."""
        return choose_identity(self.plan, name)

    def env(self, *, identity: str | None = None, member: str | None = None) -> dict[str, str]:
        """etcdctl's variables (ETCDCTL_ENDPOINTS, _CACERT, _CERT, _KEY) for all voting members, or for one."""
        plan = self.plan
        node = plan.select([member])[0] if member else None
        return variables(plan, choose_identity(plan, identity), node=node)

    def kwargs_for(self, client: str, *, identity: str | None = None, member: str | None = None) -> dict[str, Any]:
        """The keyword arguments with which a Python client of etcd connects: `etcd3.client(**lab.kwargs_for("etcd3"))`.

        Raises UsageError for a client that is not known; `etcdlab.export.clients` has those that are.
        """
        from etcdlab.export import clients

        plan = self.plan
        node = plan.select([member])[0] if member else None
        return clients.kwargs_for(
            plan, client, identity=choose_identity(plan, identity) if identity else None, node=node
        )

    @property
    def members(self) -> tuple[Member, ...]:
        """All members, in the plan's order."""
        return tuple(Member(self, node.name) for node in self.plan.nodes)

    def member(self, name: str) -> Member:
        """The member of that name. Raises UnknownMemberError."""
        return Member(self, self.plan.select([name])[0].name)

    # How it is

    def client(self, *, timeout_s: float | None = ACTION_TIMEOUT_S) -> Client:
        """The control socket's client, each wait bounded by `timeout_s` seconds. If need be, see `take_over`."""
        if not self.is_served():
            self.take_over()
        return Client(self.plan.socket, timeout_s=timeout_s)

    def is_running(self) -> bool:
        """Whether the lab's daemon is alive."""
        return self.directory.is_running()

    def is_served(self) -> bool:
        """Whether the lab's daemon can be asked: one that is being started holds the lab before it has its socket."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)
            return self.is_running() and probe.connect_ex(self.plan.socket) not in (errno.ENOENT, errno.ECONNREFUSED)

    def status(self) -> LabStatus:
        """Measured now; of a lab without a daemon, what its plan and its processes tell."""
        if not self.is_running():
            return dormant.status(self.directory)
        return Client(self.plan.socket, timeout_s=STATUS_TIMEOUT_S).status()

    def leader(self) -> Member:
        """The member that leads now. Raises QuorumError when none does."""
        return Member(self, require_leader(self.status()))

    def wait_ready(self, timeout: float = 30) -> LabStatus:
        """Wait until all members are healthy and agree on a leader. Raises TimedOutError after `timeout` seconds."""
        return self.wait_until(
            lambda status: status.verdict is ClusterVerdict.HEALTHY and status.leader is not None, timeout
        )

    def wait_until(self, predicate: Callable[[LabStatus], bool], timeout: float = 30) -> LabStatus:
        """Measure until `predicate` takes the status, and return it. Raises TimedOutError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not predicate(status := self.status()):
            if time.monotonic() > deadline:
                leader = f"leader {status.leader or 'none'}"
                members = ", ".join(f"{node.name} {condition(node)}" for node in status.nodes)
                raise TimedOutError(
                    f"not so within {timeout:g} s: lab {self.name!r} is {status.verdict.value} "
                    f"({'; '.join([leader, members, *status.problems])})",
                    hint=f"`etcdlab logs --lab {self.name}` shows what the members wait for.",
                )
            time.sleep(POLL_S)
        return status

    # What happened

    def mark(self) -> Mark:
        """This moment, to ask later for the events and log lines that came after it."""
        return history.mark(self.directory.events, self._logs())

    def events(self, *, since: Mark | None = None) -> list[Event]:
        """The journal: what happened, all of it or after `since`."""
        return history.events(self.directory.events, since)

    def timeline(self, *, since: "Mark | datetime | None" = None) -> Timeline:
        """What happened against time, from the journal: all of it, or after a mark or (aware) time."""
        now_s, now = time.monotonic(), datetime.now(UTC)
        if isinstance(since, datetime):
            since_s: float | None = now_s - (now - since).total_seconds()
        else:
            since_s = None if since is None else since.at_s
        members = [node.name for node in self.plan.nodes]
        told = history.events(self.directory.events, None)
        return timeline(told, members=members, now_s=now_s, now=now, since_s=since_s)

    def probe(self) -> "Probe":
        """Something that writes inside a `with` block, and tells how long that was not possible."""
        from etcdlab.probe import Probe

        return Probe(self.plan)

    def log_records(self, *, since: Mark | None = None) -> list[tuple[str, Record]]:
        """What the members logged, by time, as (member, record): the newest part of each log, or after `since`."""
        return history.log_records(self._logs(), since)

    def wait_for_event(
        self, kind: EventKind | str, member: str | None = None, *, since: Mark | None = None, timeout: float = 30
    ) -> Event:
        """The first such event (of that member) after `since`, or from now on. Raises TimedOutError."""
        wanted = EventKind(kind)

        def accept(event: Event) -> bool:
            return event.kind is wanted and member in (None, event.node)

        what = f"event {wanted.value!r}" + (f" of {member}" if member else "")
        return history.wait_for_event(self.directory.events, accept, since=since, timeout=timeout, what=what)

    def wait_for_log(
        self, member: str | None, pattern: "str | re.Pattern[str]", *, since: Mark | None = None, timeout: float = 30
    ) -> str:
        """The first line with `pattern` (`re.search`) in that member's log, or any's, after `since` or from now on.

        Raises TimedOutError after `timeout` seconds.
        """
        logs = self._logs() if member is None else {member: self.member(member).log}
        return history.wait_for_line(logs, pattern, since=since, timeout=timeout)

    # What is done to it

    def take_over(self, on_event: Callable[[Event], None] = lambda _: None) -> None:
        """Start a daemon in place of one that died, while members run on: it adopts them and starts those that do not.

        All that needs a daemon does so by itself. `on_event` is told what happens meanwhile. Raises NotRunningError
        when the lab is down, and what `up` raises.
        """
        from etcdlab.model.report import OwnerEnd
        from etcdlab.up import take_over

        owner_end = self._daemon.owner_end if self._daemon is not None else OwnerEnd.STAY
        daemon = take_over(self.directory, owner_end=owner_end, on_event=on_event)
        if self._daemon is not None and daemon is not None:
            self._daemon.wait()
            self._daemon = daemon

    def etcdctl(
        self, *arguments: str, identity: str | None = None, member: str | None = None, timeout: float = 30
    ) -> str:
        """Run the lab's etcdctl against all voting members, or one; what it prints. Raises ToolError, TimedOutError."""
        environment = clean(os.environ) | self.env(identity=identity, member=member)
        command = [str(tool(self.plan, "etcdctl")), *arguments]
        try:
            done = subprocess.run(
                command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise TimedOutError(f"etcdctl {' '.join(arguments)} has not ended within {timeout:g} s") from None
        if done.returncode:
            told = (done.stderr or done.stdout).strip()
            raise ToolError(f"etcdctl {' '.join(arguments)} ended with status {done.returncode}: {told}")
        return done.stdout

    def heal_all(self) -> Healed:
        """Undo all that was done on purpose: to links, certificates and disks, and members stopped or paused.

        Failed members are started, too. Raises TimedOutError when one does not run in time.
        """
        return self.client().heal_all()

    def free_space(self) -> Freed:
        """Make space in the members' databases, and so end the alarm NOSPACE: compact, defragment, disarm.

        Raises LabStateError, TimedOutError when a member does not answer.
        """
        return self.client().free_space()

    @property
    def certificates(self) -> Certificates:
        """Its certificates, to have something wrong with them."""
        return Certificates(self)

    def chaos(
        self, scenario: "Scenario | str | os.PathLike[str] | Mapping[str, Any]", *, seed: int | None = None
    ) -> "Chaos":
        """Something that does a scenario inside a `with` block, beside what is there, and heals the lab at its end.

        `scenario` is a file, or a table with the same keys. Raises ScenarioError; the block's end raises LabStateError
        when the lab is not healthy then.
        """
        from etcdlab.chaos import Chaos
        from etcdlab.prepare.scenario import load

        return Chaos(self, load(scenario), seed=seed)

    def move_leader(self, member: str) -> None:
        """Have a member lead; returns when it does. Raises QuorumError when none leads now, LabStateError."""
        self.client().move_leader(member)

    @contextlib.contextmanager
    def stopped(self, *members: str, force: bool = False) -> Iterator[tuple[str, ...]]:
        """These members are stopped inside the block, and run again after it.

        As everywhere, "leader", "followers", "quorum" and "all" are who is so when the block begins; it is given their
        names.
        """
        try:
            members = self.client().stop(members, force=force)
            yield members
        finally:
            self.client().start(members)

    @contextlib.contextmanager
    def paused(self, *members: str, force: bool = False) -> Iterator[tuple[str, ...]]:
        """These members are frozen inside the block, and healthy again after it."""
        try:
            members = self.client().pause(members, force=force)
            yield members
        finally:
            self.client().resume(members)
        self._wait_healthy(members)

    @contextlib.contextmanager
    def full_disk(self, *members: str, force: bool = False) -> Iterator[tuple[str, ...]]:
        """The disks of these members are full inside the block, and they are healthy again after it."""
        try:
            members = self.client().fill_disks(members, force=force)
            yield members
        finally:
            self.client().heal_disks(members)
            self.client().start(members)
        # One that runs may be about to end of a write that failed before: only an answer shows that it is not.
        self._wait_healthy(members)

    @contextlib.contextmanager
    def without_quorum(self) -> Iterator[None]:
        """As many voting members as it takes are frozen inside the block, the leader last; all are healthy after it."""
        with self.paused(Word.QUORUM.value, force=True):
            yield

    def reset(self) -> ResetOutcome:
        """Make the lab as if it were new: all members up, no keys, leases, users, roles, auth or alarms.

        Only the revision goes on counting, and older ones are compacted. For what cannot be undone cheaply the members
        begin anew with empty data; the outcome says so and why.
        """
        return self.client().reset()

    def down(self, *, purge: bool = False) -> bool:
        """Stop the lab, whether or not its daemon lives, and (`purge`) remove it. False when it was down already.

        Raises TimedOutError when the daemon does not end in time, LabStateError when the lab cannot be removed.
        """
        was_up = down.down(self.directory, purge=purge)
        if self._daemon is not None:
            self._daemon.wait()
        return was_up

    def _wait_healthy(self, members: Sequence[str]) -> None:
        self.wait_until(lambda status: all(node.healthy for node in status.nodes if node.name in members))

    def _logs(self) -> dict[str, Path]:
        return {node.name: Path(node.log) for node in self.plan.nodes}


def condition(node: NodeStatus) -> str:
    """How a member is, in the words of a sentence."""
    if node.paused:
        return "is paused"
    return "is healthy" if node.healthy else f"is {node.state.value}, not healthy"
