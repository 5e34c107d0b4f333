"""What tests of labs share: a home of their own that must be empty again, and one running lab to look at."""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, settings

from etcdlab.lab import Lab
from etcdlab.model.topology import EtcdTable, Profile, Topology
from etcdlab.prepare.ports import Ports
from tests.fake_lab import FakeLab

pytest_plugins = ["pytester"]

# A shell has what it runs in the background ignore the first two, `nohup` the third, and tests' programs would too:
# Ctrl-C and closed terminals are tested.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# The same examples each time in CI. `--hypothesis-profile=thorough` looks for what is left, for minutes.
settings.register_profile("usual", deadline=None, derandomize="CI" in os.environ)
settings.register_profile("thorough", deadline=None, max_examples=100 * 50, suppress_health_check=list(HealthCheck))
settings.load_profile("usual")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, saying why, what needs an etcd that is not there."""
    if shutil.which("etcd") is None:
        for item in items:
            if item.get_closest_marker("etcd"):
                item.add_marker(pytest.mark.skip(reason="etcd is not installed"))


def processes_of(home: Path) -> list[psutil.Process]:
    """The processes that have a path below `home` in their command line: daemons and members of its labs."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(f"{home}/" in argument for argument in process.info["cmdline"] or ())
    ]


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An ETCDLAB_HOME, short enough for sockets. At the end there must be no lab in it and no process of one."""
    path = Path(tempfile.mkdtemp(prefix="lab-"))
    monkeypatch.setenv("ETCDLAB_HOME", str(path))
    monkeypatch.delenv("ETCDLAB_LAB", raising=False)
    yield path
    left = processes_of(path)
    told = [" ".join(process.info["cmdline"]) for process in left]
    entries = sorted(str(entry.relative_to(path)) for entry in path.rglob("*"))
    for process in left:
        process.kill()
    shutil.rmtree(path)
    assert (told, entries) == ([], [])


@pytest.fixture(scope="session")
def _shared_lab() -> Iterator[tuple[Path, Lab]]:
    with tempfile.TemporaryDirectory(prefix="lab-") as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ETCDLAB_HOME", home)
        topology = Topology(name="shared", nodes=3, etcd=EtcdTable(profile=Profile.FAST))
        with Lab.up(topology) as lab:  # gone with this process, however that ends
            yield Path(home), lab


@pytest.fixture
def shared_lab(_shared_lab: tuple[Path, Lab], monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A running lab of three for tests that only look; all of a worker share it. Mark them `etcd`."""
    home, lab = _shared_lab
    monkeypatch.setenv("ETCDLAB_HOME", str(home))
    monkeypatch.delenv("ETCDLAB_LAB", raising=False)
    return lab


@pytest.fixture
def ports() -> Iterator[Ports]:
    """Chooses free ports, which no other test gets as long as this one runs."""
    with Ports() as ports:
        yield ports


@pytest.fixture
def make_lab(home: Path, ports: Ports) -> Iterator[Callable[..., FakeLab]]:
    """Makes a lab of fake members; the arguments are what its n2 does wrong."""
    made: list[FakeLab] = []

    def make(*n2: str, stop_s: float = 10.0) -> FakeLab:
        made.append(FakeLab(home, ports, *n2, stop_s=stop_s))
        return made[-1]

    yield make
    for lab in made:
        lab.purge()


@pytest.fixture
def fake_lab(make_lab: Callable[..., FakeLab]) -> FakeLab:
    """One that does nothing wrong."""
    return make_lab()
