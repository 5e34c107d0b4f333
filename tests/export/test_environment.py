import msgspec
import pytest

from etcdlab.errors import UsageError
from etcdlab.export.env import choose_identity
from etcdlab.export.environment import inherited, lab_variables, pifpaf_variables
from etcdlab.model.topology import Topology
from etcdlab.pki import roles
from tests.plans import make_plan

PIDS = {"n1": 11, "n2": 22, "n3": None}


def secure(tmp_path):
    """A plan with TLS and the certificates that a default lab gets."""
    plan = make_plan(tmp_path)
    pki = roles.plan_pki(Topology(), tmp_path / "demo" / "pki", tmp_path)
    return msgspec.structs.replace(plan, pki=pki)


class TestLabVariables:
    def test_a_secure_lab(self, tmp_path):
        plan = secure(tmp_path)
        values = lab_variables(plan, choose_identity(plan, "root"), pids=PIDS)
        pki = tmp_path / "demo" / "pki"
        assert {name: value for name, value in values.items() if "_MEMBER_" not in name} == {
            "ETCDLAB_LAB": "demo",
            "ETCDLAB_ENDPOINTS": "https://localhost:1179,https://localhost:1279,https://localhost:1379",
            "ETCDLAB_ENDPOINT": "https://localhost:1179",
            "ETCDLAB_HOST": "localhost",
            "ETCDLAB_PORT": "1179",
            "ETCDLAB_SOCKET": plan.socket,
            "ETCDLAB_MEMBERS": "n1,n2,n3",
            "ETCDLAB_CACERT": f"{pki}/ca.pem",
            "ETCDLAB_CERT": f"{pki}/root.pem",
            "ETCDLAB_KEY": f"{pki}/root-key.pem",
            "ETCDLAB_GATEWAY_CERT": f"{pki}/client.pem",
            "ETCDLAB_GATEWAY_KEY": f"{pki}/client-key.pem",
            "ETCDLAB_SERVER_CERT": f"{pki}/server-n1.pem",
            "ETCDLAB_SERVER_KEY": f"{pki}/server-n1-key.pem",
        }

    def test_a_plain_lab_has_no_certificates(self, tmp_path):
        values = lab_variables(make_plan(tmp_path, tls=False), None, pids={})
        assert not [name for name in values if name.endswith(("CERT", "KEY"))]
        assert values["ETCDLAB_ENDPOINT"] == "http://localhost:1179"

    def test_members_by_number_and_by_name(self, tmp_path):
        values = lab_variables(make_plan(tmp_path), None, pids=PIDS, prefix="FOO")
        for which in ("2", "N2"):
            assert values[f"FOO_MEMBER_{which}_NAME"] == "n2"
            assert values[f"FOO_MEMBER_{which}_ENDPOINT"] == "https://localhost:1279"
            assert values[f"FOO_MEMBER_{which}_PEER_URL"] == "https://localhost:1280"
            assert values[f"FOO_MEMBER_{which}_METRICS_URL"] == "http://localhost:1281"
            assert values[f"FOO_MEMBER_{which}_PID"] == "22"
            assert values[f"FOO_MEMBER_{which}_DATA_DIR"] == str(tmp_path / "demo" / "nodes" / "n2" / "data")
        assert "FOO_MEMBER_3_PID" not in values
        assert all(name.startswith("FOO_") for name in values)

    def test_a_name_that_no_variable_can_have_or_that_is_another_number_is_left_out(self, tmp_path):
        plan = make_plan(tmp_path)
        names = ("a-b", "x", "2")
        nodes = tuple(
            msgspec.structs.replace(node, name=name) for node, name in zip(plan.nodes, names, strict=True)
        )  # fmt: skip
        values = lab_variables(msgspec.structs.replace(plan, nodes=nodes), None, pids={})
        told = {name: value for name, value in values.items() if name.endswith("_NAME")}
        assert told == {
            "ETCDLAB_MEMBER_1_NAME": "a-b",
            "ETCDLAB_MEMBER_2_NAME": "x",
            "ETCDLAB_MEMBER_3_NAME": "2",
            "ETCDLAB_MEMBER_X_NAME": "x",
        }

    def test_learners_are_members_and_no_endpoints(self, tmp_path):
        values = lab_variables(make_plan(tmp_path, nodes=2, learners=1), None, pids={})
        assert values["ETCDLAB_ENDPOINTS"] == "https://localhost:1179"
        assert values["ETCDLAB_MEMBER_2_ENDPOINT"] == "https://localhost:1279"


class TestInherited:
    STALE = {
        "ETCD_NAME": "old",
        "ETCDCTL_ENDPOINTS": "http://localhost:1",
        "ETCDLAB_CACERT": "/old/ca.pem",
        "ETCDLAB_GATEWAY_KEY": "/old/key.pem",
        "ETCDLAB_MEMBER_N7_PID": "7",
        "ETCDLAB_ENDPOINTS": "http://localhost:1",
    }
    KEPT = {"PATH": "/bin", "ETCDLAB_CACHE": "/cache", "ETCDLAB_NODES": "5", "PIFPAF_URLS": "redis://localhost:1"}
    BUNDLES = {"REQUESTS_CA_BUNDLE": "/etc/ca.pem", "CURL_CA_BUNDLE": "/etc/ca.pem"}

    def test_what_another_lab_or_etcd_left_is_dropped(self, tmp_path):
        assert inherited(self.STALE | self.KEPT, make_plan(tmp_path), proxies=True) == self.KEPT

    def test_ca_bundles_hide_the_labs_ca(self, tmp_path):
        assert inherited(self.BUNDLES | self.KEPT, make_plan(tmp_path), proxies=True) == self.KEPT
        plain = make_plan(tmp_path, lab="plain", tls=False)
        assert inherited(self.BUNDLES, plain, proxies=True) == self.BUNDLES

    @pytest.mark.parametrize(
        ("exempt", "expected"),
        [
            ({}, "localhost,127.0.0.1,::1"),
            ({"NO_PROXY": "corp.example, localhost"}, "corp.example,localhost,127.0.0.1,::1"),
            ({"no_proxy": "a", "NO_PROXY": "b"}, "a,localhost,127.0.0.1,::1"),
            ({"NO_PROXY": "*"}, "*"),
        ],
    )
    def test_proxies_are_kept_for_elsewhere(self, tmp_path, exempt, expected):
        proxy = {"https_proxy": "http://proxy:3128", "ETCD_PROXY": "off"}
        assert inherited(proxy | exempt, make_plan(tmp_path), proxies=True) == {
            "https_proxy": "http://proxy:3128",
            "no_proxy": expected,
            "NO_PROXY": expected,
        }

    def test_proxies_can_be_dropped(self, tmp_path):
        assert inherited({"ALL_PROXY": "socks5://proxy", "no_proxy": "a"}, make_plan(tmp_path), proxies=False) == {}


class TestPifpafVariables:
    def test_one_member(self, tmp_path):
        plan = make_plan(tmp_path, nodes=1, tls=False)
        assert pifpaf_variables(plan, pid=42, urls="") == {
            "PIFPAF_DATA": plan.nodes[0].data_dir,
            "PIFPAF_ETCD_PORT": "1179",
            "PIFPAF_ETCD_PEER_PORT": "1180",
            "PIFPAF_HTTP_URL": "http://localhost:1179",
            "PIFPAF_URL": "etcd://localhost:1179",
            "PIFPAF_ETCD_URL": "etcd://localhost:1179",
            "PIFPAF_DAEMON": "etcd",
            "PIFPAF_PID": "42",
            "PIFPAF_URLS": "etcd://localhost:1179",
        }

    def test_a_prefix_and_the_urls_of_an_outer_pifpaf(self, tmp_path):
        values = pifpaf_variables(make_plan(tmp_path, tls=False), prefix="FOO", pid=1, urls="redis://localhost:1")
        assert values.pop("PIFPAF_URLS") == "redis://localhost:1;etcd://localhost:1179"
        assert values["FOO_DATA"] == str(tmp_path / "demo")
        assert all(name.startswith("FOO_") for name in values)

    def test_a_secure_lab_is_refused(self, tmp_path):
        with pytest.raises(UsageError, match="TLS"):
            pifpaf_variables(make_plan(tmp_path), pid=1, urls="")
