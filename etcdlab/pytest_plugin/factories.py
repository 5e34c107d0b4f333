"""Fixtures of one's own: `my_etcd = factories.lab(nodes=5, scope="module")` in a conftest.py."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from etcdlab.pytest_plugin.session import Session

Scope = Literal["session", "package", "module", "class", "function"]


def lab(*, scope: Scope = "session", name: str | None = None, **shape: Any) -> Callable[..., Any]:
    """A fixture that gives a pristine lab of this shape: topology, nodes, profile, tls, faults, etcd, timeout.

    What is not said here comes from the test's marker and the plugin's settings. A relative `topology` is relative to
    pytest's root directory. `name` is the fixture's, by default the variable's.
    """

    @pytest.fixture(scope=scope, name=name)
    def etcdlab_lab(request: pytest.FixtureRequest, _etcdlab: "Session") -> Iterator[Any]:
        """A pristine lab, as declared with `etcdlab.pytest_plugin.factories.lab`."""
        with _etcdlab.leased(shape, *_etcdlab.marked(request.node)) as leased:
            yield leased

    return etcdlab_lab
