"""What the fixtures of one test session share: its labs, or the cluster that is used instead."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import pytest

from etcdlab.errors import EtcdlabError
from etcdlab.history import Mark
from etcdlab.lab import Lab
from etcdlab.pytest_plugin.existing import WHY, ExistingCluster, existing_cluster
from etcdlab.pytest_plugin.pool import Pool
from etcdlab.pytest_plugin.scenario import marked_scenario
from etcdlab.pytest_plugin.settings import setting
from etcdlab.pytest_plugin.shape import marked, resolve

if TYPE_CHECKING:
    from etcdlab.chaos import Chaos
    from etcdlab.model.topology import Topology

MAX_LABS: Final = 3
CONTROLLER_POLL_S: Final = 0.5
SHARED_LAB: Final = "etcdlab_shared_lab"
"""The key under which the controller tells its xdist workers the name of the lab that they share."""


@contextlib.contextmanager
def _told_plainly() -> Iterator[None]:
    """A fixture that has no lab to give says why in a sentence: a traceback of this plugin tells nobody anything."""
    try:
        yield
    except (EtcdlabError, pytest.UsageError) as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


class LabFactory:
    """Makes labs of one test's own; `labs` are those that it made."""

    def __init__(self, node: pytest.Item, pool: Pool) -> None:
        self._node = node
        self._pool = pool
        self.labs: list[Lab] = []

    def __call__(self, topology: "Topology | str | os.PathLike[str] | None" = None, **shape: Any) -> Lab:
        """Make a lab and wait until it is ready. Raises what `Lab.up` does, and pytest.UsageError."""
        __tracebackhide__ = True
        try:
            said = {"topology": topology, **shape}
            lab = self._pool.make(resolve(self._node.config, said, *marked(self._node)))
        except (EtcdlabError, pytest.UsageError) as error:
            raise error.with_traceback(None) from None  # the traceback ends at the test's own line
        self.labs.append(lab)
        return lab


class Session:
    """The plugin's state, from the first fixture that needs it."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._input: Mapping[str, Any] = getattr(config, "workerinput", {})
        self.existing = existing_cluster(config)
        self._is_shared = bool(setting(config, "shared"))
        self.pool = Pool(
            worker=self._input.get("workerid", "main"),
            limit=setting(config, "max_labs") or MAX_LABS,
            keep=bool(setting(config, "keep")),
        )
        # The lab that all xdist workers share, if they do.
        self.attached = Lab.attach(self._input[SHARED_LAB]) if SHARED_LAB in self._input else None
        self._began: dict[Lab, Mark] = {}
        if self._input:
            _end_with_controller()

    @contextlib.contextmanager
    def leased(self, *layers: Mapping[str, Any]) -> Iterator[Lab]:
        """A pristine lab of the shape that `layers` and the settings ask for. Skips if there is an existing cluster."""
        if self.existing is not None:
            pytest.skip(f"a lab of its own {WHY}")
        with _told_plainly():
            lab = self.pool.lease(resolve(self._config, *layers))
        try:
            yield lab
        finally:
            self.pool.give_back(lab)

    @contextlib.contextmanager
    def cluster(self) -> Iterator[Lab | ExistingCluster]:
        """The cluster of the whole session, be it started, shared by workers, or there before."""
        if (given := self.existing or self.attached) is not None:
            yield given
        else:
            with self.leased() as lab:
                yield lab

    @contextlib.contextmanager
    def pristine(self, request: pytest.FixtureRequest) -> Iterator[Lab | ExistingCluster]:
        """The session's cluster, pristine if it is this session's alone, or the lab that the test's markers ask for."""
        layers = self.marked(request.node)
        with _told_plainly():
            is_special = resolve(self._config, *layers) != resolve(self._config)
        if is_special or (layers and self.existing is not None):
            with self.leased(*layers) as lab:
                yield lab
            return
        cluster = request.getfixturevalue("etcd_cluster")
        if self.existing is not None or self._is_shared:
            yield cluster
        elif self.pool.is_usable(cluster):
            with _told_plainly():
                self.pool.pristine(cluster)
            yield cluster
        else:
            with self.leased() as lab:
                yield lab

    @contextlib.contextmanager
    def factory(self, node: pytest.Item) -> Iterator[LabFactory]:
        """Makes labs that are gone at the end of the block. Skips if there is an existing cluster."""
        if self.existing is not None:
            pytest.skip(f"a lab of its own {WHY}")
        factory = LabFactory(node, self.pool)
        yield factory
        for lab in factory.labs:
            self.pool.discard(lab)

    @contextlib.contextmanager
    def chaos(self, request: pytest.FixtureRequest) -> Iterator["Chaos"]:
        """The scenario of the test's marker, done to its lab inside the block."""
        if self.existing is not None:
            pytest.skip(f"a scenario {WHY}")
        if self._is_shared:
            pytest.skip("a scenario would be done to the tests of all workers, which share one lab (--etcdlab-shared)")
        with _told_plainly():
            scenario = marked_scenario(request.node)
            lab = _only(labs_of(request.node)) or request.getfixturevalue("etcd")
            with lab.chaos(scenario.source, seed=scenario.seed) as chaos:
                yield chaos

    def marked(self, node: pytest.Item | pytest.Collector) -> list[Mapping[str, Any]]:
        """What the node's markers say of its lab, the closest first."""
        with _told_plainly():
            return marked(node)

    def mark(self) -> None:
        """Note where all labs are: a test begins."""
        self._began.clear()
        for lab in (*self.pool.labs, *filter(None, [self.attached])):
            with contextlib.suppress(EtcdlabError):  # a test has removed it
                self._began[lab] = lab.mark()

    def began(self, lab: Lab) -> Mark | None:
        """Where the lab was when the test began; None when it was not there yet."""
        return self._began.get(lab)


def labs_of(item: pytest.Item) -> list[Lab]:
    """The labs among the values of the test's fixtures."""
    found: list[Lab] = []
    for value in getattr(item, "funcargs", {}).values():
        if isinstance(value, Lab):
            found.append(value)
        elif isinstance(value, LabFactory):
            found += value.labs
    return list(dict.fromkeys(found))


def _only(labs: list[Lab]) -> Lab | None:
    if len(labs) > 1:
        raise pytest.UsageError(
            f"the test has {len(labs)} labs, and a marker is about one: in the test, `with lab.chaos(…):` says which"
        )
    return labs[0] if labs else None


def _end_with_controller() -> None:
    """End this xdist worker soon after its controller was killed, and its labs with it.

    By itself execnet lets a test that is running go on for up to 15 s, and its results would reach nobody.
    """
    controller = os.getppid()

    def watch() -> None:
        while os.getppid() == controller:
            time.sleep(CONTROLLER_POLL_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="etcdlab: watch the controller").start()
