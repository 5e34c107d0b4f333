"""The spare interpreter: gone if nobody takes it, and never a burden to a verb that needs none."""

import os
import subprocess

import psutil
import pytest

from etcdlab.interpreter import Interpreter
from tests.cli.command import PROGRAM, program


def children() -> set[int]:
    return {process.pid for process in psutil.Process().children()}


def test_one_that_nobody_took_is_gone():
    before = children()
    with Interpreter():
        assert len(children() - before) == 1
    assert children() == before


def test_one_that_was_taken_is_the_takers():
    with Interpreter() as interpreter:
        process, channel = interpreter.take()
    with process, channel:
        assert process.poll() is None
        channel.close()  # nothing to do then
        assert process.wait(30) == 0


def spares(home) -> list[psutil.Process]:
    """The daemons without a lab that were started with this ETCDLAB_HOME."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        argv, environment = process.info["cmdline"] or [], process.info["environ"] or {}
        if argv[1:] == ["-P", "-m", "etcdlab.daemon"] and environment.get("ETCDLAB_HOME") == str(home):
            found.append(process)
    return found


@pytest.mark.parametrize("arguments", [("--help",), ("--nodes", "many"), ("no-such-file.toml",)])
def test_up_that_starts_no_lab_leaves_none(home, arguments):
    program("up", *arguments, status=0 if "--help" in arguments else 2)
    assert spares(home) == []


def test_it_ends_with_the_up_that_was_killed(home, tmp_path):
    topology = tmp_path / "topology.toml"
    os.mkfifo(topology)  # there `up` waits for someone to write
    with subprocess.Popen([PROGRAM, "up", topology], stderr=subprocess.DEVNULL) as up:
        while not (found := spares(home)):
            assert up.poll() is None
        up.kill()
    psutil.wait_procs(found, timeout=30)
    assert spares(home) == []
