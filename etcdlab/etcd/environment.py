"""Our environment as etcd and its tools may see it."""

from collections.abc import Mapping
from typing import Final

_KEPT: Final = "ETCD_UNSUPPORTED_ARCH"
"""No flag, and on arm64 etcd 3.4 does not start without it."""


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """Without etcd's and etcdctl's own settings, which are fatal where they repeat a flag, and without proxies."""
    return {
        name: value
        for name, value in environment.items()
        if name == _KEPT or not (name.startswith(("ETCD_", "ETCDCTL_")) or name.upper().endswith("_PROXY"))
    }
