"""A lab as the storage of a Kubernetes API server that is started by hand or by a systemd unit."""

from typing import Final

from etcdlab.export.bundle import BundleFile, ClientPaths, copies
from etcdlab.model.plan import Plan

CONFIG: Final = "/etc/kubernetes/config"
"""The units' EnvironmentFile."""

PATHS: Final = ClientPaths(
    ca="/etc/kubernetes/ssl/ca.pem",
    certificate="/etc/kubernetes/ssl/client.pem",
    private_key="/etc/kubernetes/ssl/client-key.pem",
)


def flags(plan: Plan) -> tuple[str, ...]:
    """kube-apiserver's own flags. It talks gRPC only, so a client certificate with a CN is as good as one without."""
    servers = f"--etcd-servers={','.join(plan.endpoints)}"
    if plan.tls is None:
        return (servers,)
    return (
        servers,
        f"--etcd-cafile={PATHS.ca}",
        f"--etcd-certfile={PATHS.certificate}",
        f"--etcd-keyfile={PATHS.private_key}",
    )


def config_line(plan: Plan) -> str:
    """The line of `/etc/kubernetes/config` that a unit's `ExecStart=kube-apiserver $KUBE_ETCD_SERVERS …` expands."""
    return f'KUBE_ETCD_SERVERS="{" ".join(flags(plan))}"'


def text(plan: Plan) -> str:
    """Both forms, each under a comment that says where it goes."""
    return "\n".join([f"# {CONFIG}", config_line(plan), "", "# kube-apiserver", *flags(plan)])


def bundle(plan: Plan) -> tuple[BundleFile, ...]:
    """The config file and the certificates that it names."""
    return (BundleFile(path=CONFIG, text=config_line(plan) + "\n"), *copies(plan, PATHS))
