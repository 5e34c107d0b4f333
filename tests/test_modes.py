"""In the block of `tests.modes` a closed file is closed, to this process and to those that it starts; then no more."""

import os
import subprocess
from pathlib import Path

import pytest

from tests import modes


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    path = tmp_path / "closed"
    path.touch(0o000)
    return path


def test_modes_are_obeyed_within_the_block_alone(closed: Path) -> None:
    def opened_by_a_child() -> bool:
        return subprocess.run(["cat", closed], capture_output=True, check=False).returncode == 0

    before = opened_by_a_child()
    with modes.obeyed():
        with pytest.raises(PermissionError):
            closed.read_bytes()
        assert not opened_by_a_child()
        assert not os.access(closed, os.R_OK)
    assert opened_by_a_child() == before
