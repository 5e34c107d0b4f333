"""The daemon's own log, in a process of its own: it takes over the standard descriptors."""

import subprocess
import sys

import pytest

from etcdlab import daemon_log

PROGRAM = """
import logging, resource, sys
from pathlib import Path
from etcdlab.daemon_log import DaemonLog
log = logging.getLogger("daemon")
logging.basicConfig(level=logging.INFO, handlers=[DaemonLog(Path(sys.argv[1]))])
"""


def run(path, program):
    done = subprocess.run([sys.executable, "-c", PROGRAM + program, path], capture_output=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == (b"", b"")
    return done.returncode


@pytest.fixture
def path(tmp_path):
    return tmp_path / "daemon.log"


def test_records_and_what_is_printed_go_there(path):
    run(path, "log.warning('one'); print('two'); sys.exit('three')")
    assert {line.split()[-1] for line in path.read_text().splitlines()} == {"one", "two", "three"}


def test_it_is_bounded(path):
    run(path, "for number in range(50_000): log.info('%d %s', number, 'x' * 60)")
    old = path.with_name("daemon.log.1")
    assert sorted(path.parent.iterdir()) == [path, old]
    lines = (old.read_text() + path.read_text()).splitlines()
    numbers = [int(line.split()[-2]) for line in lines]
    assert numbers == list(range(numbers[0], 50_000))
    assert max(path.stat().st_size, old.stat().st_size) <= daemon_log.SIZE + 200


def test_no_space_for_it_ends_nothing(path):
    assert run(path, "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); log.error('lost'); log.error('lost')") == 0
    assert path.read_bytes() == b""
