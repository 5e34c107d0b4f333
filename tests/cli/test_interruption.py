"""Signals at any moment: nothing is left, nothing is said that is no message, and the status is the signal's."""

import os
import random
import signal
import subprocess
import time

import psutil
import pytest

from etcdlab.lab import Lab
from etcdlab.model.status import LabPhase
from etcdlab.prepare.labdir import LabDirectory
from tests.cli.command import PROGRAM, full_pipe, program, run, wait_stuck
from tests.conftest import processes_of

BOUND_S = 30
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
UP = ("up", "--nodes", "1", "--profile", "fast")
SEED = 20261125


@pytest.fixture
def home(home):
    """ETCDLAB_HOME; whatever lab a test left in it is removed."""
    yield home
    run("down", "--all", "--purge")


def interrupt(arguments, number, after_s, *, times=1):
    """Run a verb, signal it that long after it began to work, and return its status, output and messages."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([PROGRAM, *arguments], text=True, process_group=0, **pipes) as process:
        began = psutil.Process(process.pid)
        # Before, Python itself is starting, which answers Ctrl-C with a traceback; this child is the spare interpreter.
        while process.poll() is None and not began.children():
            time.sleep(0.001)
        time.sleep(after_s)
        for _ in range(times):
            if process.poll() is None:
                os.killpg(process.pid, number)  # as a terminal does
        output, messages = process.communicate(timeout=BOUND_S)
    assert process.returncode in (0, -number), messages
    assert "Traceback" not in messages
    assert "Exception" not in messages
    return process.returncode, output, messages


def wait_nothing_left(home):
    """A killed `up` cannot wait for what its daemon undoes; others have waited."""
    deadline = time.monotonic() + BOUND_S
    while (left := (processes_of(home), list(home.iterdir()))) != ([], []):
        assert time.monotonic() < deadline, left
        time.sleep(0.01)


@pytest.mark.etcd
class TestUp:
    @pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
    def test_of_a_new_lab_leaves_it_ready_or_nothing(self, home, number):
        chance = random.Random(SEED + number)
        for _ in range(3):
            status, output, _ = interrupt(UP, number, chance.uniform(0, 0.8), times=chance.choice((1, 2)))
            if status == 0 or "is ready in" in output:
                assert Lab(LabDirectory.named("default")).status().nodes[0].healthy
                run("down", "--purge")
            wait_nothing_left(home)
        program(*UP)

    @pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
    def test_of_a_lab_that_was_down_leaves_its_data(self, home, number):
        program(*UP)
        lab = Lab.attach("default")
        lab.etcdctl("put", "k", "kept")
        lab.down()
        status, output, _ = interrupt(UP, number, random.Random(SEED + number).uniform(0.1, 0.4))
        if status != 0 and "is ready in" not in output:
            assert lab.directory.wait_released(BOUND_S)
            assert processes_of(home) == []
        program(*UP)
        assert lab.etcdctl("get", "k", "--print-value-only") == "kept\n"


@pytest.mark.etcd
def test_one_that_comes_while_the_result_is_printed_waits_for_it(home):
    """Else there would be a lab that nobody was told of."""
    with subprocess.Popen([PROGRAM, *UP], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not (LabDirectory.named("default").exists() and Lab.attach("default").is_running()):
            time.sleep(0.001)
        while process.poll() is None:  # all the time, up to the very end
            process.terminate()
            time.sleep(0.001)
        output = process.stdout.read()
    if "is ready in" in output:
        assert "Stop it: etcdlab down" in output
        assert Lab.attach("default").status().nodes[0].healthy
    else:
        wait_nothing_left(home)


@pytest.mark.etcd
def test_one_that_comes_while_nobody_reads_the_result_waits_a_second(home):
    """Once nothing but SIGKILL ended such an `up`."""
    with full_pipe() as (_, full), subprocess.Popen([PROGRAM, *UP], stdout=full, stderr=subprocess.DEVNULL) as process:
        wait_stuck(process)
        process.terminate()
        assert process.wait(BOUND_S) == -signal.SIGTERM
    assert Lab.attach("default").status().nodes[0].healthy


@pytest.mark.etcd
def test_progress_that_nobody_reads_holds_up_no_member(home):
    """Nor is the lab lost when it is read at last; if the `up` is ended instead, the lab is undone."""
    for is_read in (True, False):
        with (
            full_pipe() as (reading, full),
            subprocess.Popen([PROGRAM, *UP], stdout=subprocess.DEVNULL, stderr=full) as process,
        ):
            wait_stuck(process)
            status = Lab(LabDirectory.named("default")).wait_until(lambda status: status.nodes[0].healthy)
            assert status.phase is LabPhase.STARTING
            if is_read:
                os.close(full)
                os.read(reading, 2**20)
                assert process.wait(BOUND_S) == 0
                run("down", "--purge")
            else:
                process.kill()
        wait_nothing_left(home)
