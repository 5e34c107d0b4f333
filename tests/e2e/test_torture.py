"""A short form of `scripts/torture`: six daemons killed in a row, at many moments, under a writing client,
of a lab with a fault network, which dies too."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.etcd
SEED = 12
KILLS = 6
BOUND_S = 120


def test_six_daemons_killed_in_a_row_cost_nothing(tmp_path: Path) -> None:
    result = tmp_path / "torture.json"
    scripts = Path(__file__).parents[2] / "scripts"
    words = ["kills", "network", "--faults", "--seed", str(SEED), "--kills", str(KILLS), "--json", str(result)]
    done = subprocess.run(
        [sys.executable, "-m", "torturing", *words],
        env={**os.environ, "PYTHONPATH": str(scripts)},
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(result.read_text())
    assert told["findings"] == []
    assert not any(told["lost"].values())
    assert sum(told["kills"].values()) >= KILLS
    assert told["writes"] > 0
