"""What an export writes beside its text: files laid out under a directory that stands for `/` of another machine."""

from dataclasses import dataclass

from etcdlab.model.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFile:
    """One file to write at `path` (absolute, where it is to end up): `text`, or a copy of the lab's file `source`."""

    path: str
    text: str | None = None
    source: str | None = None
    secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientPaths:
    """Where a client of etcd on another machine keeps its certificate files."""

    ca: str
    certificate: str
    private_key: str


def copies(plan: Plan, paths: ClientPaths) -> tuple[BundleFile, ...]:
    """The default client's files at `paths`; none for a lab without TLS."""
    if plan.tls is None:
        return ()
    client = plan.tls.client
    return (
        BundleFile(path=paths.ca, source=plan.tls.ca),
        BundleFile(path=paths.certificate, source=client.certificate),
        BundleFile(path=paths.private_key, source=client.private_key, secret=True),
    )
