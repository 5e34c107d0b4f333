"""A lab at run time, from its boot to its end: what may be asked of it when, and what becomes of it as a whole."""

import contextlib
import signal
import ssl
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import trio

from etcdlab import descriptors
from etcdlab.errors import BootError, CertificateError, LabStateError, QuorumError, TimedOutError
from etcdlab.etcd import identity
from etcdlab.etcd.api import GatewayError
from etcdlab.etcd.damage import damage
from etcdlab.model.certificate import Defect
from etcdlab.model.chaos import KINDS, AnyEntry
from etcdlab.model.disk import Freed, Part, Shortage
from etcdlab.model.event import Event, EventKind
from etcdlab.model.healed import Healed
from etcdlab.model.link import CLIENTS, AnyFault, Link, LinkFault, severed
from etcdlab.model.plan import Plan, TlsPlan
from etcdlab.model.quorum import Voters
from etcdlab.model.reset import ResetOutcome
from etcdlab.model.selection import require_leader
from etcdlab.model.status import ClusterVerdict, LabPhase, LabStatus
from etcdlab.prepare import space
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.prepare.process import ProcessRecord
from etcdlab.runtime import boot, freeing, leadership, repair, reset
from etcdlab.runtime.broadcast import Broadcast
from etcdlab.runtime.certificates import Certificates
from etcdlab.runtime.disks import Disks
from etcdlab.runtime.gateway import NotDoneError
from etcdlab.runtime.health import FAST_POLL_S, add_member
from etcdlab.runtime.http import Unreachable, client_context
from etcdlab.runtime.journal import Journal
from etcdlab.runtime.log_stream import log_stream
from etcdlab.runtime.members import Members
from etcdlab.runtime.network import FaultNetwork
from etcdlab.runtime.refusals import Refusals
from etcdlab.runtime.tail import watch_lines

LOG_BACKLOG: Final = 200
"""Batches of lines that a follower of the logs may fall behind."""

MOVE_S: Final = 5.0
"""Seconds beside two election timeouts that etcd gives a member to take over (etcd 3.5 server/config, ReqTimeout)."""

RECOVERY_S: Final = 3.0
"""Seconds in which a member that does not answer may, before it counts as lost: its fault may just have been healed.
Peers dial each other again within 0.3 s then, and an election takes 1 s in etcd's own profile.
"""

_SERVING_PEERS: Final = b'"serving peer traffic"'
_SERVING_CLIENTS: Final = b'"ready to serve client requests"'


class Cluster:
    """One lab: its members, links, certificates, disks and journal. `run` is its task.

    It implements `control.supervisor.Supervisor`.
    """

    def __init__(self, directory: LabDirectory, plan: Plan, journal: Journal) -> None:
        self._directory = directory
        self._journal = journal
        self._staged = trio.Event()
        self._context = _gateway_context(plan.tls) if plan.tls else None
        self.members = Members(directory, plan, journal, context=self._context, staged=self._staged)
        self.nodes: Final = self.members.nodes
        self._lines = Broadcast[tuple[str, list[bytes]]](LOG_BACKLOG)
        self._network = FaultNetwork(directory, plan, journal) if plan.has_fault_network else None
        self._certificates = Certificates(plan.pki, journal)
        self._disks = Disks(self.nodes, journal)
        self._refusals = Refusals()
        self.shutdown_requested = trio.Event()
        self.purge = False
        self._whole = trio.Lock()  # held by what acts on all members as one: boot, reset, the end
        self._reset: trio.CancelScope | None = None
        self._phase = LabPhase.STARTING

    @property
    def plan(self) -> Plan:
        """The plan as it is now."""
        return self.members.plan

    # Tasks

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Supervise the members for ever. Started once every member has its task and its log is watched."""
        if self._directory.rebuilding.exists():
            await reset.end_left(self.plan.nodes)
            await self._discard_data()
        async with trio.open_nursery() as nursery:
            logs = {node.name: Path(node.log) for node in self.plan.nodes}
            watch = partial(watch_lines, size=self.plan.log_size, count=self.plan.log_count)
            await nursery.start(watch, logs, self._on_lines)
            await nursery.start(self.members.run)
            nursery.start_soon(self._certificates.run)
            nursery.start_soon(self._disks.run)
            if self._network is not None:
                nursery.start_soon(self._network.run)
            task_status.started()

    def _on_lines(self, name: str, lines: list[bytes]) -> None:
        for line in lines:
            if _SERVING_PEERS in line:
                self.nodes[name].serving_peers.set()
            elif _SERVING_CLIENTS in line:
                self.nodes[name].serving_clients.set()
            else:
                self.members.watch.on_line(line)
                self._refusals.on_line(name, line)
        self._lines.publish((name, lines))

    # Boot and shutdown

    async def boot(self, *, boot_s: float) -> LabStatus:
        """Start all members and wait until the lab is ready. Raises BootError, or TimedOutError after `boot_s`."""
        try:
            with trio.fail_after(boot_s):
                async with self._whole:
                    status = await self._boot()
        except trio.TooSlowError as error:
            raise boot.boot_timeout(self.nodes, boot_s) from error
        self.members.watch.begin()
        self._journal.emit(EventKind.LAB_READY, leader=status.leader, cluster_id=status.cluster_id)
        return msgspec.structs.replace(status, phase=LabPhase.UP)

    def keep(self) -> None:
        """Who had it booted wants it: from now on it is up, and another `up` that waits for it can report it."""
        if self._phase is LabPhase.STARTING:
            self._phase = LabPhase.UP

    async def _boot(self) -> LabStatus:
        if self._network is not None:
            await self._network.wait_started()
        hurt = self._certificates.defects or self._disks.shortages
        if hurt and not any(map(ProcessRecord.of_living, self._directories())):
            # Left by a daemon that died: with them, members that begin do not find together.
            await self._certificates.heal()
            self._disks.heal(self.nodes)
        members = [node for node in self.nodes.values() if node.plan.member_id is not None]
        newcomers = [node for node in self.nodes.values() if node.plan.member_id is None]
        await boot.start_staged(members, stage_s=self.plan.timeouts.stage_s)
        self._staged.set()
        faults = self._network.faults if self._network else ()
        intact = tuple(node.name for node in self.plan.voters if node.name not in self._disks.full)
        has_quorum = Voters(count=len(self.plan.voters), serving=intact, faults=faults).have_quorum
        # Without a quorum nobody becomes healthy.
        excused = {*severed(faults), *self._disks.full} if has_quorum else set(self.nodes)
        await boot.wait_running([node for node in members if node.name not in excused])
        for node in newcomers:
            client = self.nodes[self.plan.voters[0].name].client
            known = [member.plan.member_id for member in self.nodes.values() if member.plan.member_id is not None]
            try:
                member_id = await add_member(client, node.plan.peer_url, learner=True, known=known)
            except (Unreachable, GatewayError) as error:
                raise BootError(
                    f"learner {node.name} could not be added: {error}",
                    hint="An etcd cluster takes one learner at a time unless `--max-learners` allows more.",
                ) from error
            self.members.learn_id(node, member_id)
            node.start()
            await boot.wait_running([node])
        status = await boot.wait_agreed(self.status, excused=excused, has_quorum=has_quorum)
        self.members.watch.on_status(status)
        self._directory.rebuilding.unlink(missing_ok=True)
        return status

    def _directories(self) -> list[Path]:
        return [Path(node.directory) for node in self.plan.nodes]

    def request_shutdown(self, *, purge: bool) -> None:
        """Have the daemon stop the lab and end; returns at once."""
        self.purge = self.purge or purge
        self._phase = LabPhase.STOPPING
        self.shutdown_requested.set()

    async def stop_all(self, *, at_once: bool, spare_adopted: bool = False) -> None:
        """Stop all members, or all but adopted ones: with SIGKILL if `at_once`, else as their bound has it."""
        self._phase = LabPhase.STOPPING  # also where nobody asked for it: a boot failed
        if self._reset is not None:
            self._reset.cancel()
        async with self._whole:
            self.members.watch.end()
            self.members.holds.drop(self.nodes)
            grace_s = 0.0 if at_once else None
            leaving = [node for node in self.nodes.values() if not (spare_adopted and node.is_adopted)]
            await self.members.end(leaving, grace_s=grace_s)
            if len(leaving) == len(self.nodes):
                await self._certificates.heal()
                self._disks.heal(self.nodes)
                if self._network is not None:
                    await self._network.end()
            self._journal.emit(EventKind.LAB_STOPPED)

    # Verbs

    async def status(self) -> LabStatus:
        """Measure the lab."""
        measured = await self.members.measure()
        return msgspec.structs.replace(
            measured,
            phase=self._phase,
            faults=self._network.faults if self._network else (),
            defects=self._certificates.defects,
            shortages=self._disks.shortages,
            problems=(*measured.problems, *self._problems(measured.verdict)),
        )

    def _problems(self, verdict: ClusterVerdict) -> Iterator[str]:
        """Why a lab may not be whole, and what the supervisor itself lacks."""
        if verdict is not ClusterVerdict.HEALTHY and (refused := self._refusals.problem()):
            yield refused
        places = [self._directory.path, *(Path(node.data_dir) for node in self.plan.nodes)]
        for place in space.full(places):
            yield f"there is no space left on the disk of {place}: free some, and the lab goes on by itself"
        if self._journal.problem:
            yield f"{self._journal.problem}; events are kept until they can be written"
        if not descriptors.can_open():
            yield (
                "the lab's daemon may open no more files: what needs one is tried again; "
                "with `ulimit -n` before `etcdlab up` it may open more"
            )

    async def start(self, names: Sequence[str]) -> None:
        """Start members; also leaves FAILED. Waits until they run, unless too few are up for a quorum."""
        self._require_no_end()
        self._require_no_reset()
        await self.members.start(names)

    async def stop(self, names: Sequence[str], *, force: bool, for_s: float | None = None) -> None:
        """Stop members, for so many seconds or until they are started. Raises QuorumError unless `force`."""
        self._require_no_reset()
        await self._require_quorum("stopping", names, force=force)
        await self.members.stop(names, for_s=for_s)

    async def restart(self, names: Sequence[str], *, force: bool) -> None:
        """Stop and start members, one after the other. Raises QuorumError unless `force`."""
        for name in names:
            self._require_no_end()
            self._require_no_reset()
            await self._require_quorum("restarting", [name], force=force)
            await self.members.stop([name])
            await self.start([name])

    async def kill(self, names: Sequence[str], *, signal: signal.Signals, force: bool) -> Sequence[str]:
        """Send members a signal; returns those that got it. Raises QuorumError unless `force`, LabStateError."""
        self._require_no_reset()
        await self._require_quorum(f"sending {signal.name} to", names, force=force)
        return self.members.kill(names, signal)

    async def pause(self, names: Sequence[str], *, force: bool, for_s: float | None = None) -> Sequence[str]:
        """Freeze members, for so many seconds or until they are resumed; returns those that are.

        Raises QuorumError unless `force`, LabStateError.
        """
        self._require_no_reset()
        await self._require_quorum("pausing", names, force=force)
        return self.members.pause(names, for_s=for_s)

    async def resume(self, names: Sequence[str]) -> None:
        """Let paused members go on."""
        self._require_no_reset()
        self.members.resume(names)

    async def move_leader(self, name: str) -> None:
        """Have a member lead. Raises QuorumError when nobody leads now, LabStateError when it cannot."""
        self._require_no_end()
        self._require_no_reset()
        status = await self.status()
        leader = require_leader(status)
        if leader != name:
            target = next(node for node in status.nodes if node.name == name)
            async with self.nodes[leader].another_connection() as connection:
                await leadership.move(connection, target, bound_s=MOVE_S + 2 * self.plan.election_timeout_s)
            self.members.watch.wake()

    def faults(self) -> tuple[LinkFault, ...]:
        """What is on the links. Raises LabStateError without a fault network."""
        return self._require_network(()).faults

    async def inject(self, links: Collection[Link], fault: AnyFault, *, for_s: float | None, force: bool) -> None:
        """Put a fault on links. Raises LabStateError without a fault network, QuorumError unless `force`."""
        network = self._require_network(links)
        self._require_no_reset()
        if not force:
            await self._require_kept(lambda voters: voters.require_with(fault, links))
        await network.inject(links, fault, for_s=for_s)
        self.members.watch.wake()

    async def heal(self, links: Collection[Link] | None, kinds: Collection[str] | None) -> None:
        """Take faults away, all or those of some links and kinds. Raises LabStateError without a fault network."""
        await self._require_network(links or ()).heal(links, kinds)
        self.members.watch.wake()

    async def repair(self, name: str) -> None:
        """Make a member anew whose data is lost or damaged: remove it from the cluster, add it, start it empty.

        Raises LabStateError for one that serves, or where the others are no quorum, TimedOutError after the boot's
        bound.
        """
        self._require_no_end()
        self._require_no_reset()
        node, boot_s = self.nodes[name], self.plan.timeouts.boot_s
        helper = self.nodes[repair.choose_helper(name, await self.status())]
        await self.members.stop([name])
        try:
            with trio.fail_after(boot_s):
                async with helper.another_connection() as connection:
                    joining = await repair.replace_member(node.plan, connection)
                await trio.to_thread.run_sync(reset.wipe, [node.plan])
                usual = node.plan
                self.members.learn_id(node, joining.member_id)
                node.replace_plan(joining)
                node.start()
                try:
                    await boot.wait_running([node])
                finally:
                    node.replace_plan(msgspec.structs.replace(usual, member_id=joining.member_id))
        except trio.TooSlowError as error:
            raise boot.boot_timeout(self.nodes, boot_s) from error
        self._journal.emit(EventKind.REPAIRED, name, member_id=joining.member_id)
        self.members.watch.wake()

    async def damage(self, name: str, part: Part) -> None:
        """Damage the data of a member that is down. Raises LabStateError."""
        self._require_no_reset()
        node = self.nodes[name]
        if node.state.alive:
            raise LabStateError(
                f"{name} is {node.state.value}, and damage is for one that is not",
                hint=f"`etcdlab stop {name}` stops it.",
            )
        try:
            path = await trio.to_thread.run_sync(damage, Path(node.plan.data_dir), part)
        except OSError as error:
            raise LabStateError(f"the data of {name} cannot be damaged: {error}") from error
        self._journal.emit(EventKind.DATA_DAMAGED, name, part=part.value, path=str(path))

    async def fill_disks(self, names: Sequence[str], *, force: bool, for_s: float | None = None) -> None:
        """Have members' disks full, for so many seconds or until they are healed.

        Raises QuorumError unless `force`, LabStateError where a disk cannot be full.
        """
        self._require_no_end()
        self._require_no_reset()
        await self._require_quorum("full disks of", names, force=force)
        self._disks.begin(names, quota=None, for_s=for_s)

    async def limit_databases(self, names: Sequence[str], quota: int, *, force: bool) -> None:
        """Restart members with another quota, which is theirs until it is healed. Raises QuorumError unless `force`."""
        for name in names:
            self._require_no_end()
            self._require_no_reset()
            await self._require_quorum("restarting", [name], force=force)
            self._disks.begin([name], quota=quota, for_s=None)
            await self._restart_alive(name)

    async def heal_disks(self, names: Collection[str] | None) -> tuple[Shortage, ...]:
        """Have disks as they were, these or (None) all: there is space, and who had another quota is restarted.

        What such a member raised NOSPACE for is no more, so that is disarmed.
        """
        healed = self._disks.heal(self.nodes if names is None else names)
        limited = [shortage.node for shortage in healed if shortage.quota is not None]
        for name in limited:
            await self._restart_alive(name)
        if limited:
            # There may be no quorum; `status` tells of an alarm that is left.
            with contextlib.suppress(NotDoneError), trio.move_on_after(self.plan.timeouts.boot_s):
                await freeing.disarm(self.members.serving(), {self.nodes[name].plan.member_id for name in limited})
        self.members.watch.wake()
        return healed

    async def free_space(self) -> Freed:
        """Forget the history of keys, defragment each voting member, and disarm NOSPACE.

        Raises LabStateError, TimedOutError after the boot's bound.
        """
        self._require_no_end()
        self._require_no_reset()
        boot_s = self.plan.timeouts.boot_s
        try:
            with trio.fail_after(boot_s):
                freed = await freeing.free(self.members.serving())
        except trio.TooSlowError as error:
            raise TimedOutError(
                f"space was not made within {boot_s:g} s", hint="`etcdlab status` shows who does not answer."
            ) from error
        except NotDoneError as error:
            raise LabStateError(
                f"space could not be made: {error}",
                hint="With auth on, etcd wants root for this: `etcdlab ctl -- --user root compact REVISION`, `ctl "
                "defrag` for each member, `ctl alarm disarm`.",
            ) from error
        self.members.watch.wake()
        return freed

    async def _restart_alive(self, name: str) -> None:
        if self.nodes[name].state.alive:
            await self.members.stop([name])
            await self.start([name])

    async def heal_all(self) -> Healed:
        """Undo all that was done on purpose: to links, leaves, disks, and members that are stopped, failed or paused.

        Raises CertificateError, TimedOutError when a member does not run in time.
        """
        self._require_no_end()
        self._require_no_reset()
        faults = self._network.faults if self._network else ()
        defects = self._certificates.defects
        if self._network is not None:
            await self._network.heal()
        await self._certificates.heal()
        paused = tuple(name for name, node in self.nodes.items() if node.paused)
        await self.resume(paused)
        shortages = await self.heal_disks(None)  # who is restarted for it waits for a quorum
        down = tuple(name for name, node in self.nodes.items() if not node.state.alive)
        await self.start(down)
        return Healed(faults=faults, defects=defects, shortages=shortages, resumed=paused, started=down)

    async def renew(self, stems: Collection[str]) -> None:
        """Replace leaves by ones that are valid from now on. Raises LabStateError, CertificateError."""
        self._require_no_end()
        await self._certificates.renew(stems)

    async def rotate_authority(self, *, force: bool) -> None:
        """Have another CA in place of the lab's, in two phases of rolling restarts: no member distrusts another.

        First all trust both, then all show leaves of the new one, then all trust that one alone. Begun again, it goes
        on from wherever it was. Raises LabStateError without a CA of its own, QuorumError unless `force`.
        """
        self._require_no_end()
        self._require_no_reset()
        names = list(self.nodes)
        for name in names:
            await self._require_quorum("restarting", [name], force=force)
        await self._certificates.heal()
        await self._certificates.add_authority()
        self._reload_context()
        await self._restart_healthy(names, force=force)
        assert self.plan.pki is not None
        await self._certificates.renew([leaf.stem for leaf in self.plan.pki.certificates])
        self._reload_context()
        await self._certificates.drop_authorities()
        await self._restart_healthy(names, force=force)
        self._journal.emit(EventKind.AUTHORITY_ROTATED)

    async def _restart_healthy(self, names: Sequence[str], *, force: bool) -> None:
        """One after the other, each when all are healthy again."""
        for name in names:
            await self.restart([name], force=force)
            with trio.move_on_after(self.plan.timeouts.boot_s):
                while not all(node.healthy for node in (await self.status()).nodes):  # noqa: ASYNC110 - nobody tells
                    await trio.sleep(FAST_POLL_S)

    def _reload_context(self) -> None:
        """Show and trust what is in the files now, on connections to come."""
        if self.plan.tls is not None and self._context is not None:
            self._context.load_verify_locations(self.plan.tls.ca)
            self._context.load_cert_chain(self.plan.tls.gateway.certificate, self.plan.tls.gateway.private_key)

    async def spoil(self, stems: Collection[str], defect: Defect, *, for_s: float | None) -> None:
        """Give leaves a defect, for so many seconds or until healed. Raises LabStateError, CertificateError."""
        self._require_no_end()
        self._require_no_reset()
        await self._certificates.inject(stems, defect, for_s=for_s)

    async def heal_leaves(self, stems: Collection[str] | None) -> None:
        """Have leaves as they were, these or (None) all. Raises CertificateError."""
        await self._certificates.heal(stems)

    def tell_chaos(self, entry: AnyEntry) -> None:
        """Have the journal tell of a run of a scenario."""
        self._journal.emit(KINDS[type(entry)], **msgspec.structs.asdict(entry))

    async def reset(self) -> ResetOutcome:
        """Make the lab pristine: what was stopped, paused or failed runs, and there is nothing that was not at boot.

        No key, lease, user, role, alarm or foreign member is left, nor the history of keys. Only the revision goes on
        counting, unless the lab had to be rebuilt: what cannot be undone in place ends all members and boots them anew.
        Meanwhile the verbs on members are refused. Raises TimedOutError after the boot's bound, BootError if a member
        does not even start anew, LabStateError if the lab is stopped meanwhile.
        """
        boot_s = self.plan.timeouts.boot_s
        with trio.move_on_after(boot_s) as scope:
            async with self._whole:
                self._require_no_end()
                self._reset = scope
                try:
                    return await self._make_pristine()
                finally:
                    self._reset = None
        self._require_no_end()
        raise boot.boot_timeout(self.nodes, boot_s)

    async def _make_pristine(self) -> ResetOutcome:
        self.members.holds.drop(self.nodes)
        await self._certificates.heal()
        for shortage in self._disks.heal(self.nodes):
            if shortage.quota is not None:
                await self.members.stop([shortage.node])  # it begins anew with all that are down
        if self._network is not None:
            await self._network.heal()
        try:
            await reset.undo(self.plan, self.nodes)
            outcome = ResetOutcome(rebuilt=False)
            self._journal.emit(EventKind.LAB_RESET, rebuilt=False)
        except NotDoneError as error:
            await self._rebuild()
            outcome = ResetOutcome(rebuilt=True, why=str(error))
            self._journal.emit(EventKind.LAB_RESET, rebuilt=True, why=outcome.why)
        self.members.watch.wake()
        return outcome

    async def _rebuild(self) -> None:
        """End all members, discard their data, and boot. Ports, certificates and ids stay, but for learners' ids."""
        self.members.watch.end()
        try:
            with contextlib.suppress(OSError):
                self._directory.rebuilding.touch(mode=0o600)
            self.members.kill_all()
            for node in self.nodes.values():
                await node.wait_down()
            await self._discard_data()
            await self._boot()
        finally:
            self._directory.rebuilding.unlink(missing_ok=True)
            self.members.watch.begin()

    async def _discard_data(self) -> None:
        """Discard what the members keep, all of it or, if this daemon is killed before it has booted, in the next one.

        A member without data among members with theirs is refused by them, for good.
        """
        await trio.to_thread.run_sync(reset.wipe, self.plan.nodes)
        self.members.watch.end()  # again: it may have read last words of members of before
        for node in self.nodes.values():
            first_id = None if node.plan.learner else identity.member_id(node.plan.peer_url, self.plan.token)
            if node.plan.member_id != first_id:  # a learner's, or that of a member that was repaired
                self.members.learn_id(node, first_id)

    def events(self, *, since: int, follow: bool) -> AsyncGenerator[Event, None]:
        """The journal after `since`, then (`follow`) what comes."""
        return self._journal.events(since=since, follow=follow)

    async def logs(self, names: Sequence[str], *, follow: bool, lines: int) -> AsyncGenerator[bytes, None]:
        """The last `lines` log lines of each member, merged by time, as LogLines in NDJSON; then what comes."""
        paths = {name: Path(self.nodes[name].plan.log) for name in names}
        return log_stream(paths, self._lines, follow=follow, lines=lines)

    def _require_no_end(self) -> None:
        """Raise LabStateError once the lab is being stopped: what is started then would be left alone."""
        if self._phase is LabPhase.STOPPING:
            raise LabStateError("the lab is being stopped", hint="`etcdlab up` starts it again when that is done.")

    def _require_no_reset(self) -> None:
        if self._reset is not None:
            raise LabStateError("the lab is being reset", hint="Try again when that is done.")

    async def _require_quorum(self, action: str, names: Collection[str], *, force: bool) -> None:
        """Raise QuorumError, unless `force`, where the loss of these members would cost the quorum."""
        if not force:
            await self._require_kept(lambda voters: voters.require_without(action, names))

    async def _require_kept(self, require: Callable[[Voters], None]) -> None:
        """Raise what `require` raises of the voters as they are.

        One that does not answer gets RECOVERY_S to do so.
        """
        require(self._voters(()))
        deadline = trio.current_time() + RECOVERY_S
        while True:
            try:
                require(self._voters(self.members.watch.unhealthy))
            except QuorumError:
                if trio.current_time() >= deadline:
                    raise
                await trio.sleep(FAST_POLL_S)
                self._require_no_end()
                self._require_no_reset()
            else:
                return

    def _voters(self, unhealthy: Collection[str]) -> Voters:
        lost = {*unhealthy, *self._disks.full}
        serving = tuple(node.name for node in self.members.serving() if node.name not in lost)
        faults = self._network.faults if self._network else ()
        return Voters(count=len(self.plan.voters), serving=serving, faults=faults)

    def _require_network(self, links: Collection[Link]) -> FaultNetwork:
        if self._network is None:
            raise LabStateError(
                f"the links of lab {self.plan.lab!r} can have no faults",
                hint="`etcdlab up --faults`, or in a topology `[network] faults = true`, makes a lab whose links can.",
            )
        if not self.plan.has_client_links and any(CLIENTS in (link.source, link.target) for link in links):
            raise LabStateError(
                f"the links of lab {self.plan.lab!r} with clients can have no faults",
                hint="`[network] clients = true` in a topology, the default, makes a lab whose links can.",
            )
        return self._network


def _gateway_context(tls: TlsPlan) -> ssl.SSLContext:
    """What the supervisor shows to the members. Raises CertificateError."""
    identity = tls.gateway
    try:
        return client_context(tls.ca, identity.certificate, identity.private_key)
    except OSError as error:
        raise CertificateError(
            f"the supervisor cannot use its certificate {identity.certificate}, its key or {tls.ca}: {error}",
            hint="`etcdlab pki show --lab NAME` tells what is wrong with the lab's certificates.",
        ) from error
