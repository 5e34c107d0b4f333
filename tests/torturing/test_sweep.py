"""What the sweep over a verb's time is made of."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from torturing import sweep

from tests.cli.command import program


def test_a_verb_is_struck_by_ctrl_c_once_python_has_handed_it_over(monkeypatch):
    monkeypatch.setattr(sweep, "BEGUN_S", 30.0)
    begin = "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", begin], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as verb:
        sweep._wait_begun(verb.pid)
        verb.send_signal(signal.SIGINT)
        assert verb.stderr.read() == b""
        assert verb.wait() == -signal.SIGINT


def test_one_that_ended_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(sweep, "BEGUN_S", 30.0)
    with subprocess.Popen([sys.executable, "-c", ""]) as verb:
        os.waitid(os.P_PID, verb.pid, os.WEXITED | os.WNOWAIT)
        sweep._wait_begun(verb.pid)


def test_the_release_that_is_served_can_be_installed(tmp_path: Path):
    with sweep._releases(tmp_path) as environment:
        words = ("etcd", "install", sweep.RELEASE, "--from", "release")
        told = program(*words, env={**os.environ, **environment}).stdout
    assert told == f"etcd {sweep.RELEASE} is {environment['ETCDLAB_CACHE']}/etcd/{sweep.RELEASE}/etcd\n"
