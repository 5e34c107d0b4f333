"""Where a verb's output goes may be closed, full, or gone in a moment: a documented status, no traceback, no hang."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from etcdlab.errors import ExitStatus
from etcdlab.model.event import EventKind
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.runtime.journal import Journal
from tests.cli.command import PROGRAM, full_pipe, on_terminal, wait_stuck
from tests.plans import make_plan

BOUND_S = 30
UP = ("up", "--nodes", "1", "--profile", "fast")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabDirectory:
    """A lab that only has files."""
    monkeypatch.setenv("ETCDLAB_HOME", str(tmp_path))
    monkeypatch.delenv("ETCDLAB_LAB", raising=False)
    plan = make_plan(tmp_path)
    for node in plan.nodes:
        Path(node.directory).mkdir(parents=True)
        Path(node.log).write_text('{"level":"info","ts":"2026-11-25T10:00:00Z","msg":"grüße"}\n' * 3)
    directory = LabDirectory(Path(plan.directory))
    journal = Journal(directory.events)
    for _ in range(3):
        journal.emit(EventKind.READY, "n1")
    journal.close()
    return directory


def ended(redirections: str, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the program with a shell's redirections."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" "$@" {redirections}', PROGRAM, *arguments],
        env=os.environ | environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BOUND_S,
        check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.parametrize("redirections", [">&-", ">/dev/full"])
@pytest.mark.parametrize("asked", [["ls"], ["logs", "-f"], ["--help"]], ids=" ".join)
def test_output_that_is_lost_is_an_error(lab, asked, redirections):
    done = ended(redirections, *asked)
    assert done.returncode == ExitStatus.FAILED
    assert done.stderr.startswith("error: the output could not be written: ")


@pytest.mark.parametrize("redirections", ["2>&-", "2>/dev/full"])
def test_messages_that_are_lost_are_missed_and_do_not_get_into_the_output(lab, redirections):
    done = ended(redirections, "status", "--lab", "nowhere")
    assert (done.returncode, done.stdout) == (ExitStatus.NOT_RUNNING, "")
    done = ended(redirections, "no-such-verb")
    assert (done.returncode, done.stdout) == (ExitStatus.USAGE, "")
    assert ended(redirections, "status").returncode == ExitStatus.NOT_RUNNING


def test_nothing_may_be_open_at_all(lab):
    assert ended("<&- >&- 2>&-", "ls").returncode == ExitStatus.FAILED


@pytest.mark.parametrize("asked", [["logs", "-f"], ["events", "-f"], ["ls"]], ids=" ".join)
def test_a_reader_that_leaves_ends_it_as_it_ends_others(lab, asked):
    with subprocess.Popen([PROGRAM, *asked], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        messages = process.stderr.read()
        assert process.wait(BOUND_S) == -signal.SIGPIPE
    assert messages == b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE])
def test_a_pipe_that_nobody_reads_holds_it_until_it_is_told(lab, number):
    pipes = {"stderr": subprocess.PIPE}
    with full_pipe() as (reading, writing), subprocess.Popen([PROGRAM, "logs"], stdout=writing, **pipes) as process:
        os.close(writing)
        wait_stuck(process)
        if number is signal.SIGPIPE:
            os.close(reading)
        else:
            process.send_signal(number)
        assert process.wait(BOUND_S) == -number
        assert process.stderr.read() == b""


@pytest.mark.parametrize("asked", [["logs", "-f"], ["events", "-f"], ["status", "--watch"]], ids=" ".join)
def test_a_terminal_that_is_closed_ends_it(lab, asked):
    with on_terminal(*asked) as (process, terminal):
        assert os.read(terminal, 100)
        os.close(terminal)
        assert process.wait(BOUND_S) == -signal.SIGHUP


@pytest.mark.parametrize(
    "environment", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "latin-1"}, {"PYTHONIOENCODING": "ascii"}], ids=str
)
@pytest.mark.parametrize("asked", [["logs"], ["logs", "--raw"]], ids=" ".join)
def test_an_encoding_that_lacks_letters_shows_their_numbers(lab, asked, environment):
    done = subprocess.run([PROGRAM, *asked], env=os.environ | environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii() or environment == {"LC_ALL": "C"} or b"gr\xfc\xdfe" in done.stdout
