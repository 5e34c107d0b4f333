"""A lab from its boot to its end, over scripted processes in virtual time: what is refused when, and how it stops."""

import signal
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from etcdlab.errors import BootError, CertificateError, LabStateError, QuorumError, TimedOutError
from etcdlab.etcd import api
from etcdlab.model.event import EventKind
from etcdlab.model.lifecycle import NodeState
from etcdlab.model.plan import IdentityPlan, TlsPlan
from etcdlab.model.reset import ResetOutcome
from etcdlab.model.status import ClusterVerdict
from etcdlab.model.topology import Topology
from etcdlab.pki import roles, store
from etcdlab.runtime import boot, freeing, reset, watch
from etcdlab.runtime.cluster import RECOVERY_S, _gateway_context
from etcdlab.runtime.gateway import NotDoneError
from etcdlab.runtime.http import Unreachable
from etcdlab.runtime.journal import Journal, read
from tests.damage import cut
from tests.runtime.scripted_lab import STUBBORN, ScriptedLab

pytestmark = pytest.mark.trio


class TestBoot:
    async def test_ends_with_a_healthy_cluster_and_says_so(self, lab, autojump_clock):
        status = await lab.cluster.boot(boot_s=60)
        assert status.verdict is ClusterVerdict.HEALTHY
        assert status.leader == "n1"
        assert lab.kinds()[-1] == (EventKind.LAB_READY, None)

    async def test_out_of_time_names_the_late_member(self, lab, autojump_clock):
        lab.sick.add("n2")
        with pytest.raises(TimedOutError, match=r"not ready within 30 s: n2 is starting"):
            await lab.cluster.boot(boot_s=30)

    async def test_ends_at_once_when_a_member_fails_for_good(self, lab, autojump_clock):
        lab.sick.add("n2")

        async def fail() -> None:
            await trio.sleep(10)
            lab.process("n2").end(1, b"flag provided but not defined: -x\n")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            with pytest.raises(BootError, match="member n2 did not start: flag provided but not defined") as caught:
                await lab.cluster.boot(boot_s=60)
        assert caught.value.log_tail == ("flag provided but not defined: -x",)
        assert "etcdlab plan" in caught.value.hint
        assert trio.current_time() < 11

    @pytest.mark.parametrize("error", [Unreachable("no answer"), api.GatewayError(9, "too many learners")], ids=str)
    async def test_a_refused_learner_is_a_boot_error(self, lab, monkeypatch, autojump_clock, error):
        async def refuse(*args, **kwargs):
            raise error

        monkeypatch.setattr("etcdlab.runtime.cluster.add_member", refuse)
        node = lab.nodes["n3"]
        node.replace_plan(msgspec.structs.replace(node.plan, member_id=None, learner=True))
        with pytest.raises(BootError, match="n3"):
            await lab.cluster.boot(boot_s=60)


class TestAfterADaemonThatWasKilled:
    async def test_a_leader_elected_since_is_told_and_one_that_was_told_is_not(self, ready, autojump_clock):
        told = [event for event in read(ready.directory.events) if event.kind is EventKind.LEADER_CHANGED]
        assert [(event.node, event.detail["term"]) for event in told] == [("n1", 2)]
        for term, count in ((2, 1), (3, 2)):
            ready.term = term
            journal = Journal(ready.directory.events)
            watcher = watch.Watch(list(ready.nodes.values()), journal, probe_s=1, election_timeout_s=1)
            watcher.on_status(await ready.cluster.status())
            journal.close()
            assert [kind for kind, _ in ready.kinds()].count(EventKind.LEADER_CHANGED) == count

    async def test_a_rebuild_is_completed_before_anything_is_started(self, tmp_path, monkeypatch, autojump_clock):
        lab = ScriptedLab(tmp_path)
        lab.patch(monkeypatch)
        lab.journal.emit(EventKind.LEADER_CHANGED, "n1", term=7, member_id="1")
        lab.journal.close()
        lab.begin()
        kept = Path(lab.cluster.plan.nodes[1].data_dir) / "member"
        kept.mkdir(parents=True)
        lab.directory.rebuilding.touch()
        async with trio.open_nursery() as nursery:
            await nursery.start(lab.cluster.run)
            assert not lab.spawned
            assert not kept.exists()
            await lab.cluster.boot(boot_s=60)
            assert not lab.directory.rebuilding.exists()
            nursery.cancel_scope.cancel()
        lab.journal.close()
        assert (EventKind.LEADER_CHANGED, "n1") in lab.kinds()[1:]  # of term 2, which is a new one now


class TestQuorum:
    @pytest.mark.parametrize(
        ("verb", "words"), [("stop", "stopping"), ("pause", "pausing"), ("restart", "restarting"), ("kill", "sending")]
    )
    async def test_what_would_lose_it_is_refused_and_nothing_happens(self, ready, verb, words, autojump_clock):
        more = {"signal": signal.SIGKILL} if verb == "kill" else {}
        await ready.cluster.stop(["n3"], force=False)
        with pytest.raises(QuorumError, match=f"{words}.* n2 would leave 1 of 3 voting members, and a quorum is 2"):
            await getattr(ready.cluster, verb)(["n2"], force=False, **more)
        assert ready.process("n2").signals == []
        await getattr(ready.cluster, verb)(["n2"], force=True, **more)
        assert ready.process("n2").signals or len(ready.spawned) > 3

    async def test_who_is_paused_is_not_counted(self, ready, autojump_clock):
        await ready.cluster.pause(["n3"], force=False)
        with pytest.raises(QuorumError, match="stopping n2 would leave 1 of 3"):
            await ready.cluster.stop(["n2"], force=False)

    async def test_two_at_once_are_counted_together(self, ready, autojump_clock):
        with pytest.raises(QuorumError, match="stopping n1, n2 would leave 1 of 3"):
            await ready.cluster.stop(["n1", "n2"], force=False)

    async def test_one_that_is_lost_already_can_be_stopped_further(self, ready, autojump_clock):
        await ready.cluster.stop(["n2", "n3"], force=True)
        await ready.cluster.stop(["n1"], force=False)

    async def test_who_does_not_answer_is_not_counted(self, ready, autojump_clock):
        ready.sick.add("n3")
        await trio.sleep(60)
        with pytest.raises(QuorumError, match="stopping n2 would leave 1 of 3"):
            await ready.cluster.stop(["n2"], force=False)
        await ready.cluster.stop(["n3"], force=False)  # it costs nothing

    async def test_who_answers_again_in_a_moment_is(self, ready, nursery, autojump_clock):
        """A fault that was healed a moment ago refuses nothing."""
        ready.sick.add("n3")
        await trio.sleep(60)

        async def heal() -> None:
            await trio.sleep(RECOVERY_S / 2)
            ready.sick.clear()

        nursery.start_soon(heal)
        await ready.cluster.stop(["n2"], force=False)
        assert ready.nodes["n2"].state is NodeState.STOPPED

    async def test_who_is_waited_for_holds_up_no_end(self, ready, nursery, autojump_clock):
        ready.sick.add("n3")
        await trio.sleep(60)
        began = trio.current_time()
        nursery.start_soon(partial(ready.cluster.stop_all, at_once=True))
        with pytest.raises(LabStateError, match="being stopped"):
            await ready.cluster.stop(["n2"], force=False)
        assert trio.current_time() - began < RECOVERY_S

    async def test_lost_and_regained_is_journaled(self, ready, autojump_clock):
        await ready.cluster.stop(["n2", "n3"], force=True)
        await trio.sleep(60)
        await ready.cluster.start(["n2", "n3"])
        await trio.sleep(60)
        quorum = [kind for kind, _ in ready.kinds() if "quorum" in kind.value]
        assert quorum == [EventKind.QUORUM_LOST, EventKind.QUORUM_REGAINED]


class TestSpace:
    @pytest.mark.parametrize("act", ["free", "disarm"])
    async def test_members_that_do_not_answer_are_not_waited_for_without_end(
        self, ready, monkeypatch, autojump_clock, act
    ):
        async def hang(*_):
            await trio.sleep_forever()

        monkeypatch.setattr(freeing, act, hang)
        if act == "free":
            with pytest.raises(TimedOutError, match="space was not made within"):
                await ready.cluster.free_space()
        else:
            await ready.cluster.limit_databases(["n2"], 65536, force=False)
            (healed,) = await ready.cluster.heal_disks(None)
            assert healed.node == "n2"


class TestHealth:
    """What no process tells: that a member runs, and does not answer."""

    def told(self, lab):
        kinds = (EventKind.UNHEALTHY, EventKind.HEALTHY, EventKind.QUORUM_LOST)
        return [(kind, name) for kind, name in lab.kinds() if kind in kinds]

    async def test_one_that_runs_and_does_not_answer_is_told_once_and_when_it_answers_again(
        self, ready, autojump_clock
    ):
        ready.sick.add("n2")
        await trio.sleep(60)
        assert self.told(ready) == [(EventKind.UNHEALTHY, "n2")]
        ready.sick.clear()
        await trio.sleep(60)
        assert self.told(ready) == [(EventKind.UNHEALTHY, "n2"), (EventKind.HEALTHY, "n2")]

    async def test_an_election_makes_nobody_unhealthy(self, ready, autojump_clock):
        await trio.sleep(10 * watch.WATCH_S - 0.01)  # the next look is in a moment
        ready.sick |= {"n1", "n2", "n3"}
        await trio.sleep(watch.ELECTIONS * ready.plan.election_timeout_s)
        ready.sick.clear()
        await trio.sleep(60)
        assert self.told(ready) == []

    async def test_who_is_paused_or_stopped_is_not_expected_to_answer(self, ready, autojump_clock):
        await ready.cluster.pause(["n2"], force=False)
        await trio.sleep(60)
        await ready.cluster.resume(["n2"])
        await ready.cluster.stop(["n2"], force=False)
        await trio.sleep(60)
        assert self.told(ready) == []

    async def test_one_that_ends_while_it_does_not_answer_begins_anew(self, ready, autojump_clock):
        ready.sick.add("n2")
        await trio.sleep(60)
        await ready.cluster.stop(["n2"], force=False)
        ready.sick.clear()
        await ready.cluster.start(["n2"])
        await trio.sleep(60)
        assert self.told(ready) == [(EventKind.UNHEALTHY, "n2")]


class TestVerbs:
    async def test_restart_takes_one_after_the_other(self, ready, autojump_clock):
        await ready.cluster.restart(["n2", "n3"], force=False)
        assert ready.kinds()[-8:] == [
            (kind, name)
            for name in ("n2", "n3")
            for kind in (EventKind.EXITED, EventKind.STOPPED, EventKind.SPAWNED, EventKind.READY)
        ]


class TestReset:
    @pytest.fixture
    def may_undo(self, monkeypatch) -> trio.Event:
        """What is undone in place takes until this is set."""
        event = trio.Event()

        async def undo(plan, nodes) -> None:
            await event.wait()

        monkeypatch.setattr(reset, "undo", undo)
        return event

    @pytest.fixture
    def cannot_undo(self, monkeypatch) -> None:
        async def undo(plan, nodes) -> None:
            raise NotDoneError("n2 was removed")

        monkeypatch.setattr(reset, "undo", undo)

    async def test_in_place_leaves_the_processes_alone_and_is_journaled(self, ready, may_undo, autojump_clock):
        may_undo.set()
        assert await ready.cluster.reset() == ResetOutcome(rebuilt=False)
        assert len(ready.spawned) == 3
        assert ready.kinds()[-1] == (EventKind.LAB_RESET, None)

    async def test_meanwhile_the_verbs_are_refused(self, ready, may_undo, nursery, autojump_clock):
        nursery.start_soon(ready.cluster.reset)
        await trio.testing.wait_all_tasks_blocked()
        for verb in ("start", "stop", "restart", "pause", "kill", "resume"):
            force = {} if verb in ("start", "resume") else {"force": True}
            more = {"signal": signal.SIGKILL} if verb == "kill" else {}
            with pytest.raises(LabStateError, match="being reset"):
                await getattr(ready.cluster, verb)(["n1"], **force, **more)
        may_undo.set()
        await trio.testing.wait_all_tasks_blocked()
        await ready.cluster.stop(["n1"], force=False)

    async def test_one_follows_another(self, ready, may_undo, autojump_clock):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ready.cluster.reset)
            await trio.testing.wait_all_tasks_blocked()
            may_undo.set()
        assert [kind for kind, _ in ready.kinds()].count(EventKind.LAB_RESET) == 3

    async def test_waits_for_the_boot(self, lab, cannot_undo, autojump_clock):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: lab.cluster.boot(boot_s=60))
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(lab.cluster.reset)
        assert lab.kinds().index((EventKind.LAB_READY, None)) == 7
        assert lab.kinds()[-1] == (EventKind.LAB_RESET, None)

    async def test_a_rebuild_begins_anew_with_empty_directories(self, ready, cannot_undo, autojump_clock):
        data = Path(ready.cluster.plan.nodes[1].data_dir)
        (data / "member" / "snap").mkdir(parents=True)
        (data / "notes").touch()
        ready.obeys = STUBBORN
        await ready.cluster.pause(["n3"], force=False)
        await ready.cluster.stop(["n2"], force=True)
        began = trio.current_time()
        assert await ready.cluster.reset() == ResetOutcome(rebuilt=True, why="n2 was removed")
        assert trio.current_time() - began <= 2 * ready.cluster.plan.timeouts.stage_s
        assert [path.name for path in data.iterdir()] == ["notes"]  # noqa: ASYNC240 - virtual time
        assert not ready.directory.rebuilding.exists()
        assert [name for name, _ in ready.spawned[3:]] == ["n1", "n2", "n3"]
        assert (await ready.cluster.status()).verdict is ClusterVerdict.HEALTHY
        await trio.sleep(60)
        assert not any("quorum" in kind.value for kind, _ in ready.kinds())

    async def test_a_rebuild_does_not_wait_for_one_that_is_being_stopped(self, ready, cannot_undo, autojump_clock):
        ready.obeys = STUBBORN
        await ready.cluster.restart(["n2"], force=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: ready.cluster.stop(["n2"], force=True))
            await trio.testing.wait_all_tasks_blocked()
            began = trio.current_time()
            await ready.cluster.reset()
        assert trio.current_time() - began <= 2 * ready.cluster.plan.timeouts.stage_s

    async def test_a_rebuild_is_on_record_until_the_lab_has_booted(
        self, ready, cannot_undo, monkeypatch, autojump_clock
    ):
        seen = []

        async def agreed(status, **_):
            seen.append(ready.directory.rebuilding.exists())
            return await status()

        monkeypatch.setattr(boot, "wait_agreed", agreed)
        await ready.cluster.reset()
        assert seen == [True]
        assert not ready.directory.rebuilding.exists()

    async def test_last_words_of_members_of_before_hide_no_leader(
        self, ready, cannot_undo, monkeypatch, autojump_clock
    ):
        late = b"raft.node: 1 elected leader 1 at term 9"
        monkeypatch.setattr(reset, "wipe", lambda _: ready.cluster._on_lines("n1", [late]))
        await ready.cluster.reset()
        told = [event for event in read(ready.directory.events) if event.kind is EventKind.LEADER_CHANGED]
        assert told[-1].detail["term"] == 2

    async def test_a_learner_is_learned_anew(self, ready, cannot_undo, monkeypatch, autojump_clock):
        node = ready.nodes["n3"]
        member = msgspec.structs.replace(node.plan, learner=True, member_id="000000000000000a")
        ready.cluster.members.learn_id(node, None)
        node.replace_plan(member)

        async def add(client, peer_url, *, learner, known) -> str:
            await trio.lowlevel.checkpoint()
            assert member.member_id not in known
            return "0000000000000003"

        monkeypatch.setattr("etcdlab.runtime.cluster.add_member", add)
        await ready.cluster.reset()
        for plan in (node.plan, ready.cluster.plan.nodes[2], ready.directory.load_plan().nodes[2]):
            assert plan.member_id == "0000000000000003"

    async def test_a_rebuild_that_fails_says_so_and_the_lab_can_be_used(self, ready, cannot_undo, autojump_clock):
        ready.sick.add("n2")
        with pytest.raises(TimedOutError, match="not ready within 60 s: n2 is starting"):
            await ready.cluster.reset()
        assert not ready.directory.rebuilding.exists()  # what is written from now on is nobody's to discard
        ready.sick.clear()
        await ready.cluster.reset()

    async def test_the_end_of_the_lab_ends_it_and_leaves_nothing_running(self, ready, cannot_undo, autojump_clock):
        ready.sick.add("n2")
        async with trio.open_nursery() as nursery:

            async def refused() -> None:
                with pytest.raises(LabStateError, match="being stopped"):
                    await ready.cluster.reset()

            nursery.start_soon(refused)
            nursery.start_soon(refused)  # which waits for the first
            await trio.sleep(3)
            ready.cluster.request_shutdown(purge=True)
            await ready.cluster.stop_all(at_once=True)
        count = len(ready.spawned)
        await trio.sleep(1000)
        assert len(ready.spawned) == count
        assert {node.state for node in ready.nodes.values()} == {NodeState.STOPPED}


class TestShutdown:
    async def test_stops_the_leader_last(self, ready, autojump_clock):
        await ready.cluster.stop_all(at_once=False)
        stopped = [name for kind, name in ready.kinds() if kind is EventKind.STOPPED]
        assert sorted(stopped) == ["n1", "n2", "n3"]
        assert stopped[-1] == "n1"
        assert ready.kinds()[-1] == (EventKind.LAB_STOPPED, None)
        assert not any("quorum" in kind.value for kind, _ in ready.kinds())

    async def test_at_once_kills(self, ready, autojump_clock):
        await ready.cluster.stop_all(at_once=True)
        assert all(process.signals == [signal.SIGKILL] for _, process in ready.spawned)

    async def test_of_members_in_every_state(self, ready, autojump_clock):
        """One backs off, one failed for good, one was asked to start in this very moment."""
        await ready.cluster.stop(["n3"], force=True)
        ready.sick.update(("n1", "n2"))
        for _ in range(2):
            ready.process("n1").end(2)
            await trio.testing.wait_all_tasks_blocked()
        ready.process("n2").end(1, b"flag provided but not defined: -x\n")
        await trio.testing.wait_all_tasks_blocked()
        ready.nodes["n3"].start()
        await ready.cluster.stop_all(at_once=True)
        assert {node.state for node in ready.nodes.values()} == {NodeState.STOPPED, NodeState.FAILED}
        count = len(ready.spawned)
        await trio.sleep(1000)
        assert len(ready.spawned) == count

    async def test_nothing_starts_once_it_is_asked_for(self, ready, autojump_clock):
        """A member started behind the shutdown's back would be left without anybody who knows it."""
        await ready.cluster.stop(["n3"], force=False)
        ready.cluster.request_shutdown(purge=False)
        with pytest.raises(LabStateError, match="being stopped"):
            await ready.cluster.start(["n3"])
        with pytest.raises(LabStateError, match="being stopped"):
            await ready.cluster.restart(["n2"], force=True)

    async def test_a_second_request_ends_all_members_at_once_for_good(self, ready, autojump_clock):
        ready.obeys = STUBBORN
        await ready.cluster.restart(["n1", "n2", "n3"], force=True)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: ready.cluster.stop_all(at_once=False))
            await trio.testing.wait_all_tasks_blocked()
            ready.members.kill_all()
        assert trio.current_time() == began
        assert len(ready.spawned) == 6


# Its certificates


def refused_when_cut(file: Path, tls: TlsPlan) -> list[CertificateError]:
    """What the supervisor says of a file that is cut, at any byte at which it says anything."""
    whole, refused = file.read_bytes(), []
    for content in cut(whole):
        file.write_bytes(content)
        try:
            _gateway_context(tls)
        except CertificateError as error:
            refused.append(error)
    file.write_bytes(whole)
    return refused


async def test_what_a_crash_has_cut_of_the_supervisors_certificates_is_told_by_name(tmp_path: Path) -> None:
    pki = roles.plan_pki(Topology(), tmp_path / "pki", tmp_path)
    store.create(pki)
    stem = tmp_path / "pki" / "gateway"
    gateway = IdentityPlan(name="gateway", cn="", certificate=f"{stem}.pem", private_key=f"{stem}-key.pem")
    tls = TlsPlan(ca=str(stem.with_name("ca.pem")), identities=(gateway,), min_version="1.2")
    for name in (tls.ca, gateway.certificate, gateway.private_key):
        refused = refused_when_cut(Path(name), tls)
        assert len(refused) > 200, "all but the end of the last line"
        assert all(gateway.certificate in error.message and tls.ca in error.message for error in refused)
