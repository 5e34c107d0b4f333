import json

import click
import pytest
from click.testing import CliRunner

from etcdlab.cli import doctor as module
from etcdlab.cli.doctor import doctor
from etcdlab.doctor import labs, machine
from etcdlab.doctor.finding import Finding, Level, Topic
from etcdlab.errors import LabStateError

GOOD = Finding(topic=Topic.CLOCK, where="clock", what="it says noon")
WARNING = Finding(topic=Topic.DISK, where="/h", level=Level.WARNING, what="little space", remedy="Free some.")
STRAY = Finding(topic=Topic.PROCESS, where="pid 7", level=Level.WRONG, what="is a stray", remedy="`kill 7`.")


@pytest.fixture
def repaired():
    return []


@pytest.fixture
def leftover(repaired):
    def repair() -> str:
        repaired.append("x")
        return "removed"

    return Finding(
        topic=Topic.LAB, where="/h/x", level=Level.WRONG, what="is half-made", remedy="Remove it.", repair=repair
    )


@pytest.fixture
def found(monkeypatch):
    def give(*findings):
        monkeypatch.setattr(machine, "examine", lambda home: [one for one in findings if one.topic is not Topic.LAB])
        monkeypatch.setattr(labs, "examine", lambda home: [one for one in findings if one.topic is Topic.LAB])

    return give


@pytest.fixture
def terminal(monkeypatch):
    """A person at a terminal, who gives this answer; the questions asked."""
    questions = []

    def answer(yes: bool):
        monkeypatch.setattr(module, "_can_ask", lambda: True)
        monkeypatch.setattr(click, "confirm", lambda text: questions.append(text) or yes)
        return questions

    return answer


def run(*args: str):
    return CliRunner().invoke(doctor, args)


def test_nothing_wrong(found):
    found(GOOD, WARNING)
    result = run()
    assert result.exit_code == 0
    assert "warning  disk   /h     little space" in result.stdout
    assert result.stdout.endswith("/h: Free some.\nall is well\n")


def test_in_a_pipe_it_only_reports(found, leftover, repaired):
    found(GOOD, leftover, STRAY)
    result = run()
    assert result.exit_code == 1
    assert repaired == []
    assert result.stdout.endswith("pid 7: `kill 7`.\n/h/x: Remove it.\n2 things are wrong\n")


def test_fix_repairs_without_asking(found, leftover, repaired):
    found(GOOD, leftover)
    result = run("--fix")
    assert result.exit_code == 0
    assert repaired == ["x"]
    assert result.stdout.endswith("/h/x: removed\nall is well\n")


def test_what_cannot_be_fixed_stays_wrong(found, leftover):
    found(leftover, STRAY)
    result = run("--fix")
    assert result.exit_code == 1
    assert result.stdout.endswith("/h/x: removed\n1 thing is wrong\n")


def test_a_repair_that_fails_does_not_keep_others_from_theirs(found, leftover, repaired):
    def fail() -> str:
        raise LabStateError("it runs by now")

    found(Finding(topic=Topic.LAB, where="/h/y", level=Level.WRONG, what="is half-made", repair=fail), leftover)
    result = run("--fix")
    assert result.exit_code == 1
    assert repaired == ["x"]
    assert result.stdout.endswith("/h/y: could not be fixed: it runs by now\n/h/x: removed\n1 thing is wrong\n")


def test_on_a_terminal_it_asks_once_and_obeys(found, leftover, repaired, terminal):
    questions = terminal(True)
    found(leftover, leftover)
    result = run()
    assert questions == ["Remove 2 leftovers?"]
    assert repaired == ["x", "x"]
    assert result.exit_code == 0
    assert result.stdout.count("is half-made") == 2, "shown once, before the question"


def test_a_no_changes_nothing(found, leftover, repaired, terminal):
    questions = terminal(False)
    found(leftover)
    assert run().exit_code == 1
    assert questions == ["Remove 1 leftover?"]
    assert repaired == []


def test_without_leftovers_there_is_no_question(found, terminal):
    questions = terminal(True)
    found(STRAY)
    assert run().exit_code == 1
    assert questions == []


@pytest.mark.parametrize(("args", "asks"), [((), True), (("--json",), False)])
def test_with_json_nobody_is_asked(found, leftover, monkeypatch, args, asks):
    class Terminal:
        def isatty(self) -> bool:
            return True

    answers = []

    class Sys:
        stdin = stdout = Terminal()

    monkeypatch.setattr(module, "sys", Sys)
    monkeypatch.setattr(click, "confirm", lambda text: answers.append(text))
    found(leftover)
    assert run(*args).exit_code == 1
    assert bool(answers) is asks


def test_no_answer_is_no(found, leftover, monkeypatch):
    """Ctrl-D at the question was once a traceback."""

    def confirm(_: str) -> bool:
        raise click.Abort

    monkeypatch.setattr(module, "_can_ask", lambda: True)
    monkeypatch.setattr(click, "confirm", confirm)
    found(leftover)
    result = run()
    assert result.exit_code == 1
    assert "1 thing is wrong" in result.stdout


def test_json_has_stable_keys(found, leftover):
    found(GOOD, leftover)
    result = run("--json", "--fix")
    assert result.exit_code == 0
    good = {
        "topic": "clock",
        "where": "clock",
        "level": "good",
        "what": "it says noon",
        "remedy": "",
        "fixable": False,
        "fixed": False,
        "outcome": "",
    }
    bad = {
        "topic": "lab",
        "where": "/h/x",
        "level": "wrong",
        "what": "is half-made",
        "remedy": "Remove it.",
        "fixable": True,
        "fixed": True,
        "outcome": "removed",
    }
    assert json.loads(result.stdout) == {"version": 1, "passed": True, "findings": [good, bad]}


def test_this_machine_for_real(tmp_path, monkeypatch):
    monkeypatch.setenv("ETCDLAB_HOME", str(tmp_path))
    result = run("--json")
    assert result.exit_code in (0, 1)
    assert {one["topic"] for one in json.loads(result.stdout)["findings"]} >= {"etcd", "ports", "limits", "disk"}
