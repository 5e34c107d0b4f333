"""The lab under attack: what an attack can do to it, and how it is taken up again."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final

import psutil

from etcdlab.errors import EtcdlabError, NotRunningError
from etcdlab.lab import Lab
from etcdlab.model.event import EventKind
from etcdlab.model.plan import NodePlan, Plan
from etcdlab.model.status import ClusterVerdict, LabStatus
from etcdlab.model.topology import EtcdTable, NetworkTable, Profile, RestartTable, Topology
from etcdlab.model.units import Duration
from etcdlab.prepare import config
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.prepare.process import ProcessIdentity, identify, is_alive, send_signal
from etcdlab.prepare.title import lab_of
from torturing.chronicle import Chronicle
from torturing.tally import Loss, Tally
from torturing.verbs import Running, Verbs
from torturing.writer import Writer

LAB: Final = "torture"
ONE_MEMBER: Final = ("--nodes", "1", "--profile", "fast", "--json")
"""What makes another lab, beside it, a small one."""
PATIENCE_S: Final = 30.0
POLL_S: Final = 0.002


class Field:
    """One lab of three with its client. `changed` are the members that a strike may leave as other processes.

    `is_fresh` says that the strike ended the lab on purpose: nothing was served meanwhile, and counts begin anew.
    """

    def __init__(self, home: Path, profile: Profile, tally: Tally, *, faults: bool = False) -> None:
        self.directory: Final = LabDirectory(home / LAB)
        self.lab: Final = Lab(self.directory)
        self.verbs: Final = Verbs(home, tally)
        self.tally: Final = tally
        self.changed: set[str] = set()
        self.is_fresh = False
        topology = Topology(
            name=LAB,
            etcd=EtcdTable(profile=profile),
            network=NetworkTable(faults=faults),
            # The daemon dies more often than any lab's budget of restarts allows for.
            restart=RestartTable(healthy_after=Duration(0.1), budget=10**6),
        )
        file = home / "torture.toml"
        file.write_text(config.dump(topology))
        created = self.verbs.run("up", file, "--json")
        file.unlink()
        if created.status:
            raise RuntimeError(f"there is no lab to attack: {created.errors}")
        self.plan: Final[Plan] = self.directory.load_plan()
        self.names: Final = tuple(node.name for node in self.plan.nodes)
        self.chronicle: Final = Chronicle(self.directory.events, tally)
        self.writer: Final = Writer(self.plan, tally)
        self.status = created.lab
        self._daemon = self._find_daemon()

    # What is there

    def members(self) -> dict[str, ProcessIdentity]:
        """The members' processes, found by their data directories; one that runs twice is lost."""
        found: dict[str, ProcessIdentity] = {}
        for process in psutil.process_iter(["cmdline"]):
            name = _member(process.info["cmdline"] or [], self.plan.nodes)
            identity = identify(process.pid) if name else None
            if name is None or identity is None:
                continue
            if name in found:
                self.tally.lost(Loss.DUPLICATE, f"{name} runs as {found[name].pid} and as {identity.pid}")
            found[name] = identity
        return found

    def left_of(self, names: Collection[str]) -> list[str]:
        """The processes and directories of other labs, by their names."""
        places = [self.directory.path.with_name(name) for name in names]
        processes = [
            str(process)
            for process in psutil.process_iter(["cmdline"])
            if any(f"{place}/" in f"{argument}/" for argument in process.info["cmdline"] or () for place in places)
        ]
        return processes + [str(place) for place in places if place.exists()]

    @property
    def daemon(self) -> ProcessIdentity:
        """The daemon. It was not killed."""
        assert self._daemon is not None
        return self._daemon

    def _find_daemon(self) -> ProcessIdentity | None:
        for process in psutil.process_iter(["cmdline"]):
            found = lab_of(process.info["cmdline"] or [])
            if found is not None and found.path == self.directory.path:
                return identify(process.pid)
        return None

    def has_daemon(self) -> bool:
        """Whether the daemon that took the lab up still runs."""
        return self._daemon is not None and is_alive(self._daemon)

    # What an attack can do

    def kill_daemon(self) -> None:
        """SIGKILL to the lab's daemon."""
        if self._daemon is not None:
            self._kill(self._daemon)
        self._daemon = None

    def kill_newborn(self, up: Running, after_s: float, *, from_lock: bool) -> None:
        """SIGKILL to the daemon that this `up` begins: so long after it began, or after it was given the lab's lock."""
        newborn = self._newborn(up, has_lock=False)
        if newborn is not None and from_lock:
            newborn = self._newborn(up, has_lock=True)
        if newborn is not None:
            time.sleep(after_s)
            self._kill(newborn)

    def kill_member(self, name: str) -> None:
        """SIGKILL to a member."""
        self.changed.add(name)
        if (identity := self.members().get(name)) is not None:
            send_signal(identity, signal.SIGKILL)

    @contextlib.contextmanager
    def meanwhile(self, act: Callable[[], object]) -> Iterator[None]:
        """Ask something of the lab while the block runs. That may fail since the daemon is gone, for nothing else."""

        def run() -> None:
            try:
                act()
            except NotRunningError:
                pass
            except EtcdlabError as error:
                self.tally.lost(Loss.WORD, f"{type(error).__name__}: {error}")

        thread = threading.Thread(target=run, name="verb")
        thread.start()
        yield
        thread.join()

    @contextlib.contextmanager
    def down(self) -> Iterator[None]:
        """The lab is down when the block begins."""
        with self.writer.paused():
            self.run_down()
            yield

    def run_down(self) -> None:
        """`etcdlab down`, with or without a daemon. While the writer is paused."""
        self.require_done(self.start("down"))
        self.was_ended()

    def was_ended(self) -> None:
        """The lab was asked to end: no process may be left."""
        self.is_fresh = True
        self.changed.update(self.names)
        for name, identity in self.members().items():
            self.tally.lost(Loss.ORPHAN, f"{name} runs as {identity.pid} after `down`")

    def start(self, verb: str, *words: str) -> Running:
        """Start a verb on this lab."""
        return self.verbs.start(verb, "--lab", LAB, *words)

    def require_done(self, verb: Running) -> None:
        """Wait for a verb that is to succeed."""
        done = verb.wait()
        if done.status:
            self.tally.lost(Loss.WORD, f"`{verb}` ended with {done.status}: {done.errors}")

    def start_up(self) -> Running:
        """Start `etcdlab up`."""
        return self.verbs.start("up", "--name", LAB, "--json")

    def take_up(self) -> LabStatus | None:
        """`etcdlab up`, and what must be so before and after it. The lab's status; None when it did not come up."""
        is_dead = not self.directory.is_running()
        found = self.members()
        kept = {name: identity for name, identity in found.items() if name not in self.changed}
        if is_dead:
            self._check_dormant(kept)
        self.chronicle.news()
        done = self.start_up().wait()
        self._daemon = self._find_daemon()
        if done.status:
            self.tally.lost(Loss.RECOVERY, f"`up` ended with {done.status}: {done.errors}")
            return None
        adopted = {
            event.node: event.detail["pid"] for event in self.chronicle.news() if event.kind is EventKind.ADOPTED
        }
        after = self.members()
        for name, identity in kept.items():
            if is_dead and adopted.get(name) != identity.pid:
                self.tally.lost(Loss.ADOPTION, f"{name} ran as {identity.pid} and was not adopted")
            if after.get(name) != identity:
                self.tally.lost(
                    Loss.RESTART, f"{name} ran as {identity} before `up`, and as {after.get(name)} after it"
                )
        status = done.lab
        pids = {node.name: node.pid for node in status.nodes}
        if status.verdict is not ClusterVerdict.HEALTHY or pids != {name: found.pid for name, found in after.items()}:
            self.tally.lost(Loss.STATUS, f"{after} run, and `up` says {status}")
        return status

    def _check_dormant(self, kept: dict[str, ProcessIdentity]) -> None:
        """Without a daemon `status` says so, and which members run all the same."""
        done = self.verbs.run("status", "--lab", LAB, "--json")
        told = {node.name: node for node in done.lab.nodes} if done.out else {}
        true = all(told[name].pid == identity.pid and "without its daemon" in told[name].problem
                   for name, identity in kept.items()) if told else False  # fmt: skip
        if done.status != ClusterVerdict.STOPPED.exit_status or not true:
            self.tally.lost(Loss.STATUS, f"{kept} run without a daemon, and `status` says {done}")

    def _newborn(self, up: Running, *, has_lock: bool) -> ProcessIdentity | None:
        """The daemon that this `up` begins, as soon as there is one; None when `up` ends without one."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                parent = psutil.Process(up.pid)
                if parent.status() == psutil.STATUS_ZOMBIE:
                    return None
                for child in parent.children():
                    argv = child.cmdline()
                    if lab_of(argv) is not None or (not has_lock and "etcdlab.daemon" in argv):
                        return identify(child.pid)
            except psutil.Error:
                pass
            time.sleep(POLL_S)
        return None

    def _kill(self, daemon: ProcessIdentity) -> None:
        if send_signal(daemon, signal.SIGKILL):
            self.tally.killed()
        while is_alive(daemon):
            time.sleep(POLL_S)


def _member(argv: list[str], nodes: tuple[NodePlan, ...]) -> str | None:
    """Whose process this is; None for any other."""
    for node in nodes:
        if any(argument.removeprefix("--data-dir=") == node.data_dir for argument in argv):
            return node.name
    return None
