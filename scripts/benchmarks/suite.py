"""A test suite's first fixture, its end, and a lab made pristine between two tests."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from figure import Figure
from product import CannotMeasure
from setting import Setting

from etcdlab.etcd.environment import clean
from etcdlab.etcd.tools import tool
from etcdlab.lab import Lab
from etcdlab.prepare.labdir import LabDirectory

FIRST_S: Final = 0.9
END_S: Final = 0.3
RESET_S: Final = 0.05
KEYS: Final = 1000
TXN_KEYS: Final = 100
"""In one transaction; etcd takes 128 at most (--max-txn-ops)."""

OURS: Final = """
def test_it(etcd):
    pass
"""
USUAL: Final = """
import shutil
import signal
import sys

import pytest

sys.path.insert(0, {benchmarks!r})
from bare import BareCluster, wait_healthy
from etcdlab.model.topology import EtcdTable, Profile, Topology


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    directory = tmp_path_factory.mktemp("usual")
    cluster = BareCluster(Topology(name="usual", nodes=3, etcd=EtcdTable(profile=Profile.FAST)), directory)
    for node in cluster.nodes:
        cluster.spawn(node)
    for node in cluster.nodes:
        wait_healthy(node)
    yield cluster
    for node in cluster.nodes:
        cluster.signal(node, signal.SIGTERM)
    for node in cluster.nodes:
        cluster.reap(node)
    shutil.rmtree(directory)


def test_it(cluster):
    pass
"""
CONFTEST: Final = """
import json
import time
from pathlib import Path

import pytest

took = {}


def timed(name):
    began = time.perf_counter()
    result = yield
    took[name] = time.perf_counter() - began
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup():
    return (yield from timed("first"))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown():
    return (yield from timed("end"))


def pytest_sessionfinish():
    Path(__file__).with_name("took.json").write_text(json.dumps(took))
"""


def measure(setting: Setting) -> Iterator[Figure]:
    """Suites of one test with three members, TLS, fast profile; then `reset` after a test that wrote 1,000 keys."""
    ours, usual = _suite(setting, "ours", OURS), _suite(setting, "usual", USUAL)
    pairs = [(_run(setting, ours), _run(setting, usual)) for _ in range(setting.runs)]
    for key, name, target in (("first", "suite, first fixture ready", FIRST_S), ("end", "suite, its end", END_S)):
        yield Figure(
            name=name,
            unit="s",
            samples=tuple(own[key] for own, _ in pairs),
            beside=tuple(other[key] for _, other in pairs),
            beside_name="session fixture, all at once",
            target=target,
        )
    yield Figure(name=f"reset, {KEYS} keys", unit="s", samples=_resets(setting), target=RESET_S)


def _suite(setting: Setting, name: str, test: str) -> Path:
    directory = setting.scratch / name
    directory.mkdir()
    (directory / "conftest.py").write_text(CONFTEST)
    (directory / "test_it.py").write_text(test.format(benchmarks=str(Path(__file__).parent)))
    (directory / "pytest.ini").write_text("[pytest]\n")
    return directory


def _run(setting: Setting, suite: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(suite)]
    done = subprocess.run(
        command, env=setting.product.environment, cwd=suite, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CannotMeasure(f"the suite in {suite} failed:\n{done.stdout}")
    took: dict[str, float] = json.loads((suite / "took.json").read_text())
    return took


def _resets(setting: Setting) -> tuple[float, ...]:
    setting.product.run("up", "--name", "reset", "--profile", "fast")
    lab = Lab(LabDirectory(setting.product.home / "reset"))
    samples = []
    for _ in range(setting.runs):
        _fill(lab)
        began = time.perf_counter()
        outcome = lab.reset()
        samples.append(time.perf_counter() - began)
        if outcome.rebuilt:
            raise CannotMeasure(f"the lab was rebuilt: {outcome.why}")
    setting.product.purge("reset")
    return tuple(samples)


def _fill(lab: Lab) -> None:
    for start in range(0, KEYS, TXN_KEYS):
        puts = "\n".join(f"put key-{number} value" for number in range(start, start + TXN_KEYS))
        command = [str(tool(lab.plan, "etcdctl")), "txn"]
        environment = clean({}) | lab.env()
        subprocess.run(command, input=f"\n{puts}\n\n\n", env=environment, capture_output=True, text=True, check=True)
