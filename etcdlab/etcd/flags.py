"""From settings to etcd's command line, per version.

A new etcd minor is a row in the tables here. Sources: CHANGELOG-3.4 to 3.7, upgrade_3_6.md and upgrade_3_7.md.
"""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from etcdlab.errors import UsageError

Version = tuple[int, int, int]

FLAG_SINCE: Final[dict[str, dict[tuple[int, int], int]]] = {
    "tls-min-version": {(3, 4): 25, (3, 5): 8},
    "unsafe-no-fsync": {(3, 4): 10, (3, 5): 0},
}
"""Flag -> minor -> the first patch release that has it. Every later minor has it."""

UNPREFIXED_SINCE: Final[dict[str, tuple[int, int]]] = {
    "backend-bbolt-freelist-type": (3, 5),
    "bootstrap-defrag-threshold-megabytes": (3, 6),
    "compact-hash-check-time": (3, 6),
    "compaction-batch-limit": (3, 6),
    "compaction-sleep-interval": (3, 6),
    "corrupt-check-time": (3, 6),
    "distributed-tracing-address": (3, 6),
    "distributed-tracing-instance-id": (3, 6),
    "distributed-tracing-sampling-rate": (3, 6),
    "distributed-tracing-service-name": (3, 6),
    "downgrade-check-time": (3, 6),
    "enable-distributed-tracing": (3, 6),
    "memory-mlock": (3, 6),
    "peer-skip-client-san-verification": (3, 6),
    "snapshot-catchup-entries": (3, 6),
    "warning-apply-duration": (3, 6),
    "warning-unary-request-duration": (3, 6),
    "watch-progress-notify-interval": (3, 6),
}
"""Flags that lost their `experimental-` prefix, and in which minor: a topology may write either form."""

FEATURE_GATES: Final[dict[str, str]] = {
    "compact-hash-check-enabled": "CompactHashCheck",
    "enable-lease-checkpoint": "LeaseCheckpoint",
    "enable-lease-checkpoint-persist": "LeaseCheckpointPersist",
    "initial-corrupt-check": "InitialCorruptCheck",
    "stop-grpc-service-on-defrag": "StopGRPCServiceOnDefrag",
    "txn-mode-write-with-shared-buffer": "TxnModeWriteWithSharedBuffer",
}
"""Boolean `experimental-` flags that became feature gates in 3.6."""


_QUOTA: Final = "--quota-backend-bytes="


class TlsFlags(msgspec.Struct, frozen=True, kw_only=True):
    """The files a member is pointed at. `min_version` is "1.2", "1.3" or None for etcd's own."""

    ca: str
    revocations: str
    server_certificate: str
    server_key: str
    peer_certificate: str
    peer_key: str
    min_version: str | None


class MemberFlags(msgspec.Struct, frozen=True, kw_only=True):
    """What etcd must be told to run one member of a lab; ticks in milliseconds, None for etcd's own."""

    name: str
    data_dir: str
    listen_client_url: str
    advertise_client_url: str
    listen_peer_url: str
    advertise_peer_url: str
    metrics_url: str
    initial_cluster: str
    initial_cluster_token: str
    joins_existing: bool
    tls: TlsFlags | None
    heartbeat_ms: int | None
    election_ms: int | None
    no_fsync: bool
    strict_reconfig_check: bool
    extra: Mapping[str, str | int | bool]
    args: tuple[str, ...]


def parse_version(text: str) -> Version:
    """ "3.5.16" -> (3, 5, 16); a suffix such as "-rc.0" is ignored."""
    major, minor, patch = text.split("-")[0].split(".")
    return int(major), int(minor), int(patch)


def argv(binary: str, member: MemberFlags, version: str) -> tuple[str, ...]:
    """The whole command line of a member for this etcd version. Raises UsageError for a flag it does not have."""
    parsed = parse_version(version)
    flags: dict[str, str | int | bool] = {
        "name": member.name,
        "data-dir": member.data_dir,
        "listen-client-urls": member.listen_client_url,
        "advertise-client-urls": member.advertise_client_url,
        "listen-peer-urls": member.listen_peer_url,
        "initial-advertise-peer-urls": member.advertise_peer_url,
        "listen-metrics-urls": member.metrics_url,
        "initial-cluster": member.initial_cluster,
        "initial-cluster-token": member.initial_cluster_token,
        "initial-cluster-state": "existing" if member.joins_existing else "new",
        "log-outputs": "stderr",
    }
    if parsed < (3, 5, 0):
        flags["logger"] = "zap"  # 3.4 still defaults to capnslog; later versions only have zap
    if member.tls:
        flags |= _tls(member.tls, parsed)
    else:
        flags |= _no_web_pages(member)
    if member.heartbeat_ms:
        flags["heartbeat-interval"] = member.heartbeat_ms
    if member.election_ms:
        flags["election-timeout"] = member.election_ms
    if member.no_fsync and has_flag("unsafe-no-fsync", parsed):
        flags["unsafe-no-fsync"] = True
    if not member.strict_reconfig_check:
        flags["strict-reconfig-check"] = False
    flags |= translate(member.extra, parsed)
    return (binary, *(f"--{name}={_value(value)}" for name, value in flags.items()), *member.args)


def with_quota(argv: Sequence[str], quota: int) -> tuple[str, ...]:
    """A member's command line with another limit, in bytes, for its database."""
    return (*(argument for argument in argv if not argument.startswith(_QUOTA)), f"{_QUOTA}{quota}")


def has_flag(name: str, version: Version) -> bool:
    """Whether this version has a flag of FLAG_SINCE."""
    since = FLAG_SINCE[name]
    minor = version[:2]
    return version[2] >= since[minor] if minor in since else minor > max(since)


def translate(extra: Mapping[str, str | int | bool], version: Version) -> dict[str, str | int | bool]:
    """Spell each flag as this version does: with or without `experimental-`, or as a feature gate."""
    flags: dict[str, str | int | bool] = {}
    gates: list[str] = []
    for given, value in extra.items():
        name = given.removeprefix("experimental-")
        if name in FEATURE_GATES and version >= (3, 6, 0):
            gates.append(f"{FEATURE_GATES[name]}={_value(value)}")
        elif name in FEATURE_GATES or (name in UNPREFIXED_SINCE and version[:2] < UNPREFIXED_SINCE[name]):
            flags[f"experimental-{name}"] = value
        elif name in UNPREFIXED_SINCE:
            flags[name] = value
        else:
            flags[given] = value
    if gates:
        flags["feature-gates"] = ",".join(
            [*([str(flags["feature-gates"])] if "feature-gates" in flags else []), *gates]
        )
    return flags


def _tls(tls: TlsFlags, version: Version) -> dict[str, str | int | bool]:
    flags: dict[str, str | int | bool] = {
        "cert-file": tls.server_certificate,
        "key-file": tls.server_key,
        "trusted-ca-file": tls.ca,
        "client-crl-file": tls.revocations,
        "client-cert-auth": True,
        "peer-cert-file": tls.peer_certificate,
        "peer-key-file": tls.peer_key,
        "peer-trusted-ca-file": tls.ca,
        "peer-crl-file": tls.revocations,
        "peer-client-cert-auth": True,
    }
    if tls.min_version:
        if not has_flag("tls-min-version", version):
            shown = ".".join(map(str, version))
            raise UsageError(
                f"tls.min_version is set, but etcd {shown} has no --tls-min-version",
                hint="It came with etcd 3.4.25 and 3.5.8: use a newer etcd, or leave the key out (it is then 1.2).",
            )
        flags["tls-min-version"] = f"TLS{tls.min_version}"
    return flags


def _no_web_pages(member: MemberFlags) -> dict[str, str | int | bool]:
    """A page of any web site may send requests to loopback. By etcd's defaults it may read the answers too (CORS), or
    have a name of its own mean this machine (DNS rebinding). Where there is TLS, a page lacks the certificate.
    """
    hosts = dict.fromkeys(("localhost", "127.0.0.1", urlsplit(member.advertise_client_url).hostname or ""))
    return {"cors": member.advertise_client_url, "host-whitelist": ",".join(filter(None, hosts))}


def _value(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
