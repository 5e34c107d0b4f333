"""The examples that the README shows, run as it says."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import PROGRAM, program
from tests.conftest import processes_of

pytestmark = pytest.mark.etcd
EXAMPLES = Path(__file__).with_name("examples")
TIMEOUT_S = 60


@pytest.fixture
def on_path(home, monkeypatch):
    """`etcdlab` as users have it. After an example there is no lab left."""
    monkeypatch.setenv("PATH", f"{Path(PROGRAM).parent}{os.pathsep}{os.environ['PATH']}")
    yield
    assert (processes_of(home), list(home.iterdir())) == ([], [])


@pytest.mark.usefixtures("on_path")
class TestExamples:
    @pytest.mark.parametrize("words", [["script.py"], ["-m", "unittest", "with_unittest"]], ids=lambda words: words[-1])
    def test_python(self, words):
        command = [sys.executable, "-W", "error", *words]
        result = subprocess.run(
            command, cwd=EXAMPLES, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )  # fmt: skip
        assert result.returncode == 0, result.stderr

    @pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
    def test_shell(self):
        result = program("exec", "--profile", "fast", "--", "sh", str(EXAMPLES / "suite.sh"))
        assert result.stdout == "passed\n"

    @pytest.mark.parametrize(
        "words", [["go", "test", "etcd_test.go"], ["node", "--test", "etcd.test.mjs"]], ids=lambda words: words[0]
    )
    def test_other_languages(self, words):
        if shutil.which(words[0]) is None:
            pytest.skip(f"{words[0]} is not installed")
        result = program("exec", "--profile", "fast", "--", *words[:-1], str(EXAMPLES / words[-1]))
        assert result.returncode == 0, result.stdout
