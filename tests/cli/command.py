"""The command line as tests use it: in this process for most, as the installed program where that is the point."""

import json
import subprocess
import sys
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
