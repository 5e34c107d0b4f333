"""Suites written by a test and run by a pytest of their own, in an ETCDLAB_HOME that must be empty afterwards."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import processes_of

TIMEOUT_S = 60

INI = """
[pytest]
addopts = -p no:cacheprovider
"""
PLUGINS = "etcdlab.pytest_plugin.plugin,xdist.plugin"
"""Those that suites are run with, unless they ask for all that are installed: half of pytest's start."""


class Suite:
    """A suite: by default its labs have one member, so that each takes half a second."""

    def __init__(self, pytester: pytest.Pytester, home: Path) -> None:
        self.pytester = pytester
        self.home = home
        self.path = pytester.path
        self.ini("etcdlab_nodes = 1")

    def ini(self, *lines: str) -> None:
        """Write the ini file anew, with these lines."""
        (self.path / "pytest.ini").write_text("\n".join([INI.strip(), *lines, ""]))

    def tests(self, source: str) -> None:
        """The suite's only module of tests."""
        self.pytester.makepyfile(test_it=source)

    def run(self, *arguments: str, **outcomes: int) -> pytest.RunResult:
        """Run it; its outcomes must be exactly these."""
        result = self.pytester.runpytest_subprocess(*arguments, timeout=TIMEOUT_S)
        assert result.parseoutcomes() == outcomes, result.outlines
        return result

    def refuse(self, *arguments: str) -> str:
        """Run it; pytest must not begin. What it says."""
        result = self.pytester.runpytest_subprocess(*arguments, timeout=TIMEOUT_S)
        assert result.ret is pytest.ExitCode.USAGE_ERROR
        assert "Traceback" not in result.stderr.str()
        return result.stderr.str()

    @contextmanager
    def started(self, *arguments: str, until: str) -> Iterator["subprocess.Popen[str]"]:
        """Run it, in a process group of its own, until it prints `until` at the end of a line."""
        command = [sys.executable, "-m", "pytest", "-s", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with subprocess.Popen(command, cwd=self.path, text=True, start_new_session=True, **pipes) as process:
            try:
                assert process.stdout is not None
                assert any(line.endswith(f"{until}\n") for line in process.stdout)
                yield process
            finally:
                process.kill()

    def is_gone_within(self, seconds: float) -> bool:
        """Whether there is no lab and no process of one any more, or only `seconds` from now."""
        deadline = time.monotonic() + seconds
        while processes_of(self.home) or any(self.home.iterdir()):
            if time.monotonic() > deadline:
                return False
        return True

    def labs(self) -> list[str]:
        """The names of the labs there are."""
        return sorted(path.name for path in self.home.iterdir())


@pytest.fixture
def suite(pytester: pytest.Pytester, home: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    for name in [name for name in os.environ if name.startswith(("ETCDLAB_PYTEST_", "PYTEST_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", PLUGINS)
    return Suite(pytester, home)


@pytest.fixture
def all_plugins(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the suite run with the plugins that are installed, as pytest finds them."""
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    monkeypatch.delenv("PYTEST_PLUGINS")
