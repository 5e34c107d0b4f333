"""The topology file: what is said about a bad one, what flags change, and that writing one out loses nothing."""

import tomllib
from pathlib import Path

import msgspec
import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etcdlab.errors import TopologyError
from etcdlab.model.certificate import KeyType, Subject
from etcdlab.model.restart import RestartPolicy
from etcdlab.model.topology import (
    CaTable,
    CfsslTable,
    EtcdTable,
    IdentityTable,
    LeafTable,
    NodeTable,
    Profile,
    RestartTable,
    TlsTable,
    TlsVersion,
    Topology,
)
from etcdlab.model.units import Duration, Size
from etcdlab.prepare.config import dump, load, override

EVERYTHING = """
name = "lab"

[etcd]
version = "3.5.16"
profile = "fast"
quota = "64MiB"
snapshot_count = 100
flags = { pre-vote = true, max-txn-ops = 256 }
env = { GODEBUG = "x509sha1=1" }

[tls]
key = "rsa-2048"
min_version = "1.3"
subject = { C = "CN", O = "ETCD" }
server = { cn = "s", hosts = ["etcd1.example.com"], lifetime = "30d" }

[[tls.identity]]
name = "root"
cn = "root"

[restart]
policy = "always"
backoff = 0.25
window = "1h30m"

[[node]]
name = "a"
client_port = 2379
args = ["--wal-dir", "/tmp/wal"]

[[node]]
name = "b"
learner = true
data_dir = "b"
"""


@pytest.fixture
def written(tmp_path):
    """Write a topology file and give its path."""

    def write(content: str | bytes) -> Path:
        path = tmp_path / "lab.toml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def problems(path: Path) -> list[str]:
    with pytest.raises(TopologyError) as caught:
        load(path)
    assert all(problem.startswith(str(path)) for problem in caught.value.problems)
    return [problem.removeprefix(f"{path}:").lstrip() for problem in caught.value.problems]


def test_no_file_is_the_default_topology(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = load(None)
    assert loaded.topology == Topology()
    assert loaded.warnings == ()
    assert loaded.base == tmp_path


def test_an_empty_file_is_the_default_topology(written):
    assert load(written("")).topology == Topology()


def test_every_kind_of_value_is_read(written, tmp_path):
    assert load(written(EVERYTHING)).topology == Topology(
        name="lab",
        etcd=EtcdTable(
            version="3.5.16",
            profile=Profile.FAST,
            quota=Size(64 * 2**20),
            snapshot_count=100,
            flags={"pre-vote": True, "max-txn-ops": 256},
            env={"GODEBUG": "x509sha1=1"},
        ),
        tls=TlsTable(
            key=KeyType.RSA_2048,
            min_version=TlsVersion.TLS_1_3,
            subject=Subject(C="CN", O="ETCD"),
            server=LeafTable(cn="s", hosts=("etcd1.example.com",), lifetime=Duration(30 * 86400)),
            identity=(IdentityTable(name="root", cn="root"),),
        ),
        restart=RestartTable(policy=RestartPolicy.ALWAYS, backoff=Duration(0.25), window=Duration(5400)),
        node=(
            NodeTable(name="a", client_port=2379, args=("--wal-dir", "/tmp/wal")),
            NodeTable(name="b", learner=True, data_dir=str(tmp_path / "b")),
        ),
    )


PATHS = """
etcd.path = "bin/etcd"
tls.ca = { certificate = "ca.pem", private_key = "/secret/ca-key.pem" }
tls.cfssl = { config = "a.json", server = "b.json", client = "~/c.json" }
node = [{ name = "a", data_dir = "../a", path = "etcd" }]
"""


def test_paths_are_relative_to_the_file_wherever_one_stands(written, tmp_path, monkeypatch):
    written(PATHS)
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setenv("HOME", "/home/me")
    loaded = load(Path(tmp_path.name) / "lab.toml")
    assert loaded.base == tmp_path
    topology = loaded.topology
    (node,) = topology.node
    assert (topology.etcd.path, node.path, node.data_dir) == tuple(
        f"{tmp_path}/{path}" for path in ("bin/etcd", "etcd", "../a")
    )
    assert topology.tls.ca == CaTable(certificate=f"{tmp_path}/ca.pem", private_key="/secret/ca-key.pem")
    assert topology.tls.cfssl == CfsslTable(
        config=f"{tmp_path}/a.json", server=f"{tmp_path}/b.json", client="/home/me/c.json"
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("nodez = 3", 'nodez: unknown key (did you mean "node"?)'),
        ("[tls]\nkeys = 1", 'tls.keys: unknown key (did you mean "key"?)'),
        ("[[node]]\nname = 'a'\nclient-port = 1", 'node[0].client-port: unknown key (did you mean "client_port"?)'),
        ("[logs]\nxyz = 3", "logs.xyz: unknown key (valid here: size, count)"),
        ('"a b" = 3', '"a b": unknown key'),
        ("[[node]]\nlearner = true\n[[node]]\nname = 'a'", "node[0].name: this key is required"),
        ("nodes = '3'", 'nodes: expected a whole number, but found "3"'),
        ("nodes = 3.0", "nodes: expected a whole number, but found 3.0"),
        ("nodes = true", "nodes: expected a whole number, but found true"),
        ("name = 3", "name: expected text, but found 3"),
        ("name = [1]", "name: expected text, but found an array"),
        ("name = 2020-01-01", "name: expected text, but found 2020-01-01"),
        ("[tls]\nenabled = 'no'", 'tls.enabled: expected true or false, but found "no"'),
        ("[tls]\nmin_version = 1.2", 'tls.min_version: expected one of "1.2", "1.3", but found 1.2'),
        ("etcd.profile = 'fats'", '"realistic", "fast", but found "fats" (did you mean "fast"?)'),
        ("restart.backoff = '5 minutes'", "restart.backoff: '5 minutes' is not a duration: write it like"),
        ("restart.backoff = true", "restart.backoff: expected a duration"),
        ("restart.backoff = -1", "restart.backoff: -1 is not a duration"),
        ("logs.size = '1XB'", "logs.size: '1XB' is not a size: write it like"),
        ("logs.size = 1.5", "logs.size: expected a size"),
        ("etcd = 3", "etcd: expected a table, written [etcd], but found 3"),
        ("[[etcd]]", "etcd: expected a table, written [etcd], but found an array"),
        ("[node]\nname = 'a'", "node: expected tables, each written [[node]], but found a table"),
        ("node = [1]", "node[0]: expected a table, written [[node]], but found 1"),
        ("tls.server.hosts = 'a'", 'tls.server.hosts: expected an array of text, but found "a"'),
        ("tls.server.hosts = ['a', 1]", "tls.server.hosts[1]: expected text, but found 1"),
        ("etcd.flags = []", "etcd.flags: expected a table, written [etcd.flags], but found an array"),
        ("etcd.flags.pre-vote = []", "etcd.flags.pre-vote: expected text or a whole number or true or false"),
        ('etcd.env.A = "\\u0000"', "etcd.env.A: holds a control character (a line break is one), or what is not UTF-8"),
        ("nodes = 1000000000000", "nodes: a lab has 1 to 50 members"),
        ("tls.ca.certificate = 'ca.pem'", "tls.ca.private_key: "),
    ],
)
def test_one_problem(written, content, problem):
    (said,) = problems(written(content))
    assert problem in said


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("nodes = 3\nname = \n", "2:8: is not TOML: Invalid value"),
        ("a = 1\na = 2", "is not TOML: Cannot overwrite a value"),
        ("a = ", "is not TOML: Invalid value (at end of document)"),
        (b"name = '\xff'", "is not UTF-8 text"),
        ("a = " + "[" * 5000, "is not usable TOML: arrays or tables are nested too deeply"),
        ("nodes = " + "9" * 5000, "is not TOML: "),
    ],
)
def test_what_is_not_toml(written, content, problem):
    (said,) = problems(written(content))
    assert problem in said


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_file_that_cannot_be_read(tmp_path, name):
    (said,) = problems(tmp_path / name)
    assert said.startswith("cannot be read: ")


def test_all_problems_are_reported_together(written):
    content = """
    nmae = "x"
    nodes = 2
    [etcd]
    quota = "much"
    token = ""
    [tls.server]
    hosts = ["not a host"]
    lifetime = "0s"
    [timeouts]
    boot = false
    [[node]]
    client_port = 70000
    """
    places = [problem.partition(": ")[0] for problem in problems(written(content))]
    assert sorted(places) == [
        "etcd.quota",
        "etcd.token",
        "nmae",
        "node[0].client_port",
        "node[0].name",
        "nodes",
        "timeouts.boot",
        "tls.server.hosts[0]",
        "tls.server.lifetime",
    ]


def test_an_even_count_loads_with_a_warning(written):
    path = written("nodes = 4")
    loaded = load(path)
    assert loaded.topology.nodes == 4
    (warning,) = loaded.warnings
    assert warning.startswith(f"{path}: nodes: 4 voting members")


def test_flags_change_what_they_name_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert override(Topology()) == Topology()
    changed = override(Topology(), nodes=5, profile=Profile.FAST, name="x", tls=False, etcd="bin/etcd")
    assert changed == Topology(
        name="x",
        nodes=5,
        etcd=EtcdTable(profile=Profile.FAST, path=str(tmp_path / "bin/etcd")),
        tls=TlsTable(enabled=False),
    )


@pytest.mark.parametrize(("given", "version"), [("3.5.30", "3.5.30"), ("3.6", "3.6"), ("v3.4.23", "v3.4.23")])
def test_an_etcd_flag_that_is_a_version_replaces_the_topologys_path(given, version):
    changed = override(Topology(etcd=EtcdTable(path="/usr/bin/etcd")), etcd=given)
    assert changed.etcd == EtcdTable(version=version)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"nodes": 0}, "--nodes: a lab has 1 to 50 members, not 0"),
        ({"name": "../x"}, "--name: '../x' is not a safe name"),
        ({"name": ""}, "--name: '' is not a safe name"),
    ],
)
def test_a_flag_with_a_bad_value_is_named(changes, problem):
    with pytest.raises(TopologyError, match=problem):
        override(Topology(), **changes)


def test_a_count_cannot_replace_members_that_are_written_out():
    with pytest.raises(TopologyError, match=r"--nodes: the topology lists its 1 members in \[\[node\]\] tables"):
        override(Topology(node=(NodeTable(name="a"),)), nodes=3)


@pytest.mark.parametrize("content", ["", EVERYTHING, "nodes = 5\n[etcd.env]\nA = ''"])
def test_a_topology_written_out_loads_back_equal(written, content):
    topology = load(written(content)).topology
    text = dump(topology)
    assert load(written(text)).topology == topology
    assert dump(load(written(text)).topology) == text


def test_defaults_are_written_out():
    data = tomllib.loads(dump(Topology()))
    assert data["restart"] == {
        "policy": "on-failure",
        "backoff": "500ms",
        "backoff_max": "30s",
        "healthy_after": "10s",
        "budget": 10,
        "window": "5m",
    }


def keys(kind: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind)]


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
WORDS = st.sampled_from(["", "n1", "3.5.16", "30s", "64KiB", "fast", "rsa-2048", "1.2", "shared", "localhost", "\0"])
VALUES = st.one_of(WORDS, TEXT, st.integers(), st.floats(), st.booleans(), st.dates(), st.datetimes(), st.times())
NAMES = st.one_of(
    st.sampled_from([*keys(Topology), *keys(NodeTable), *keys(EtcdTable), *keys(TlsTable), *keys(LeafTable)]), TEXT
)
DATA = st.recursive(
    VALUES, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=4))
)


def load_or_refuse(path: Path) -> Topology | None:
    """The topology, or None when it was refused properly; whatever else is raised fails the test."""
    try:
        return load(path).topology
    except TopologyError:
        return None


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.one_of(st.sampled_from(keys(Topology)), NAMES), DATA, max_size=6))
def test_any_toml_is_loaded_or_refused(written, data):
    if topology := load_or_refuse(written(tomli_w.dumps(data))):
        assert load(written(dump(topology))).topology == topology


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_loaded_or_refused(written, content):
    load_or_refuse(written(content))
