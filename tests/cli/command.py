"""The command line as tests use it: in this process for most, as the installed program where that is the point."""

import contextlib
import json
import os
import pty
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from etcdlab.cli.main import etcdlab

PROGRAM = str(Path(sys.executable).with_name("etcdlab"))
TIMEOUT_S = 60


def run(*arguments: str, status: int = 0) -> Result:
    """Run a verb in this process; it must end with `status`."""
    result = CliRunner().invoke(etcdlab, arguments)
    assert result.exit_code == status, (result.output, result.exception)
    return result


def run_json(*arguments: str, status: int = 0) -> dict[str, Any]:
    """The same with --json: stdout must be one versioned object."""
    data = json.loads(run(*arguments, "--json", status=status).stdout)
    assert data["version"] == 1
    return data


def program(*arguments: str, status: int = 0, **more: Any) -> "subprocess.CompletedProcess[str]":
    """Run the installed program; it must end with `status`."""
    result = subprocess.run(
        [PROGRAM, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False, **more
    )
    assert result.returncode == status, (result.stdout, result.stderr)
    return result


@contextlib.contextmanager
def full_pipe() -> Iterator[tuple[int, int]]:
    """The two ends of a pipe into which nothing goes any more."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    for size in (4096, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writing, b"x" * size)
    os.set_blocking(writing, True)
    try:
        yield reading, writing
    finally:
        for end in (reading, writing):
            with contextlib.suppress(OSError):  # the test may have closed it
                os.close(end)


def wait_stuck(process: "subprocess.Popen[Any]") -> None:
    """Wait until this process waits for room in a pipe."""
    deadline = time.monotonic() + TIMEOUT_S
    while Path(f"/proc/{process.pid}/wchan").read_text() not in ("pipe_write", "anon_pipe_write"):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.001)


@contextlib.contextmanager
def on_terminal(*arguments: str, columns: int = 80) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """The installed program in a session of its own, whose terminal it has; our end of the terminal."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    with subprocess.Popen(
        ["setsid", "--ctty", PROGRAM, *arguments], stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        try:
            yield process, ours
        finally:
            process.kill()
            with contextlib.suppress(OSError):
                os.close(ours)
