"""Every example topology boots for real. The recipe's boots in test_recipe.py, which alone uses the ports it names."""

import json
import tomllib
from pathlib import Path

import pytest

from etcdlab.model.status import ClusterVerdict
from etcdlab.model.topology import Profile
from etcdlab.prepare.config import load, override
from tests.e2e.labs import etcdctl, running

pytestmark = pytest.mark.etcd

CONFIGS = Path(__file__).parents[2] / "configs"
EXAMPLES = sorted(path for path in CONFIGS.glob("*.toml") if path.stem != "secure-three")


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_boots_and_serves(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETCDLAB_HOME", str(tmp_path))
    loaded = load(path)
    pinned = "profile" in tomllib.loads(path.read_text()).get("etcd", {})
    topology = loaded.topology if pinned else override(loaded.topology, profile=Profile.FAST)
    with running(topology, base=loaded.base) as (lab, status):
        assert lab.name == topology.name
        assert status.verdict is ClusterVerdict.HEALTHY
        assert status.is_this_lab
        assert [(node.name, node.is_learner) for node in status.nodes] == [
            (member.name, member.learner) for member in topology.members()
        ]
        answers = json.loads(etcdctl(lab, "endpoint", "health", "-w", "json").stdout)
        assert {answer["endpoint"] for answer in answers if answer["health"]} == set(lab.plan.endpoints)
        assert all(url.startswith("https://" if topology.tls.enabled else "http://") for url in lab.plan.endpoints)
