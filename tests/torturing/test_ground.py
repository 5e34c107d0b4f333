"""What is left of a torture that is ended."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import processes_of

BOUND_S = 60


@pytest.mark.etcd
def test_ended_by_a_signal_it_removes_its_labs_and_tells_what_it_found(home):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "scripts"), "TMPDIR": str(home)}
    words = [sys.executable, "-m", "torturing", "rival-ups", "--seed", "1"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, env=environment, text=True, **pipes) as torture:
        while "rival-ups" not in (line := torture.stderr.readline()):
            assert line
        torture.terminate()
        told, messages = torture.communicate(timeout=BOUND_S)
    assert torture.returncode == -signal.SIGTERM
    assert "Traceback" not in messages
    assert "acknowledged writes lost" in told
    assert processes_of(home) == []
    assert list(home.iterdir()) == []
