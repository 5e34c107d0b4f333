"""How a daemon shows itself, and is found."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from etcdlab.prepare.labdir import LabDirectory
from etcdlab.prepare.title import lab_of, title

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
