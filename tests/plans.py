"""Hand-made plans, for tests of what only reads a lab: nothing of them runs, their ports are never bound."""

from collections.abc import Sequence
from pathlib import Path

from etcdlab.model.plan import IdentityPlan, NodePlan, Plan, TimeoutsPlan, TlsPlan
from etcdlab.model.restart import RestartRules
from etcdlab.prepare.labdir import LabDirectory


def make_plan(
    tmp_path: Path,
    nodes: int = 3,
    tls: bool = True,
    *,
    lab: str = "demo",
    learners: int = 0,
    etcdctl: str | None = "/usr/bin/etcdctl",
    client_ports: Sequence[int] = (),
) -> Plan:
    """A plan of members n1 to nN (the last ones learners), saved as lab `lab`; ETCDLAB_HOME is to be `tmp_path`.

    URLs are the recipe's, https://localhost:1179 and so on, unless `client_ports` are given. With TLS there are the
    identities "client" (no CN) and "root", whose files are named but not made.
    """
    directory = LabDirectory(tmp_path / lab)
    directory.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    ports = client_ports or [1079 + 100 * number for number in range(1, nodes + 1)]
    plan = Plan(
        lab=lab,
        directory=str(directory.path),
        socket=str(directory.path / "control.sock"),
        token="etcd-cluster-token",
        cluster_id="0123456789abcdef",
        election_timeout_s=1.0,
        etcdctl=etcdctl,
        nodes=tuple(
            _node(directory, number, port, tls=tls, learner=number > nodes - learners)
            for number, port in enumerate(ports, start=1)
        ),
        tls=_tls(directory) if tls else None,
        pki=None,
        restart=RestartRules(),
        timeouts=TimeoutsPlan(boot_s=60, stage_s=2, probe_s=1, stop_s=8),
        log_size=2**20,
        log_count=3,
    )
    directory.save_plan(plan)
    return plan


def member_argv(node: Path) -> tuple[str, str]:
    """What tells a member whose directory is `node` from other processes."""
    return f"--data-dir={node / 'data'}", "--listen-peer-urls=http://127.0.0.1:1"


def _node(directory: LabDirectory, number: int, port: int, *, tls: bool, learner: bool) -> NodePlan:
    name = f"n{number}"
    scheme = "https" if tls else "http"
    return NodePlan(
        name=name,
        learner=learner,
        client_url=f"{scheme}://localhost:{port}",
        peer_url=f"{scheme}://localhost:{port + 1}",
        metrics_url=f"http://localhost:{port + 2}",
        client_port=port,
        peer_port=port + 1,
        metrics_port=port + 2,
        directory=str(directory.node(name)),
        data_dir=str(directory.node(name) / "data"),
        log=str(directory.node(name) / "etcd.log"),
        etcd_version="3.5.16",
        argv=("etcd", "--name", name),
        env={},
        member_id=None if learner else f"{number:016x}",
    )


def _tls(directory: LabDirectory) -> TlsPlan:
    def identity(name: str, cn: str) -> IdentityPlan:
        stem = str(directory.pki / name)
        return IdentityPlan(name=name, cn=cn, certificate=f"{stem}.pem", private_key=f"{stem}-key.pem")

    return TlsPlan(
        ca=str(directory.pki / "ca.pem"),
        identities=(identity("client", ""), identity("root", "root")),
        min_version="1.2",
    )
