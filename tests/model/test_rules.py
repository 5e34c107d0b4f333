"""Each rule about a topology as a whole: what it refuses, where it points, and that nothing else is refused with it."""

import pytest

from etcdlab.model import rules
from etcdlab.model.certificate import Subject
from etcdlab.model.topology import (
    CompactionMode,
    EtcdTable,
    LogsTable,
    NetworkTable,
    NodeTable,
    Profile,
    RestartTable,
    TimeoutsTable,
    TlsTable,
    Topology,
)
from etcdlab.model.units import Duration, Size

ZERO = Duration(0)


def nodes(*changes: dict) -> Topology:
    return Topology(node=tuple(NodeTable(**{"name": f"n{n}", **change}) for n, change in enumerate(changes, 1)))


def etcd(**changes) -> Topology:
    return Topology(etcd=EtcdTable(**changes))


BAD_NAMES = ["", ".", "..", "a/b", "/etc", "-x", "--force", "a b", "$(id)", "a;b", "a\nb", "x" * 49, "n=1", "n,1", "ü"]

REFUSED = [
    *[(Topology(name=name), "name") for name in BAD_NAMES],
    *[(nodes({"name": name}), "node[0].name") for name in BAD_NAMES],
    (nodes({"name": "a"}, {"name": "b"}, {"name": "a"}), "node[2].name"),
    (nodes({"name": "n1"}, {"name": "N1"}), "node[1].name"),
    (nodes({"data_dir": "d"}, {"data_dir": "d/"}), "node[1].data_dir"),
    (nodes({"data_dir": ""}), "node[0].data_dir"),
    (Topology(nodes=3, node=(NodeTable(name="n1"),)), "nodes"),
    (Topology(nodes=0), "nodes"),
    (Topology(nodes=-1), "nodes"),
    (Topology(nodes=51), "nodes"),
    (nodes(*[{}] * 51), "node"),
    (nodes({"learner": True}), "node"),
    (nodes({}, {"learner": True}, {"learner": True}), "node[2].learner"),
    (nodes({"client_port": 0}), "node[0].client_port"),
    (nodes({"peer_port": 65536}), "node[0].peer_port"),
    (nodes({"metrics_port": -1}), "node[0].metrics_port"),
    (nodes({"client_port": 2379, "peer_port": 2379}), "node[0].peer_port"),
    (nodes({"client_port": 2379}, {"metrics_port": 2379}), "node[1].metrics_port"),
    (etcd(version="3.5.16", path="/usr/bin/etcd"), "etcd.version"),
    (etcd(version="latest"), "etcd.version"),
    (etcd(path=""), "etcd.path"),
    (nodes({"version": "3.5.16", "path": "/usr/bin/etcd"}), "node[0].version"),
    (etcd(token=""), "etcd.token"),
    *[
        (etcd(advertise_host=host), "etcd.advertise_host")
        for host in ["", "0.0.0.0", "10.0.0.1", "::1", "http://localhost", "localhost:2379", "a b", "-x"]
    ],
    (Topology(network=NetworkTable(faults=True), tls=TlsTable(enabled=False)), "network.faults"),
    (
        Topology(network=NetworkTable(faults=True), node=(NodeTable(name="n1"), NodeTable(name="clients"))),
        "node[1].name",
    ),
    (etcd(quota=Size(0)), "etcd.quota"),
    (etcd(snapshot_count=0), "etcd.snapshot_count"),
    (etcd(auto_compaction_mode=CompactionMode.PERIODIC), "etcd.auto_compaction_retention"),
    (etcd(auto_compaction_retention="30d"), "etcd.auto_compaction_retention"),
    (
        etcd(auto_compaction_mode=CompactionMode.REVISION, auto_compaction_retention="1h"),
        "etcd.auto_compaction_retention",
    ),
    *[(etcd(flags={flag: "x"}), f"etcd.flags.{flag}") for flag in rules.RESERVED],
    (etcd(flags={"--pre-vote": True}), "etcd.flags.--pre-vote"),
    (etcd(flags={"wal-dir": "w"}), "etcd.flags.wal-dir"),
    (etcd(flags={"heartbeat-interval": "10"}), "etcd.flags.heartbeat-interval"),
    (etcd(flags={"heartbeat-interval": True}), "etcd.flags.heartbeat-interval"),
    (etcd(flags={"heartbeat-interval": 0}), "etcd.flags.heartbeat-interval"),
    (etcd(flags={"election-timeout": 50001}), "etcd.flags.election-timeout"),
    (etcd(flags={"heartbeat-interval": 201}), "etcd.flags.heartbeat-interval"),
    (etcd(flags={"election-timeout": 49}, profile=Profile.FAST), "etcd.flags.election-timeout"),
    (nodes({"args": ("--pre-vote", "--name=x")}), "node[0].args[1]"),
    (nodes({"args": ("-data-dir", "x")}), "node[0].args[0]"),
    (nodes({"args": ("--election-timeout=50",)}), "node[0].args[0]"),
    (etcd(env={"ETCD_NAME": "x"}), "etcd.env.ETCD_NAME"),
    (etcd(env={"a=b": "x"}), "etcd.env.a=b"),
    (nodes({"env": {"": "x"}}), "node[0].env."),
    (Topology(tls=TlsTable(subject=Subject(CN="x"))), "tls.subject.CN"),
    (Topology(restart=RestartTable(backoff=Duration(31))), "restart.backoff"),
    (Topology(restart=RestartTable(window=ZERO)), "restart.window"),
    (Topology(restart=RestartTable(budget=-1)), "restart.budget"),
    *[(Topology(timeouts=TimeoutsTable(**{k: ZERO})), f"timeouts.{k}") for k in ("boot", "stage", "probe", "stop")],
    (Topology(logs=LogsTable(size=Size(0))), "logs.size"),
    (Topology(logs=LogsTable(count=-1)), "logs.count"),
]

ACCEPTED = [
    Topology(),
    Topology(name="my-lab_2.0", nodes=50),
    nodes({"client_port": 1, "peer_port": 65535}),
    nodes({}, {"learner": True}),
    Topology(
        etcd=EtcdTable(flags={"max-learners": 2}),
        node=(NodeTable(name="a"), NodeTable(name="b", learner=True), NodeTable(name="c", learner=True)),
    ),
    etcd(version="3.5"),
    etcd(version="v3.6.0-rc.1"),
    etcd(advertise_host="localhost"),
    etcd(advertise_host="etcd1.master.com"),
    etcd(auto_compaction_retention="8h30m"),
    etcd(auto_compaction_mode=CompactionMode.REVISION, auto_compaction_retention="1000"),
    etcd(flags={"pre-vote": True, "heartbeat-interval": 50, "election-timeout": 500}),
    etcd(env={"GODEBUG": "x509sha1=1", "ETCD_UNSUPPORTED_ARCH": "arm"}),
    nodes({"args": ("--wal-dir", "name")}),
    Topology(restart=RestartTable(backoff=ZERO, budget=0), logs=LogsTable(count=0)),
]


@pytest.mark.parametrize(("topology", "path"), REFUSED, ids=str)
def test_refused_with_its_place(topology, path):
    assert [where for where, _ in rules.problems(topology)] == [path]


@pytest.mark.parametrize("topology", ACCEPTED, ids=str)
def test_accepted(topology):
    assert rules.problems(topology) == []


def test_all_problems_are_reported_together():
    topology = Topology(name="-x", nodes=0, etcd=EtcdTable(token="", quota=Size(0)), logs=LogsTable(count=-1))
    assert [where for where, _ in rules.problems(topology)] == [
        "name",
        "nodes",
        "etcd.token",
        "etcd.quota",
        "logs.count",
    ]


@pytest.mark.parametrize(
    ("topology", "words"),
    [
        (Topology(nodes=2), "2 voting members survive no failures, as 1 does"),
        (Topology(nodes=4), "4 voting members survive 1 failure, as 3 do"),
        (nodes({}, {}, {}, {}, {}, {}, {"learner": True}), "6 voting members survive 2 failures, as 5 do"),
    ],
)
def test_an_even_count_of_voters_is_a_warning(topology, words):
    ((_, sentence),) = rules.warnings(topology)
    assert sentence.startswith(words)
    assert rules.problems(topology) == []


@pytest.mark.parametrize("topology", [Topology(), Topology(nodes=1), nodes({}, {}, {}, {"learner": True})])
def test_an_odd_count_is_none(topology):
    assert rules.warnings(topology) == []


def test_two_spellings_of_one_data_directory_are_one():
    topology = Topology(node=(NodeTable(name="a", data_dir="data"), NodeTable(name="b", data_dir="./x/../data")))
    assert [path for path, _ in rules.problems(topology)] == ["node[1].data_dir"]
