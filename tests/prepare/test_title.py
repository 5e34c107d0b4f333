"""How a daemon shows itself, and is found."""

import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from torturing.stranger import as_stranger

from etcdlab.prepare.labdir import LabDirectory
from etcdlab.prepare.title import Role, kill_all, lab_of, process_of, title
from tests import stranger

SHOWS = "import sys, setproctitle; setproctitle.setproctitle(sys.argv[1]); print(flush=True); sys.stdin.read()"


@pytest.mark.parametrize("path", ["/home/a/labs/three", "/home/a  b/labs/three", "/" + 300 * "x"])
@pytest.mark.parametrize("more", [(), (400 * "argument",)], ids=["short", "long"])
def test_a_process_that_shows_it_is_found(path, more):
    directory = LabDirectory(Path(path))
    command = [sys.executable, "-c", SHOWS, title(directory), *more]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        found = lab_of(psutil.Process(process.pid).cmdline())
        process.stdin.close()
    assert found is not None
    assert found.path == directory.path


@pytest.mark.parametrize("argv", [(), ("python", "-m", "etcdlab.daemon"), ("vi", "etcdlab daemon /home/a")])
def test_others_are_not(argv):
    assert lab_of(argv) is None


def test_all_are_ended_and_no_other(tmp_path):
    directory, other = LabDirectory(tmp_path / "three"), LabDirectory(tmp_path / "four")
    titles = [title(directory, Role.NETWORK)] * 2 + [title(directory), title(other, Role.NETWORK)]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen([sys.executable, "-c", SHOWS, shown], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            for shown in titles
        ]
        for process in processes:
            process.stdout.readline()
        kill_all(directory, Role.NETWORK)
        assert [process.wait() for process in processes[:2]] == [-signal.SIGKILL] * 2
        assert [process.poll() for process in processes[2:]] == [None, None]
        assert process_of(directory, Role.NETWORK) is None
        assert process_of(other, Role.NETWORK).pid == processes[3].pid


@stranger.needed
def test_another_users_title_is_not_believed(tmp_path):
    directory = LabDirectory(tmp_path / "three")
    shows = [sys.executable, "-c", SHOWS, title(directory, Role.NETWORK)]
    with subprocess.Popen(shows, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert process_of(directory, Role.NETWORK).pid == process.pid
        assert as_stranger(lambda: process_of(directory, Role.NETWORK)) is None
        process.stdin.close()
