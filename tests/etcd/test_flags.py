"""etcd's command line, version by version."""

from typing import Any

import msgspec
import pytest

from etcdlab.errors import UsageError
from etcdlab.etcd import flags
from etcdlab.etcd.flags import MemberFlags, TlsFlags, argv, has_flag, parse_version, translate, with_quota

VERSIONS = ("3.4.23", "3.5.16", "3.5.30", "3.6.14", "3.7.1")

TLS = TlsFlags(
    ca="/pki/ca.pem",
    revocations="/pki/ca.crl",
    server_certificate="/pki/server-n1.pem",
    server_key="/pki/server-n1-key.pem",
    peer_certificate="/pki/peer-n1.pem",
    peer_key="/pki/peer-n1-key.pem",
    min_version=None,
)
MEMBER = MemberFlags(
    name="n1",
    data_dir="/lab/nodes/n1/data",
    listen_client_url="https://127.0.0.1:20001",
    advertise_client_url="https://localhost:20001",
    listen_peer_url="https://127.0.0.1:20002",
    advertise_peer_url="https://localhost:20002",
    metrics_url="http://127.0.0.1:20003",
    initial_cluster="n1=https://localhost:20002,n2=https://localhost:20005",
    initial_cluster_token="demo-1",
    joins_existing=False,
    tls=TLS,
    heartbeat_ms=None,
    election_ms=None,
    no_fsync=False,
    strict_reconfig_check=True,
    extra={},
    args=(),
)

PLAIN_ARGV = (
    "/usr/bin/etcd",
    "--name=n1",
    "--data-dir=/lab/nodes/n1/data",
    "--listen-client-urls=https://127.0.0.1:20001",
    "--advertise-client-urls=https://localhost:20001",
    "--listen-peer-urls=https://127.0.0.1:20002",
    "--initial-advertise-peer-urls=https://localhost:20002",
    "--listen-metrics-urls=http://127.0.0.1:20003",
    "--initial-cluster=n1=https://localhost:20002,n2=https://localhost:20005",
    "--initial-cluster-token=demo-1",
    "--initial-cluster-state=new",
    "--log-outputs=stderr",
)
TLS_ARGV = (
    "--cert-file=/pki/server-n1.pem",
    "--key-file=/pki/server-n1-key.pem",
    "--trusted-ca-file=/pki/ca.pem",
    "--client-crl-file=/pki/ca.crl",
    "--client-cert-auth=true",
    "--peer-cert-file=/pki/peer-n1.pem",
    "--peer-key-file=/pki/peer-n1-key.pem",
    "--peer-trusted-ca-file=/pki/ca.pem",
    "--peer-crl-file=/pki/ca.crl",
    "--peer-client-cert-auth=true",
)
NO_WEB_PAGES = ("--cors=https://localhost:20001", "--host-whitelist=localhost,127.0.0.1")
FAST_ARGV = ("--heartbeat-interval=10", "--election-timeout=100")

REMOVED_IN_3_6 = {"enable-v2", "proxy", "proxy-failure-wait", "proxy-refresh-interval", "debug", "log-package-levels"}
GONE_IN_3_7 = {
    "bootstrap-defrag-threshold-megabytes", "compact-hash-check-enabled", "compact-hash-check-time",
    "compaction-batch-limit", "compaction-sleep-interval", "corrupt-check-time", "distributed-tracing-address",
    "distributed-tracing-instance-id", "distributed-tracing-sampling-rate", "distributed-tracing-service-name",
    "downgrade-check-time", "enable-distributed-tracing", "enable-lease-checkpoint", "enable-lease-checkpoint-persist",
    "initial-corrupt-check", "memory-mlock", "peer-skip-client-san-verification", "snapshot-catchup-entries",
    "stop-grpc-service-on-defrag", "txn-mode-write-with-shared-buffer", "warning-apply-duration",
    "warning-unary-request-duration", "watch-progress-notify-interval",
}  # fmt: skip
"""upgrade_3_7.md, "Flags removed", each without its `experimental-`."""


def line(version: str, **changes: Any) -> tuple[str, ...]:
    return argv("/usr/bin/etcd", msgspec.structs.replace(MEMBER, **changes), version)


def names(arguments: tuple[str, ...]) -> list[str]:
    return [argument.removeprefix("--").partition("=")[0] for argument in arguments[1:]]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_whole_command_line(version: str) -> None:
    logger = ("--logger=zap",) if version == "3.4.23" else ()
    assert line(version) == PLAIN_ARGV + logger + TLS_ARGV
    assert line(version, tls=None) == PLAIN_ARGV + logger + NO_WEB_PAGES


@pytest.mark.parametrize("version", VERSIONS)
def test_the_fast_profile(version: str) -> None:
    fast = {"heartbeat_ms": 10, "election_ms": 100, "no_fsync": True, "strict_reconfig_check": False}
    fast_argv = (*FAST_ARGV, "--unsafe-no-fsync=true", "--strict-reconfig-check=false")
    assert line(version, **fast) == line(version) + fast_argv


@pytest.mark.parametrize("version", ["3.4.9", "3.4.0"])
def test_an_etcd_without_unsafe_no_fsync_syncs(version: str) -> None:
    assert line(version, heartbeat_ms=10, election_ms=100, no_fsync=True) == line(version) + FAST_ARGV


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("tls", [TLS, None])
def test_no_flag_that_the_version_has_not_and_none_twice(version: str, tls: TlsFlags | None) -> None:
    gates_and_flags = dict.fromkeys(flags.FEATURE_GATES, True) | dict.fromkeys(flags.UNPREFIXED_SINCE, 1)
    given = names(line(version, tls=tls, heartbeat_ms=10, election_ms=100, no_fsync=True, extra=gates_and_flags))
    assert len(given) == len(set(given))
    assert ("logger" in given) is version.startswith("3.4.")
    if version >= "3.6":
        assert REMOVED_IN_3_6.isdisjoint(given)
        assert not [name for name in given if name.startswith("experimental-")]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_learner_joins_what_exists(version: str) -> None:
    assert "--initial-cluster-state=existing" in line(version, joins_existing=True)


@pytest.mark.parametrize(
    ("version", "minimum"), [("3.4.25", "1.2"), ("3.5.8", "1.2"), ("3.5.16", "1.3"), ("3.6.0", "1.2"), ("3.7.1", "1.3")]
)
def test_the_minimum_tls_version(version: str, minimum: str) -> None:
    tls = msgspec.structs.replace(TLS, min_version=minimum)
    assert f"--tls-min-version=TLS{minimum}" in line(version, tls=tls)


@pytest.mark.parametrize("version", ["3.4.23", "3.4.24", "3.5.0", "3.5.7"])
def test_a_minimum_tls_version_that_etcd_cannot_be_told_is_refused(version: str) -> None:
    with pytest.raises(UsageError, match=rf"etcd {version} has no --tls-min-version") as caught:
        line(version, tls=msgspec.structs.replace(TLS, min_version="1.2"))
    assert "3.4.25 and 3.5.8" in caught.value.hint


def test_has_flag_counts_patches_within_a_minor() -> None:
    assert [has_flag("unsafe-no-fsync", (3, 4, patch)) for patch in (9, 10)] == [False, True]
    assert has_flag("unsafe-no-fsync", (3, 5, 0))
    assert [has_flag("tls-min-version", v) for v in ((3, 4, 99), (3, 5, 7), (3, 6, 0), (4, 0, 0))] == [
        True, False, True, True,
    ]  # fmt: skip


def test_versions_are_read_with_their_suffix() -> None:
    assert parse_version("3.5.16") == (3, 5, 16)
    assert parse_version("3.6.0-rc.1") == (3, 6, 0)


def test_a_users_flag_replaces_etcdlabs_own() -> None:
    extra = {"heartbeat-interval": 50, "election-timeout": 500, "unsafe-no-fsync": False, "strict-reconfig-check": True}
    given = line("3.5.16", heartbeat_ms=10, election_ms=100, no_fsync=True, strict_reconfig_check=False, extra=extra)
    assert given[len(PLAIN_ARGV + TLS_ARGV) :] == (
        "--heartbeat-interval=50", "--election-timeout=500", "--unsafe-no-fsync=false", "--strict-reconfig-check=true",
    )  # fmt: skip


def test_a_members_arguments_come_last_as_they_are() -> None:
    assert line("3.5.16", extra={"max-wals": 3}, args=("--wal-dir", "/wal"))[-3:] == (
        "--max-wals=3",
        "--wal-dir",
        "/wal",
    )


def test_values_are_written_as_go_reads_them() -> None:
    assert line("3.5.16", extra={"pre-vote": False, "max-txn-ops": 256, "metrics": "extensive"})[-3:] == (
        "--pre-vote=false", "--max-txn-ops=256", "--metrics=extensive",
    )  # fmt: skip


@pytest.mark.parametrize("form", ["corrupt-check-time", "experimental-corrupt-check-time"])
@pytest.mark.parametrize(
    ("version", "spelled"),
    [
        ("3.4.23", "experimental-corrupt-check-time"),
        ("3.5.30", "experimental-corrupt-check-time"),
        ("3.6.14", "corrupt-check-time"),
        ("3.7.1", "corrupt-check-time"),
    ],
)
def test_a_flag_is_spelled_as_the_version_does(form: str, version: str, spelled: str) -> None:
    assert translate({form: "1s"}, parse_version(version)) == {spelled: "1s"}


@pytest.mark.parametrize("form", ["initial-corrupt-check", "experimental-initial-corrupt-check"])
def test_a_flag_that_became_a_feature_gate(form: str) -> None:
    assert translate({form: True}, (3, 5, 16)) == {"experimental-initial-corrupt-check": True}
    assert translate({form: True}, (3, 6, 14)) == {"feature-gates": "InitialCorruptCheck=true"}
    assert translate({form: False}, (3, 7, 1)) == {"feature-gates": "InitialCorruptCheck=false"}


def test_feature_gates_are_joined_wherever_they_stand() -> None:
    extra = {"experimental-enable-lease-checkpoint": True, "feature-gates": "SetMemberLocalAddr=true"}
    for given in (extra, dict(reversed(extra.items()))):
        assert translate(given, (3, 6, 14)) == {"feature-gates": "SetMemberLocalAddr=true,LeaseCheckpoint=true"}


def test_a_flag_that_lost_its_prefix_before_3_6() -> None:
    for form in ("backend-bbolt-freelist-type", "experimental-backend-bbolt-freelist-type"):
        assert translate({form: "map"}, (3, 4, 23)) == {"experimental-backend-bbolt-freelist-type": "map"}
        assert translate({form: "map"}, (3, 5, 16)) == {"backend-bbolt-freelist-type": "map"}


def test_a_flag_of_no_table_stays_as_it_is() -> None:
    assert translate({"experimental-enable-v2v3": "/v2", "snapshot-count": 5}, (3, 5, 16)) == {
        "experimental-enable-v2v3": "/v2",
        "snapshot-count": 5,
    }


def test_every_flag_that_3_7_removed_is_in_a_table() -> None:
    assert not GONE_IN_3_7 - flags.UNPREFIXED_SINCE.keys() - flags.FEATURE_GATES.keys()


@pytest.mark.parametrize("before", [(), ("--quota-backend-bytes=1",)])
def test_another_quota_is_the_only_one(before):
    assert with_quota(("etcd", *before, "--name=n1"), 65536) == ("etcd", "--name=n1", "--quota-backend-bytes=65536")
