"""What people use today for an etcd cluster of three on their own machine, each as its own documentation has it."""

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from etcdlab.model.certificate import KeyType
from etcdlab.model.topology import Leaves, NodeTable, TlsTable, Topology
from etcdlab.prepare import config
from etcdlab.prepare.ports import LOOPBACK, Ports

RECIPE: Final = Path(__file__).parents[2] / "tests" / "pki" / "recipe"
MEMBERS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A directory, and for each member the ports for clients, peers and metrics."""

    directory: Path
    clients: tuple[int, ...]
    peers: tuple[int, ...]
    metrics: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One way to a cluster. `command` writes what it needs into the place and gives the arguments that start it.

    `health` are the plain HTTP ports of its members, `is_detached` says that the command leaves a daemon behind.
    """

    name: str
    command: Callable[[Place], Sequence[str]]
    health: Callable[[Place], Sequence[int]]
    programs: tuple[str, ...] = ()
    is_detached: bool = False

    @property
    def missing(self) -> tuple[str, ...]:
        """The programs that are not installed."""
        return tuple(program for program in self.programs if which(program) is None)


def which(program: str) -> str | None:
    """A program of this environment or on PATH."""
    return shutil.which(program, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def place(directory: Path) -> Place:
    """A new directory, and ports that are free."""
    directory.mkdir()
    with Ports() as ports:
        # pifpaf is given the first of six in a row, of which the even ones are for clients.
        first = next(port for port in iter(ports.choose, None) if _is_row(ports, port))
        return Place(
            directory=directory,
            clients=tuple(range(first, first + 2 * MEMBERS, 2)),
            peers=tuple(range(first + 1, first + 2 * MEMBERS, 2)),
            metrics=tuple(ports.choose() for _ in range(MEMBERS)),
        )


def _is_row(ports: Ports, first: int) -> bool:
    return [ports.choose() for _ in range(2 * MEMBERS - 1)] == list(range(first + 1, first + 2 * MEMBERS))


def _clients(where: Place) -> Sequence[int]:
    return where.clients


def _metrics(where: Place) -> Sequence[int]:
    return where.metrics


def _topology(where: Place, *, tls: TlsTable) -> str:
    nodes = tuple(
        NodeTable(name=f"n{number}", client_port=client, peer_port=peer, metrics_port=metrics)
        for number, (client, peer, metrics) in enumerate(
            zip(where.clients, where.peers, where.metrics, strict=True), start=1
        )
    )
    file = where.directory / "lab.toml"
    file.write_text(config.dump(Topology(name="peers", node=nodes, tls=tls)))
    return str(file)


def _up(where: Place) -> Sequence[str]:
    return ["etcdlab", "up", _topology(where, tls=TlsTable())]


def _up_as_the_recipe(where: Place) -> Sequence[str]:
    return ["etcdlab", "up", _topology(where, tls=TlsTable(key=KeyType.RSA_4096, leaves=Leaves.SHARED))]


def _exec(where: Place) -> Sequence[str]:
    return ["etcdlab", "exec", _topology(where, tls=TlsTable()), "--", "sleep", "600"]


def _pifpaf(where: Place) -> Sequence[str]:
    first = where.clients[0]
    return ["pifpaf", "run", "etcd", "--cluster", "--port", str(first), "--", "sleep", "600"]


def _etcds(where: Place, *, scheme: str, more: Sequence[str] = ()) -> list[list[str]]:
    """Command lines as in etcd's own Procfile."""
    cluster = ",".join(f"n{number}={scheme}://{LOOPBACK}:{port}" for number, port in enumerate(where.peers, start=1))
    return [
        [
            "etcd", f"--name=n{number}", f"--data-dir={where.directory / f'n{number}'}",
            f"--listen-client-urls={scheme}://{LOOPBACK}:{client}",
            f"--advertise-client-urls={scheme}://{LOOPBACK}:{client}",
            f"--listen-peer-urls={scheme}://{LOOPBACK}:{peer}",
            f"--initial-advertise-peer-urls={scheme}://{LOOPBACK}:{peer}",
            f"--listen-metrics-urls=http://{LOOPBACK}:{metrics}",
            "--initial-cluster-token=etcd-cluster-1", f"--initial-cluster={cluster}", "--initial-cluster-state=new",
            *more,
        ]
        for number, (client, peer, metrics) in enumerate(
            zip(where.clients, where.peers, where.metrics, strict=True), start=1
        )
    ]  # fmt: skip


def _honcho(where: Place) -> Sequence[str]:
    lines = [f"n{number}: {' '.join(etcd)}" for number, etcd in enumerate(_etcds(where, scheme="http"), start=1)]
    file = where.directory / "Procfile"
    file.write_text("\n".join(lines) + "\n")
    return ["honcho", "start", "--procfile", str(file)]


def _supervisord(where: Place) -> Sequence[str]:
    programs = [
        f"[program:n{number}]\ncommand={' '.join(etcd)}\nautorestart=true\nredirect_stderr=true\n"
        for number, etcd in enumerate(_etcds(where, scheme="http"), start=1)
    ]
    own = {"nodaemon": "true", "logfile": "supervisord.log", "pidfile": "supervisord.pid", "childlogdir": "."}
    head = "".join(f"{key}={value if value == 'true' else where.directory / value}\n" for key, value in own.items())
    file = where.directory / "supervisord.conf"
    file.write_text(f"[supervisord]\n{head}\n" + "\n".join(programs))
    return ["supervisord", "--configuration", str(file)]


def _recipe(where: Place) -> Sequence[str]:
    pki = where.directory / "pki"
    pki.mkdir(exist_ok=True)
    for file in RECIPE.glob("*.json"):
        shutil.copy(file, pki)
    ca, pair = f"{pki}/ca.pem", (f"{pki}/server.pem", f"{pki}/server-key.pem")
    flags = [
        f"--cert-file={pair[0]}", f"--key-file={pair[1]}", f"--trusted-ca-file={ca}", "--client-cert-auth=true",
        f"--peer-cert-file={pair[0]}", f"--peer-key-file={pair[1]}", f"--peer-trusted-ca-file={ca}",
        "--peer-client-cert-auth=true",
    ]  # fmt: skip
    script = where.directory / "cluster.sh"
    gencert = "cfssl gencert -loglevel=5 -ca=ca.pem -ca-key=ca-key.pem -config=ca-config.json"
    script.write_text(
        "\n".join(
            [
                f"cd {pki}",
                "if [ ! -e ca.pem ]; then",
                "cfssl gencert -loglevel=5 -initca ca-csr.json | cfssljson -bare ca",
                f"{gencert} -profile=server server-csr.json | cfssljson -bare server",
                f"{gencert} -profile=client client-csr.json | cfssljson -bare client",
                "fi",
                *(f"{' '.join(etcd)} &" for etcd in _etcds(where, scheme="https", more=flags)),
                "wait",
            ]
        )
    )
    return ["bash", str(script)]


UP: Final = Peer(name="etcdlab up", command=_up, health=_metrics, is_detached=True)
UP_AS_THE_RECIPE: Final = Peer(
    name="etcdlab up, RSA-4096", command=_up_as_the_recipe, health=_metrics, is_detached=True
)
EXEC: Final = Peer(name="etcdlab exec", command=_exec, health=_metrics)
PAIRS: Final = (
    (EXEC, Peer(name="pifpaf run etcd --cluster", programs=("pifpaf", "etcdctl"), command=_pifpaf, health=_clients)),
    (UP, Peer(name="Procfile under honcho", programs=("honcho",), command=_honcho, health=_metrics)),
    (UP, Peer(name="supervisord", programs=("supervisord",), command=_supervisord, health=_metrics)),
    (
        UP_AS_THE_RECIPE,
        Peer(name="recipe with cfssl", programs=("cfssl", "cfssljson"), command=_recipe, health=_metrics),
    ),
)
"""What of etcdlab does the same job, and the peer. Only the recipe has certificates, as has all of etcdlab's."""
