"""Two commands at once on one lab, and many labs at once: each ends with one of the outcomes that are told here."""

import contextlib
import json
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from etcdlab.control.client import Client
from etcdlab.errors import BootError, EtcdlabError
from etcdlab.lab import Lab
from etcdlab.launch import living_members
from etcdlab.model.event import EventKind
from etcdlab.model.lifecycle import NodeState
from etcdlab.model.status import LabPhase
from etcdlab.model.topology import Topology
from etcdlab.prepare.labdir import LabDirectory, all_labs
from etcdlab.prepare.ports import Ports
from etcdlab.runtime import journal
from etcdlab.up import Outcome, Request, up
from tests.cli.command import PROGRAM, run
from tests.conftest import processes_of
from tests.e2e.labs import WATCHER

ONE = ("up", "--nodes", "1", "--profile", "fast", "--no-tls", "--name")
TIMEOUT_S = 100.0
Ended = tuple[int, str, str]


@contextlib.contextmanager
def started(*commands: Sequence[str]) -> "Iterator[list[subprocess.Popen[str]]]":
    """The installed program, once for each command, all at once."""
    with contextlib.ExitStack() as stack:
        processes = []
        for command in commands:
            process = subprocess.Popen(
                [PROGRAM, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            processes.append(process)
        yield processes


def at_once(*commands: Sequence[str]) -> list[Ended]:
    """How each command ended: its status and what it said. None of them with a traceback."""
    with started(*commands) as processes:
        said = [process.communicate(timeout=TIMEOUT_S) for process in processes]
    ended = [(process.returncode, *words) for process, words in zip(processes, said, strict=True)]
    assert not [err for _, _, err in ended if "Traceback" in err]
    return ended


def counted(lab: str) -> "Counter[EventKind]":
    return Counter(event.kind for event in journal.read(LabDirectory.named(lab).events))


@pytest.mark.etcd
class TestUp:
    def test_ten_times_at_once_makes_one_lab_and_all_report_it(self, home: Path) -> None:
        ended = at_once(*[(*ONE, "x", "--json")] * 10)
        assert [status for status, _, _ in ended] == [0] * 10, ended
        answers = [json.loads(out) for _, out, _ in ended]
        assert {(one["phase"], one["verdict"], one["nodes"][0]["pid"]) for one in answers} == {
            ("up", "healthy", living_members(LabDirectory.named("x"))["n1"].identity.pid)
        }
        happened = counted("x")
        assert (happened[EventKind.SPAWNED], happened[EventKind.LAB_READY]) == (1, 1)
        run("down", "--purge")

    def test_of_two_that_differ_one_is_refused_with_the_reason(self, home: Path) -> None:
        ended = at_once((*ONE, "x"), (*ONE, "x", "--etcd", "3.5"))
        assert sorted(status for status, _, _ in ended) == [0, 1]
        [refusal] = [err for status, _, err in ended if status]
        assert "lab 'x' exists and was made from another topology" in refusal
        run("down", "--purge")

    def test_of_one_that_does_not_boot_tells_everybody_why_and_leaves_nothing(self, home: Path, tmp_path: Path) -> None:
        bad = tmp_path / "bad.toml"
        bad.write_text('name = "bad"\n[etcd]\nprofile = "fast"\n[[node]]\nname = "n1"\nargs = ["--no-such-flag"]\n')
        ended = at_once(*[("up", str(bad))] * 3)
        assert [status for status, _, _ in ended] == [1] * 3
        assert all("member n1 did not start: flag provided but not defined" in err for _, _, err in ended)
        assert list(home.iterdir()) == []

    @pytest.mark.parametrize("purge", [(), ("--purge",)])
    def test_against_down_ends_with_what_came_last_and_both_say_so(
        self, home: Path, tmp_path: Path, purge: tuple[str, ...]
    ) -> None:
        """A boot that would go on for ever: its member crashes again and again."""
        loop = tmp_path / "loop.toml"
        loop.write_text(
            'name = "loop"\n[etcd]\nprofile = "fast"\n'
            '[restart]\nbackoff = "50ms"\nbackoff_max = "50ms"\nbudget = 10000\n'
            '[[node]]\nname = "n1"\nenv = { GOMEMLIMIT = "nonsense" }\n'
        )
        with started(("up", str(loop))) as [booting]:
            assert booting.stderr is not None
            while "ended" not in booting.stderr.readline():
                pass
            assert Lab.attach("loop").status().phase is LabPhase.STARTING
            [(status, out, _)] = at_once(("down", "--lab", "loop", *purge))
            _, err = booting.communicate(timeout=TIMEOUT_S)
        assert (status, out) == (0, f"lab loop is stopped{' and removed' if purge else ''}\n")
        assert booting.returncode == 1
        assert "the lab was stopped while it came up" in err
        assert "Traceback" not in err
        assert processes_of(home) == []
        assert list(home.iterdir()) == []


@pytest.mark.etcd
@pytest.mark.parametrize("second", [("down",), ("down", "--purge")], ids=" ".join)
def test_down_twice_is_down(home: Path, second: tuple[str, ...]) -> None:
    run(*ONE, "x")
    ended = at_once(("down", "--lab", "x"), (*second, "--lab", "x"))
    assert ended[1][0] == 0, ended
    assert ended[0][0] in (0, 3), "3: the other one has removed it already"
    assert processes_of(home) == []
    assert LabDirectory.named("x").path.exists() is ("--purge" not in second)
    if "--purge" not in second:
        run("down", "--purge")


def test_up_waits_for_a_lab_that_is_being_stopped_and_starts_it_again(make_lab, home: Path) -> None:
    lab = make_lab("--ignore-sigterm", stop_s=0.5)
    request = Request(topology=Topology(name="fake"), base=home, explicit=False)
    with lab.daemon() as daemon:
        before = lab.boot(daemon)
        Client(lab.plan.socket, timeout_s=20).shutdown()
        again = up(request, WATCHER)
        Lab(lab.directory, again.daemon).down()
    assert again.outcome is Outcome.RESTARTED
    assert again.status.phase is LabPhase.UP
    assert again.status.nodes[0].pid != before.nodes[0].pid


def test_start_against_stop_leaves_a_member_that_is_what_its_state_says(fake_lab) -> None:
    """The last to be heard wins; the other one returns too, or says that the member was stopped."""
    with fake_lab.daemon() as daemon:
        fake_lab.boot(daemon)
        client = Client(fake_lab.plan.socket, timeout_s=30)
        failures: list[EtcdlabError] = []

        def attempt(number: int) -> None:
            try:
                client.stop(["n2"], force=True) if number % 2 else client.start(["n2"])
            except BootError as error:
                failures.append(error)

        for _ in range(5):
            threads = [threading.Thread(target=attempt, args=[number]) for number in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            node = client.status().nodes[1]
            assert (node.state, node.pid is None) in ((NodeState.RUNNING, False), (NodeState.STOPPED, True))
            assert ("n2" in living_members(fake_lab.directory)) is (node.pid is not None)
        assert {error.message for error in failures} <= {"member n2 did not start: stopped as asked"}
        client.start(["n2"])
        assert client.status().nodes[1].state is NodeState.RUNNING


@pytest.mark.etcd
def test_labs_that_start_at_once_have_nothing_in_common(home: Path) -> None:
    """Four of them; twenty were started so once."""
    names = [f"x{number}" for number in range(4)]
    ended = at_once(*[(*ONE, name) for name in names])
    assert [status for status, _, _ in ended] == [0] * len(names), ended
    nodes = [node for lab in all_labs() for node in lab.load_plan().nodes]
    ports = [port for node in nodes for port in (node.client_port, node.peer_port, node.metrics_port)]
    assert len(set(ports)) == 3 * len(names)
    assert [lab.name for lab in all_labs()] == names
    assert {one.status().phase for one in map(Lab, all_labs())} == {LabPhase.UP}
    run("down", "--all", "--purge")


@pytest.mark.etcd
def test_of_two_labs_that_name_one_port_one_starts_and_the_other_names_it(home: Path, tmp_path: Path) -> None:
    with Ports() as chosen:
        port = chosen.choose()
    for name in "ab":
        text = f'name = "{name}"\n[etcd]\nprofile = "fast"\n[[node]]\nname = "n1"\nclient_port = {port}\n'
        (tmp_path / f"{name}.toml").write_text(text)
    ended = at_once(*(("up", str(tmp_path / f"{name}.toml")) for name in "ab"))
    assert sorted(status for status, _, _ in ended) == [0, 1], ended
    [refusal] = [err for status, _, err in ended if status]
    assert f"port {port} on 127.0.0.1 is taken by" in refusal
    assert "(pid" in refusal
    assert len(list(all_labs())) == 1
    run("down", "--purge")
