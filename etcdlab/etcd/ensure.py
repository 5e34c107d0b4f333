"""An etcd in any case: one that is there, else one installed into the cache."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from etcdlab.errors import BinaryError
from etcdlab.etcd.binaries import Binary, find

if TYPE_CHECKING:
    from etcdlab.etcd.install import Progress


def ensure(*, path: str | None, version: str | None, progress: Callable[["Progress"], None]) -> Binary:
    """Find an etcd as `binaries.find` does, and install one when there is none and no path was named.

    Raises BinaryError and UsageError as `find` and `install` do.
    """
    try:
        return find(path=path, version=version)
    except BinaryError as nothing:
        if path is not None:
            raise
        from etcdlab.etcd.install import install  # 13 ms that a machine with an etcd does not pay

        try:
            return install(version, progress=progress)
        except BinaryError as failure:
            raise BinaryError(f"{nothing.message}\n{failure.message}", hint=failure.hint) from failure
