"""A cluster that was there before the tests: they may use it, nobody may stop its members or wipe its keys."""

from dataclasses import dataclass
from typing import Final, NoReturn

import pytest

from etcdlab.pytest_plugin.settings import setting

WHY: Final = "needs control of its cluster, and --etcdlab-endpoints names one that etcdlab did not start"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExistingCluster:
    """What a Lab says about how to connect. Whatever else a test asks of it skips the test."""

    endpoints: tuple[str, ...]
    ca_cert: str | None
    client_cert: str | None
    client_key: str | None

    def env(self) -> dict[str, str]:
        """etcdctl's variables for this cluster."""
        values = {
            "ETCDCTL_ENDPOINTS": ",".join(self.endpoints),
            "ETCDCTL_CACERT": self.ca_cert,
            "ETCDCTL_CERT": self.client_cert,
            "ETCDCTL_KEY": self.client_key,
        }
        return {name: value for name, value in values.items() if value}

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        pytest.skip(f"{name!r} {WHY}")


def existing_cluster(config: pytest.Config) -> ExistingCluster | None:
    """The cluster that the settings name, if they name one."""
    endpoints = setting(config, "endpoints")
    if endpoints is None:
        return None
    return ExistingCluster(
        endpoints=tuple(url.strip() for url in endpoints.split(",")),
        ca_cert=_text(setting(config, "cacert")),
        client_cert=_text(setting(config, "cert")),
        client_key=_text(setting(config, "key")),
    )


def _text(path: object) -> str | None:
    return None if path is None else str(path)
