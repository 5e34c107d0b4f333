"""The entry point: options, fixtures, and the section about the lab in a failed test's report."""

import os
import sys
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, Final

import pytest

from etcdlab.pytest_plugin.settings import CHAOS_FIXTURE, CHAOS_MARKER, MARKER, add_options, check, setting

if TYPE_CHECKING:  # what labs need is imported by the first fixture that is asked for: other suites do not pay for it
    from etcdlab.chaos import Chaos
    from etcdlab.lab import Lab
    from etcdlab.pytest_plugin.existing import ExistingCluster
    from etcdlab.pytest_plugin.pool import Pool
    from etcdlab.pytest_plugin.session import LabFactory, Session

_SESSION: Final = pytest.StashKey["Session"]()
_SHARED: Final = pytest.StashKey["Pool"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the plugin's settings."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers, and refuse settings that cannot be meant."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(nodes=…, profile=…, topology=…, tls=…, faults=…, etcd=…, timeout=…): the lab that `etcd` gives.",
    )
    config.addinivalue_line(
        "markers",
        f"{CHAOS_MARKER}(scenario, seed=…): a file, or a table as in one: what its lab has to bear meanwhile.",
    )
    check(config)


@pytest.fixture(scope="session")
def _etcdlab(pytestconfig: pytest.Config) -> "Iterator[Session]":
    from etcdlab.pytest_plugin.session import Session

    session = pytestconfig.stash[_SESSION] = Session(pytestconfig)
    yield session
    session.pool.close()
    del pytestconfig.stash[_SESSION]


@pytest.fixture(scope="session")
def etcd_cluster(_etcdlab: "Session") -> "Iterator[Lab | ExistingCluster]":
    """A real etcd cluster for the whole session, ready: three members with mutual TLS unless told otherwise.

    An `etcdlab.Lab`: endpoints, ca_cert, client_cert, client_key, member(name), stopped(name), wait_for_event(…), …
    Tests see what earlier tests left in it; use `etcd` to find it pristine.
    """
    with _etcdlab.cluster() as cluster:
        yield cluster


@pytest.fixture
def etcd(request: pytest.FixtureRequest, _etcdlab: "Session") -> "Iterator[Lab | ExistingCluster]":
    """The session's etcd cluster, pristine: no keys, leases, users, roles, alarms, all members up.

    `@pytest.mark.etcdlab(nodes=5)` asks for a lab of that shape. With --etcdlab-shared or an existing cluster nothing
    is reset: keep to `etcd_prefix` then.
    """
    with _etcdlab.pristine(request) as cluster:
        yield cluster


@pytest.fixture
def etcd_prefix() -> str:
    """A key prefix that no other test has, for clusters that are shared."""
    return f"/test-{os.urandom(8).hex()}/"


@pytest.fixture
def etcd_cluster_factory(request: pytest.FixtureRequest, _etcdlab: "Session") -> "Iterator[LabFactory]":
    """Makes labs of this test's own: `etcd_cluster_factory(nodes=5)`. They are gone when the test is over."""
    with _etcdlab.factory(request.node) as factory:
        yield factory


@pytest.fixture
def etcd_chaos(request: pytest.FixtureRequest, _etcdlab: "Session") -> "Iterator[Chaos]":
    """The scenario of the test's marker `etcdlab_chaos`, which is done to its lab meanwhile: `seed`, `steps`.

    The marker alone does that, too. At the end the lab is healed; that it cannot be is an error of the test.
    """
    with _etcdlab.chaos(request) as chaos:
        yield chaos


def pytest_itemcollected(item: pytest.Item) -> None:
    """Have chaos begin when all other fixtures of a test that is marked are there, and end before they do."""
    if isinstance(item, pytest.Function) and item.get_closest_marker(CHAOS_MARKER):
        item.fixturenames = [*(name for name in item.fixturenames if name != CHAOS_FIXTURE), CHAOS_FIXTURE]


# The report of a failed test


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note where the labs are, for the report."""
    if (session := item.config.stash.get(_SESSION, None)) is not None:
        session.mark()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add a section about each lab that the failed test used."""
    report = yield
    if report.failed and report.when != "teardown" and "etcdlab.lab" in sys.modules:
        from etcdlab.pytest_plugin.failure import sections

        error = call.excinfo.value if call.excinfo else None
        report.sections.extend(sections(item, error, item.config.stash.get(_SESSION, None)))
    return report


# One lab for all xdist workers


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """With --etcdlab-shared, start the lab in the process that starts the workers, and tell them its name."""
    config = node.config
    if setting(config, "shared") and setting(config, "endpoints") is None:
        from etcdlab.pytest_plugin.session import SHARED_LAB

        if _SHARED not in config.stash:
            config.stash[_SHARED] = _pool_with_one(config)
        node.workerinput[SHARED_LAB] = config.stash[_SHARED].labs[0].name


def _pool_with_one(config: pytest.Config) -> "Pool":
    from etcdlab.errors import EtcdlabError
    from etcdlab.pytest_plugin.pool import Pool
    from etcdlab.pytest_plugin.shape import resolve

    pool = Pool(worker="shared", limit=1, keep=False)
    try:
        pool.make(resolve(config))
    except EtcdlabError as error:
        raise pytest.UsageError(f"--etcdlab-shared: {error}\n{error.hint}".rstrip()) from None
    return pool


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the lab that the workers shared."""
    if (pool := config.stash.get(_SHARED, None)) is not None:
        pool.close()
