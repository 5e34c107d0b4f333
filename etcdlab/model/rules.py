"""What makes a topology sound as a whole, beyond the type of each value. Pure: nothing of this machine is looked at.

Each rule yields (key path, sentence); arrays are counted from 0. All rules always run: a person repairs a file once and
not once for each mistake. What concerns certificates is in `etcdlab.pki.roles`.
"""

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from etcdlab.model import quorum
from etcdlab.model.link import CLIENTS
from etcdlab.model.topology import CompactionMode, EtcdTable, NodeTable, Profile, Topology

Problem = tuple[str, str]
"""Key path, sentence."""

MOST_NODES: Final = 50
VERSION: Final = re.compile(r"v?\d+\.\d+(\.\d+([-+~.][0-9A-Za-z.+~-]+)?)?", re.ASCII)
"""A whole version, or a minor for any of its releases."""

_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_LONGEST_NAME: Final = 48
_FLAG: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)
_UNUSABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_HOST: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.(?!-)[A-Za-z0-9-]{1,63})*", re.ASCII)
_GO_DURATION: Final = re.compile(r"\d+|(\d+(\.\d+)?(ns|us|ms|s|m|h))+", re.ASCII)
_PORTS: Final = ("client_port", "peer_port", "metrics_port")
_PER_MEMBER: Final = "differs from member to member: give it in that [[node]] table's args"

RESERVED: Final[Mapping[str, str]] = {
    "name": "use node.name",
    "data-dir": "use node.data_dir",
    "listen-client-urls": "use node.client_port",
    "advertise-client-urls": "use node.client_port and etcd.advertise_host",
    "listen-peer-urls": "use node.peer_port",
    "initial-advertise-peer-urls": "use node.peer_port and etcd.advertise_host",
    "listen-metrics-urls": "use node.metrics_port",
    "initial-cluster": "list the members in [[node]] tables",
    "initial-cluster-state": "a lab always starts a new cluster",
    "initial-cluster-token": "use etcd.token",
    "discovery": "list the members in [[node]] tables",
    "discovery-srv": "list the members in [[node]] tables",
    "force-new-cluster": "it would cut the member off from its lab",
    "config-file": "etcd ignores all other flags when it has one",
    "cert-file": "see [tls]",
    "key-file": "see [tls]",
    "client-cert-auth": "see tls.enabled",
    "trusted-ca-file": "see [tls.ca]",
    "client-crl-file": "`etcdlab tls fault NODE revoked` revokes certificates of a lab",
    "auto-tls": "see tls.enabled",
    "peer-cert-file": "see [tls]",
    "peer-key-file": "see [tls]",
    "peer-client-cert-auth": "see tls.enabled",
    "peer-trusted-ca-file": "see [tls.ca]",
    "peer-crl-file": "`etcdlab tls fault NODE revoked` revokes certificates of a lab",
    "peer-auto-tls": "see tls.enabled",
    "tls-min-version": "use tls.min_version",
    "quota-backend-bytes": "use etcd.quota",
    "snapshot-count": "use etcd.snapshot_count",
    "auto-compaction-mode": "use etcd.auto_compaction_mode",
    "auto-compaction-retention": "use etcd.auto_compaction_retention",
    "logger": "etcdlab reads etcd's JSON log",
    "log-format": "etcdlab reads etcd's JSON log",
    "log-outputs": "etcdlab gives each member its log file, see [logs]",
    "enable-log-rotation": "see [logs]",
    "log-rotation-config-json": "see [logs]",
}
"""Flags that etcdlab sets itself, and what to use instead. etcd takes the last of two, silently."""

_TICKS: Final = ("heartbeat-interval", "election-timeout")


def problems(topology: Topology) -> list[Problem]:
    """All that must be repaired before this topology can be built, one problem for each key."""
    found: dict[str, str] = {}
    for rule in _RULES:
        for path, sentence in rule(topology):
            found.setdefault(path, sentence)
    return list(found.items())


def warnings(topology: Topology) -> list[Problem]:
    """What works but is probably not meant."""
    voters = sum(not member.learner for member in topology.members())
    if voters == 0 or voters % 2:
        return []
    tolerated = quorum.tolerated_failures(voters)
    survived = f"{tolerated or 'no'} failure{'s'[: tolerated != 1]}"
    sentence = f"{voters} voting members survive {survived}, as {voters - 1} {'does' if voters == 2 else 'do'}"
    return [("node" if topology.node else "nodes", f"{sentence}: an even count adds cost and no safety")]


def _texts(topology: Topology) -> Iterator[Problem]:
    for path, text in _leaves("", msgspec.to_builtins(topology, enc_hook=str)):
        if _UNUSABLE.search(text):
            yield path, "holds a control character (a line break is one), or what is not UTF-8"


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every text in `value`, with its key path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(f"{path}.{key}".lstrip("."), item)
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _leaves(f"{path}[{number}]", item)


def _names(topology: Topology) -> Iterator[Problem]:
    named = [("name", topology.name)]
    named += [(f"node[{number}].name", node.name) for number, node in enumerate(topology.node)]
    for path, name in named:
        if not _NAME.fullmatch(name):
            yield (
                path,
                f"{name!r} is not a safe name: use letters, digits, '.', '_' and '-', the last three only inside",
            )
        elif len(name) > _LONGEST_NAME:
            yield path, f"the name has {len(name)} characters, more than the {_LONGEST_NAME} that fit into every path"


def _unique(topology: Topology) -> Iterator[Problem]:
    # Without case: names become files, and macOS' file system does not tell N1 from n1.
    yield from _repeated((f"node[{n}].name", node.name.lower()) for n, node in enumerate(topology.node))
    directories = [(f"node[{n}].data_dir", node.data_dir) for n, node in enumerate(topology.node)]
    yield from _repeated((path, posixpath.normpath(given)) for path, given in directories if given)
    yield from ((path, "the path is empty: leave the key out instead") for path, given in directories if given == "")


def _repeated(values: Iterable[tuple[str, str | int]]) -> Iterator[Problem]:
    first: dict[str | int, str] = {}
    for path, value in values:
        if first.setdefault(value, path) != path:
            yield path, f"{value} is already given in {first[value]}"


def _counts(topology: Topology) -> Iterator[Problem]:
    if topology.nodes is not None and topology.node:
        yield "nodes", "is a shorthand for [[node]] tables and cannot stand beside them: leave one of the two out"
    count = len(topology.node) or topology.nodes
    if count is not None and not 1 <= count <= MOST_NODES:
        where = "node" if topology.node else "nodes"
        yield (
            where,
            f"a lab has 1 to {MOST_NODES} members, not {count}: they share one machine, and etcd advises at most 7",
        )


def _learners(topology: Topology) -> Iterator[Problem]:
    learners = [number for number, node in enumerate(topology.node) if node.learner]
    most = topology.etcd.flags.get("max-learners", 1)
    if learners and len(learners) == len(topology.node):
        yield "node", "all members are learners: at least one must vote"
    elif isinstance(most, int) and len(learners) > most:
        path = f"node[{learners[most]}].learner"
        yield path, f"{len(learners)} learners, but etcd takes {most} at a time (since 3.6: etcd.flags.max-learners)"


def _ports(topology: Topology) -> Iterator[Problem]:
    given = [
        (f"node[{number}].{key}", port)
        for number, node in enumerate(topology.node)
        for key in _PORTS
        if (port := getattr(node, key)) is not None
    ]
    valid = [(path, port) for path, port in given if 1 <= port <= 65535]
    yield from ((path, f"{port} is not a port: 1 to 65535") for path, port in given if not 1 <= port <= 65535)
    yield from _repeated((path, port) for path, port in valid)


def _binaries(topology: Topology) -> Iterator[Problem]:
    tables: list[tuple[str, EtcdTable | NodeTable]] = [("etcd", topology.etcd)]
    tables += [(f"node[{number}]", node) for number, node in enumerate(topology.node)]
    for path, table in tables:
        if table.version is not None and table.path is not None:
            yield f"{path}.version", f"cannot stand beside {path}.path: the binary has the version that it has"
        elif table.version is not None and not VERSION.fullmatch(table.version):
            yield f"{path}.version", f'{table.version!r} is not a version such as "3.5.16" or "3.5"'
        elif table.path == "":
            yield f"{path}.path", "the path is empty: leave the key out instead"


def _etcd(topology: Topology) -> Iterator[Problem]:
    etcd = topology.etcd
    if etcd.token == "":
        yield "etcd.token", "the token is empty: leave the key out, and one that no other lab has is made"
    if not _HOST.fullmatch(etcd.advertise_host) or (
        etcd.advertise_host.rpartition(".")[2].isdigit() and etcd.advertise_host != "127.0.0.1"
    ):
        yield "etcd.advertise_host", f"{etcd.advertise_host!r} does not lead to 127.0.0.1, where members listen"
    if etcd.quota == 0:
        yield "etcd.quota", "must be more than 0 bytes; left out, it is etcd's own 2 GiB"
    if etcd.snapshot_count is not None and not 1 <= etcd.snapshot_count < 2**63:
        yield "etcd.snapshot_count", "must be at least 1"
    yield from _compaction(etcd)


def _network(topology: Topology) -> Iterator[Problem]:
    if not topology.network.faults:
        return
    if not topology.tls.enabled:
        yield "network.faults", "needs tls.enabled: members that speak plain HTTP share connections, which are no links"
    for number, node in enumerate(topology.node):
        if node.name == CLIENTS:
            yield f"node[{number}].name", f"{CLIENTS!r} is what the clients are called where links have faults"


def _compaction(etcd: EtcdTable) -> Iterator[Problem]:
    mode, retention = etcd.auto_compaction_mode, etcd.auto_compaction_retention
    path = "etcd.auto_compaction_retention"
    if retention is None:
        if mode is not None:
            yield path, "is required with etcd.auto_compaction_mode: without it nothing is compacted"
    elif mode is CompactionMode.REVISION and not (retention.isascii() and retention.isdigit()):
        yield path, f'{retention!r} is not a number of revisions such as "1000"'
    elif not _GO_DURATION.fullmatch(retention):
        yield path, f'{retention!r} is not a duration as etcd reads it: write it like "30m", "8h" or "1" (hours)'


def _flags(topology: Topology) -> Iterator[Problem]:
    for flag in topology.etcd.flags:
        path = f"etcd.flags.{flag}"
        if not _FLAG.fullmatch(flag):
            yield path, "a flag is written in small letters, without the leading dashes"
        elif flag in RESERVED:
            yield path, f"etcdlab sets --{flag} itself: {RESERVED[flag]}"
        elif flag in ("wal-dir", "listen-client-http-urls"):
            yield path, _PER_MEMBER
    for number, node in enumerate(topology.node):
        for position, argument in enumerate(node.args):
            flag = argument.lstrip("-").partition("=")[0] if argument.startswith("-") else ""
            path = f"node[{number}].args[{position}]"
            if flag in RESERVED:
                yield path, f"etcdlab sets --{flag} itself: {RESERVED[flag]}"
            elif flag in _TICKS:
                yield path, f"all members need the same --{flag}: give it in [etcd.flags]"


def _ticks(topology: Topology) -> Iterator[Problem]:
    """etcd checks the same (3.5 embed/config.go, Validate), but only in each member's log."""
    own = (10, 100) if topology.etcd.profile is Profile.FAST else (100, 1000)
    ticks = [topology.etcd.flags.get(flag, default) for flag, default in zip(_TICKS, own, strict=True)]
    for flag, value in zip(_TICKS, ticks, strict=True):
        if isinstance(value, (str, bool)) or not 1 <= value <= 50000:
            yield f"etcd.flags.{flag}", "must be a whole number of milliseconds, 1 to 50000"
            return
    heartbeat, election = (int(value) for value in ticks)
    if election < 5 * heartbeat:
        flag = next(flag for flag in reversed(_TICKS) if flag in topology.etcd.flags)
        yield f"etcd.flags.{flag}", f"election {election} ms must be at least 5 heartbeats of {heartbeat} ms"


def _environment(topology: Topology) -> Iterator[Problem]:
    tables = [("etcd.env", topology.etcd.env)]
    tables += [(f"node[{number}].env", node.env) for number, node in enumerate(topology.node)]
    for path, variables in tables:
        for variable in variables:
            if not _VARIABLE.fullmatch(variable):
                yield f"{path}.{variable}", "is not the name of an environment variable"
            elif variable.startswith("ETCD_") and variable != "ETCD_UNSUPPORTED_ARCH":
                flag = variable.removeprefix("ETCD_").lower().replace("_", "-")
                yield f"{path}.{variable}", f"etcd does not start with a flag given twice: use etcd.flags.{flag}"


def _subject(topology: Topology) -> Iterator[Problem]:
    if topology.tls.subject.CN:
        yield (
            "tls.subject.CN",
            "is not shared by certificates: use the cn of tls.ca, tls.server, tls.peer or tls.client",
        )


def _durations(topology: Topology) -> Iterator[Problem]:
    restart, timeouts = topology.restart, topology.timeouts
    positive = {
        "restart.window": restart.window,
        "timeouts.boot": timeouts.boot,
        "timeouts.stage": timeouts.stage,
        "timeouts.probe": timeouts.probe,
        "timeouts.stop": timeouts.stop,
    }
    yield from ((path, "must be more than 0") for path, value in positive.items() if value is not None and not value)
    if restart.backoff > restart.backoff_max:
        yield "restart.backoff", f"{restart.backoff} is more than restart.backoff_max, {restart.backoff_max}"


def _numbers(topology: Topology) -> Iterator[Problem]:
    if not 0 <= topology.restart.budget <= 10**6:
        yield "restart.budget", "must be between 0 (never restart) and 1000000"
    if topology.logs.size == 0:
        yield "logs.size", "must be more than 0 bytes"
    if not 0 <= topology.logs.count <= 1000:
        yield "logs.count", "must be between 0 (keep no old log) and 1000"


_RULES: Final[tuple[Callable[[Topology], Iterator[Problem]], ...]] = (
    _names,
    _unique,
    _counts,
    _learners,
    _ports,
    _binaries,
    _etcd,
    _network,
    _flags,
    _ticks,
    _environment,
    _subject,
    _durations,
    _numbers,
    _texts,
)
