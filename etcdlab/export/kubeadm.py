"""A lab as kubeadm's external etcd."""

import enum
from typing import Final

from etcdlab.export.bundle import BundleFile, ClientPaths, copies
from etcdlab.model.plan import Plan

CONFIG: Final = "/etc/kubernetes/kubeadm.yaml"

PATHS: Final = ClientPaths(
    ca="/etc/kubernetes/pki/etcd/ca.crt",
    certificate="/etc/kubernetes/pki/apiserver-etcd-client.crt",
    private_key="/etc/kubernetes/pki/apiserver-etcd-client.key",
)
"""Where kubeadm's own documentation puts them."""


class ApiVersion(enum.Enum):
    """kubeadm's configuration formats: v1beta4 since Kubernetes 1.31. `etcd.external` is the same in both."""

    V1BETA3 = "v1beta3"
    V1BETA4 = "v1beta4"


def text(plan: Plan, version: ApiVersion) -> str:
    """A `ClusterConfiguration` with nothing but `etcd.external`, for `kubeadm init --config`."""
    lines = [
        f"apiVersion: kubeadm.k8s.io/{version.value}",
        "kind: ClusterConfiguration",
        "etcd:",
        "  external:",
        "    endpoints:",
        *(f"      - {endpoint}" for endpoint in plan.endpoints),
    ]
    if plan.tls is not None:
        lines += [
            f"    caFile: {PATHS.ca}",
            f"    certFile: {PATHS.certificate}",
            f"    keyFile: {PATHS.private_key}",
        ]
    return "\n".join(lines)


def bundle(plan: Plan, version: ApiVersion) -> tuple[BundleFile, ...]:
    """The configuration and the certificates that it names."""
    return (BundleFile(path=CONFIG, text=text(plan, version) + "\n"), *copies(plan, PATHS))
