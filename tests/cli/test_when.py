"""Verbs that wait for something before they act, over a lab of fake members."""

import re
import subprocess

import pytest

from etcdlab.model.event import EventKind
from tests.cli.command import PROGRAM, run


@pytest.fixture
def running(fake_lab):
    with fake_lab.daemon() as daemon:
        fake_lab.boot(daemon)
        yield fake_lab


def begin(*arguments: str) -> subprocess.Popen[str]:
    """A verb that waits: it has said so."""
    verb = subprocess.Popen([PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert verb.stderr.readline().startswith("waiting for ")
    return verb


def test_it_acts_when_the_event_happens(running):
    with begin("kill", "n2", "--force", "--when", "paused:n1") as verb:
        run("pause", "n1", "--force")
        assert verb.stdout.read() == "n2: sent SIGKILL\n"
    assert (EventKind.PAUSED, "n1") in running.events()


@pytest.mark.parametrize("where", ["n1:", ""])
def test_it_acts_when_the_line_is_logged(running, where):
    log = running.plan.nodes[0].log
    with begin("pause", "n2", "--force", "--when-log", f"{where}apply re.uest") as verb:
        with open(log, "a") as file:  # noqa: PTH123
            file.write('{"level":"warn","msg":"apply request took too long"}\n')
        assert verb.stdout.read() == "n2: paused\n"


def test_it_does_nothing_when_that_does_not_happen(running):
    done = run("stop", "n2", "--force", "--when", "failed", "--within", "100ms", status=6)
    assert "no event 'failed' within 0.1 s" in done.stderr
    done = run("stop", "n2", "--force", "--when-log", "n1:never", "--within", "100ms", status=6)
    assert "n1 has logged nothing like 'never' within 0.1 s" in done.stderr
    done = run("stop", "n2", "--force", "--when-log", "never", "--within", "100ms", status=6)
    assert "n1, n2 have logged nothing like 'never' within 0.1 s" in done.stderr
    assert not [event for event in running.events() if event[0] is EventKind.STOPPED]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--when", "ready", "--when-log", "x"], "--when and --when-log wait for different things"),
        (["--when", "redy"], "'redy' is no kind of event; there are .*ready"),
        (["--when", "ready:n9"], "has no member 'n9'"),
        (["--when-log", "x("], r"'x\(' is no regular expression"),
    ],
)
def test_what_can_never_be_is_said_at_once(running, options, said):
    assert re.search(said, run("kill", "n2", *options, status=2).stderr)
