import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from etcdlab.errors import TopologyError
from etcdlab.model.certificate import KeyType, Role, Subject, Usage
from etcdlab.model.topology import Topology
from etcdlab.model.units import Duration
from etcdlab.pki import roles
from tests.pki.tools import RECIPE, small_recipe

HOUR = 3600.0


def topology(**tables) -> Topology:
    def decode(kind, value):
        return Duration.parse(value)

    return msgspec.convert(tables, Topology, dec_hook=decode)


def plan(**tables):
    asked = topology(**tables)
    assert roles.problems(asked) == []
    made = roles.plan_pki(asked, Path("/lab/pki"), RECIPE)
    return made, {leaf.stem: leaf for leaf in made.certificates}


def test_the_default_lab():
    made, leaves = plan(name="demo")
    assert made.directory == "/lab/pki"
    assert made.authority.subject == Subject(CN="etcdlab demo CA")
    assert made.authority.lifetime_s == 87600 * HOUR
    assert list(leaves) == [f"{role}-n{number}" for number in (1, 2, 3) for role in ("server", "peer")] + [
        "client",
        "gateway",
    ]
    for stem in ("server-n2", "peer-n2"):
        assert leaves[stem].hosts == ("localhost", "127.0.0.1", "::1", "n2")
        assert leaves[stem].usages == (Usage.SIGNING, Usage.SERVER_AUTH, Usage.CLIENT_AUTH)
        assert leaves[stem].lifetime_s == 8760 * HOUR
    assert leaves["client"].usages == (Usage.SIGNING, Usage.CLIENT_AUTH)
    assert leaves["client"].subject.CN == "etcd-client"
    assert leaves["client"].hosts == ()


def test_the_gateway_has_no_cn_but_never_an_empty_subject():
    assert plan()[1]["gateway"].subject == Subject(O="etcdlab")
    assert plan(tls={"subject": {"OU": "PaaS"}})[1]["gateway"].subject == Subject(OU="PaaS")


def test_stems_are_what_the_plan_issues():
    for leaves in ("shared", "per-member"):
        asked = topology(tls={"leaves": leaves}, nodes=2)
        stems = {leaf.stem for leaf in roles.plan_pki(asked, Path(), Path()).certificates}
        for node in ("n1", "n2"):
            assert {roles.server_stem(asked, node), roles.peer_stem(asked, node)} <= stems


def test_one_shared_pair_covers_every_member():
    _, leaves = plan(tls={"leaves": "shared", "server": {"hosts": ["etcd.example.com"]}}, nodes=2)
    assert list(leaves) == ["server", "client", "gateway"]
    assert leaves["server"].hosts == ("localhost", "127.0.0.1", "::1", "n1", "n2", "etcd.example.com")


def test_hosts_are_added_and_said_once():
    _, leaves = plan(etcd={"advertise_host": "10.0.0.1"}, tls={"peer": {"hosts": ["n1", "10.0.0.2"]}}, nodes=1)
    assert leaves["peer-n1"].hosts == ("localhost", "127.0.0.1", "::1", "10.0.0.1", "n1", "10.0.0.2")
    assert leaves["server-n1"].hosts == ("localhost", "127.0.0.1", "::1", "10.0.0.1", "n1")


def test_a_member_name_that_is_no_host_is_left_out():
    _, leaves = plan(node=[{"name": "etcd one"}])
    assert leaves["server-etcd one"].hosts == ("localhost", "127.0.0.1", "::1")


def test_each_role_as_its_table_says():
    made, leaves = plan(
        nodes=1,
        tls={
            "key": "rsa-2048",
            "subject": {"O": "ETCD"},
            "ca": {"cn": "Etcd", "key": "rsa-4096", "lifetime": "100000h"},
            "server": {"cn": "s", "lifetime": "90d"},
            "peer": {"cn": "", "key": "ecdsa-p384"},
        },
    )
    assert made.authority.subject == Subject(CN="Etcd", O="ETCD")
    assert made.authority.key is KeyType.RSA_4096
    assert leaves["server-n1"].subject == Subject(CN="s", O="ETCD")
    assert leaves["server-n1"].lifetime_s == 90 * 24 * HOUR
    assert leaves["server-n1"].usages[:2] == (Usage.SIGNING, Usage.KEY_ENCIPHERMENT)
    assert leaves["peer-n1"].subject == Subject(O="ETCD")
    assert leaves["peer-n1"].key is KeyType.ECDSA_P384
    assert Usage.KEY_ENCIPHERMENT not in leaves["peer-n1"].usages


def test_a_default_lifetime_ends_with_its_ca():
    _, leaves = plan(tls={"ca": {"lifetime": "30d"}})
    assert {leaf.lifetime_s for leaf in leaves.values()} == {30 * 24 * HOUR}


def test_identities_in_order_with_their_names():
    named = [{"name": "root"}, {"name": "alice", "cn": "Alice"}, {"name": "nobody", "cn": "", "lifetime": "1h"}]
    asked = topology(tls={"identity": named})
    expected = (("client", "etcd-client"), ("root", "root"), ("alice", "Alice"), ("nobody", ""), ("gateway", ""))
    assert roles.identities(asked) == expected
    clients = [leaf for leaf in roles.plan_pki(asked, Path(), Path()).certificates if leaf.role is Role.CLIENT]
    assert tuple((leaf.stem, leaf.subject.CN) for leaf in clients) == expected
    assert clients[3].lifetime_s == HOUR


def test_the_recipe_as_cfssl_has_it(tmp_path):
    made, leaves = plan(
        tls={
            "leaves": "shared",
            "cfssl": {
                "config": "ca-config.json",
                "ca": "ca-csr.json",
                "server": "server-csr.json",
                "client": "client-csr.json",
            },
        },
        etcd={"advertise_host": "localhost"},
    )
    rest = {"C": "CN", "ST": "Shanghai", "L": "Shanghai", "O": "ETCD", "OU": "PaaS"}
    assert made.authority.subject == Subject(CN="Etcd", **rest)
    assert made.authority.key is KeyType.RSA_4096
    assert list(leaves) == ["server", "client", "gateway"]
    assert leaves["server"].subject == Subject(CN="etcd-server", **rest)
    assert leaves["server"].hosts == ("localhost", "0.0.0.0", "127.0.0.1", "etcd1.master.com", "etcd2.master.com")
    assert leaves["server"].lifetime_s == 100000 * HOUR
    assert leaves["client"].lifetime_s == 8760 * HOUR
    assert leaves["client"].hosts == ()
    assert leaves["gateway"].subject == Subject(**rest)


def test_all_that_is_wrong_in_cfssl_files_is_said_at_once(tmp_path):
    base = small_recipe(tmp_path / "recipe")
    (base / "ca-csr.json").write_text('{"CN": "Etcd", "key": {"algo": "dsa", "size": 1024}}')
    (base / "server-csr.json").write_text('{"CN": "s", "hosts": ["a b", "127.0.0.1"]}')
    files = {"config": "ca-config.json", "ca": "ca-csr.json", "server": "server-csr.json", "client": "missing.json"}
    asked = topology(tls={"cfssl": files | {"server_profile": "sever"}})
    with pytest.raises(TopologyError) as caught:
        roles.plan_pki(asked, tmp_path, base)
    dsa, host, profile, missing = caught.value.problems
    assert dsa.startswith(f"{base / 'ca-csr.json'}: key: dsa 1024 cannot be made; accepted: ecdsa 256")
    assert host.startswith(f"{base / 'server-csr.json'}: hosts: 'a b' is neither")
    assert profile.startswith(f"{base / 'ca-config.json'}: signing.profiles.sever: there is no such profile")
    assert missing == f"{base / 'missing.json'}: cannot be read: No such file or directory"


def test_hosts_in_cfssl_files_that_members_could_not_be_dialled_at():
    files = {"config": "ca-config.json", "ca": "ca-csr.json", "server": "server-csr.json", "client": "client-csr.json"}
    asked = topology(tls={"cfssl": files}, etcd={"advertise_host": "10.0.0.1"})
    with pytest.raises(TopologyError, match=r"server-csr\.json: hosts: lacks 10\.0\.0\.1"):
        roles.plan_pki(asked, Path(), RECIPE)


def test_hosts_in_cfssl_files_that_a_fault_network_needs():
    files = {"config": "ca-config.json", "ca": "ca-csr.json", "server": "server-csr.json", "client": "client-csr.json"}
    asked = topology(tls={"cfssl": files}, network={"faults": True}, nodes=2)
    with pytest.raises(TopologyError) as refused:
        roles.plan_pki(asked, Path(), RECIPE)
    assert [problem.partition(": ")[2] for problem in refused.value.problems] == [
        f"hosts: lacks 192.0.2.{number}, at which members are dialled (network.faults)" for number in (1, 2)
    ]


def test_an_existing_ca_is_found_from_the_topology_file_on(tmp_path):
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----")
    (tmp_path / "ca.key").write_text("-----BEGIN EC PRIVATE KEY-----")
    asked = topology(tls={"ca": {"certificate": "ca.pem", "private_key": "ca.key"}})
    assert roles.problems(asked) == []
    authority = roles.plan_pki(asked, Path(), tmp_path).authority
    assert authority.existing_certificate == str(tmp_path / "ca.pem")
    assert authority.existing_key == str(tmp_path / "ca.key")


def test_an_existing_ca_that_cannot_be_used(tmp_path):
    (tmp_path / "ca.key").write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    asked = topology(tls={"ca": {"certificate": "ca.pem", "private_key": "ca.key"}})
    with pytest.raises(TopologyError) as caught:
        roles.plan_pki(asked, Path(), tmp_path)
    missing, encrypted = caught.value.problems
    assert missing == f"{tmp_path / 'ca.pem'}: cannot be read: No such file or directory"
    assert encrypted.startswith(f"{tmp_path / 'ca.key'}: is encrypted")


CFSSL = {"config": "c", "ca": "a", "server": "s", "client": "k"}
EXISTING = {"certificate": "ca.pem", "private_key": "ca-key.pem"}


@pytest.mark.parametrize(
    ("tls", "path", "words"),
    [
        ({"server": {"lifetime": "0s"}}, "tls.server.lifetime", "is zero"),
        ({"ca": {"lifetime": "0s"}}, "tls.ca.lifetime", "is zero"),
        ({"client": {"lifetime": "7300d"}}, "tls.client.lifetime", "the CA lives only 3650d"),
        ({"ca": {"lifetime": "40000d"}}, "tls.ca.lifetime", "100 years"),
        ({"ca": {"certificate": "x"}}, "tls.ca.private_key", "needs both"),
        ({"ca": {"private_key": "x"}}, "tls.ca.certificate", "needs both"),
        ({"ca": EXISTING | {"cn": "x"}}, "tls.ca.cn", "existing CA"),
        ({"server": {"hosts": ["ok", "a b"]}}, "tls.server.hosts[1]", "'a b'"),
        ({"client": {"cn": "x" * 65}}, "tls.client.cn", "65 characters"),
        ({"subject": {"C": "China"}}, "tls.subject.C", "two letters"),
        ({"leaves": "shared", "peer": {"cn": "x"}}, "tls.peer", "no effect"),
        ({"identity": [{"name": "a/b"}]}, "tls.identity[0].name", "file name"),
        ({"identity": [{"name": "a"}, {"name": "A"}]}, "tls.identity[1].name", "'a'"),
        ({"identity": [{"name": "Client"}]}, "tls.identity[0].name", "'client'"),
        ({"identity": [{"name": "gateway"}]}, "tls.identity[0].name", "'gateway'"),
        ({"identity": [{"name": "ca"}]}, "tls.identity[0].name", "'ca'"),
        ({"identity": [{"name": "client-key"}]}, "tls.identity[0].name", "'client'"),
        ({"identity": [{"name": "peer-n2"}]}, "tls.identity[0].name", "'peer-n2'"),
        ({"identity": [{"name": "x", "lifetime": "0s"}]}, "tls.identity[0].lifetime", "is zero"),
        ({"cfssl": CFSSL, "client": {"cn": "x"}}, "tls.client", "no effect beside tls.cfssl"),
        ({"cfssl": CFSSL, "ca": EXISTING}, "tls.cfssl.ca", "remove one"),
        ({"cfssl": {k: v for k, v in CFSSL.items() if k != "ca"}}, "tls.cfssl.ca", "is missing"),
        ({"cfssl": CFSSL | {"peer": "p"}, "leaves": "shared"}, "tls.cfssl.peer", "no effect"),
    ],
)
def test_each_problem_is_found_alone(tls, path, words):
    ((found, sentence),) = roles.problems(topology(tls=tls))
    assert found == path
    assert words in sentence


def test_without_tls_nothing_is_wrong_with_it():
    assert roles.problems(topology(tls={"enabled": False, "server": {"lifetime": "0s"}})) == []


def test_planning_does_not_pay_for_cryptography():
    code = "import sys, etcdlab.pki.roles, etcdlab.pki.files; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
