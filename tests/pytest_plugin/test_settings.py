"""What is set where, which of it counts, and what is said of what cannot be meant. Starts no etcd."""

import itertools
import re

import pytest

from etcdlab.model.topology import Profile, Topology
from etcdlab.pytest_plugin.existing import existing_cluster
from etcdlab.pytest_plugin.settings import _PROFILES, SETTINGS, check, read, setting
from etcdlab.pytest_plugin.shape import Shape, resolve

VALUES = {
    "topology": "lab.toml",
    "nodes": 5,
    "profile": "realistic",
    "tls": False,
    "faults": True,
    "etcd": "3.5.16",
    "timeout": 2.5,
    "max_labs": 7,
    "seed": 7,
    "keep": True,
    "shared": True,
    "bundle": "bundles",
    "endpoints": "https://127.0.0.1:2379",
    "cacert": "lab.toml",
    "cert": "lab.toml",
    "key": "lab.toml",
}
FLAGS = {
    "tls": ["--etcdlab-no-tls"],
    "faults": ["--etcdlab-faults"],
    "keep": ["--etcdlab-keep"],
    "shared": ["--etcdlab-shared"],
}
PATHS = ("topology", "bundle", "cacert", "cert", "key")


@pytest.fixture
def configure(pytester, monkeypatch):
    """Makes a pytest.Config from arguments, ini lines and environment variables."""
    pytester.path.joinpath("lab.toml").touch()

    def make(*arguments, ini=(), environment=None):
        pytester.makeini("\n".join(["[pytest]", *ini]))
        for name, value in (environment or {}).items():
            monkeypatch.setenv(name, value)
        return pytester.parseconfig(*arguments)

    return make


@pytest.fixture
def meant(pytester):
    """The values of VALUES, its paths below the directory of the ini file and the shell."""
    return {key: pytester.path / value if key in PATHS else value for key, value in VALUES.items()}


def settings(config):
    return {key: setting(config, key) for key in VALUES}


def test_every_setting_is_tried_here():
    assert [declared.key for declared in SETTINGS] == list(VALUES)
    assert list(_PROFILES) == sorted(profile.value for profile in Profile)


class TestPlaces:
    def test_command_line(self, configure, meant):
        flags = [FLAGS.get(key, [f"--etcdlab-{key.replace('_', '-')}", str(value)]) for key, value in VALUES.items()]
        assert settings(configure(*itertools.chain(*flags))) == meant

    def test_ini_file(self, configure, meant):
        assert settings(configure(ini=[f"etcdlab_{key} = {value}" for key, value in VALUES.items()])) == meant

    def test_environment(self, configure, meant):
        variables = {f"ETCDLAB_PYTEST_{key.upper()}": str(value) for key, value in VALUES.items()}
        assert settings(configure(environment=variables)) == meant

    def test_nowhere(self, configure):
        assert settings(configure(ini=[f"etcdlab_{key} =" for key in VALUES])) == dict.fromkeys(VALUES)

    def test_variables_of_etcdlab_exec_are_about_another_lab(self, configure):
        config = configure(environment={"ETCDLAB_ENDPOINTS": "https://127.0.0.1:1", "ETCDLAB_CERT": "/no/file"})
        check(config)
        assert existing_cluster(config) is None

    def test_files_are_relative_to_where_they_were_named(self, configure, pytester, monkeypatch):
        inner = pytester.mkdir("inner")
        (inner / "lab.toml").touch()
        monkeypatch.chdir(inner)
        shell = configure("--rootdir", str(pytester.path), "-c", "../tox.ini", "--etcdlab-topology", "lab.toml")
        assert setting(shell, "topology") == inner / "lab.toml"
        file = configure("-c", "../tox.ini", ini=["etcdlab_topology = lab.toml"])
        assert setting(file, "topology") == pytester.path / "lab.toml"
        monkeypatch.chdir("/")  # by a test, for its own purposes
        assert setting(shell, "topology") == inner / "lab.toml"

    def test_an_etcd_with_a_slash_is_a_file(self, configure, pytester):
        config = configure(ini=["etcdlab_etcd = bin/etcd"])
        assert setting(config, "etcd") == str(pytester.path / "bin/etcd")


class TestOrder:
    """factory > marker > command line > ini > environment: each layer is taken away in turn."""

    PLACES = {"ini": ["etcdlab_nodes = 4"], "environment": {"ETCDLAB_PYTEST_NODES": "5"}}

    def test_of_settings(self, configure, monkeypatch):
        assert setting(configure("--etcdlab-nodes", "3", **self.PLACES), "nodes") == 3
        assert setting(configure(**self.PLACES), "nodes") == 4
        assert setting(configure(environment=self.PLACES["environment"]), "nodes") == 5

    def test_of_layers(self, configure):
        config = configure("--etcdlab-nodes", "3", "--etcdlab-profile", "realistic")
        factory, marker = {"nodes": 1}, {"nodes": 2, "profile": "fast"}
        assert resolve(config, factory, marker) == Shape(nodes=1, profile="fast")
        assert resolve(config, {"nodes": None}, marker) == Shape(nodes=2, profile="fast")
        assert resolve(config) == Shape(nodes=3, profile="realistic")

    def test_no_tls_and_tls(self, configure):
        plain = ["etcdlab_tls = no"]
        assert setting(configure("--etcdlab-tls", ini=plain), "tls") is True
        assert setting(configure(ini=plain), "tls") is False


class TestShape:
    def test_is_fast_unless_a_topology_says_what_it_is(self, configure):
        assert resolve(configure()) == Shape(profile="fast")
        assert resolve(configure("--etcdlab-topology", "lab.toml")).profile is None
        assert resolve(configure(), {"topology": Topology()}).profile is None

    def test_is_equal_however_it_was_said(self, configure, pytester):
        config = configure(ini=["etcdlab_topology = lab.toml", "etcdlab_profile = fast", "etcdlab_timeout = 3"])
        said = {"topology": pytester.path / "lab.toml", "profile": Profile.FAST, "timeout": 3}
        assert resolve(config, said) == resolve(config, {"topology": "lab.toml"}) == resolve(config)


class TestRefused:
    @pytest.mark.parametrize(
        ("key", "text", "wanted"),
        [
            ("nodes", "many", "a whole number from 1 on"),
            ("nodes", "0", "a whole number from 1 on"),
            ("max_labs", "-1", "a whole number from 1 on"),
            ("seed", "-1", "a whole number from 0 on"),
            ("seed", "9" * 19, "a whole number from 0 on"),
            ("timeout", "soon", "a number of seconds"),
            ("timeout", "0", "a number of seconds"),
            ("timeout", "nan", "a number of seconds"),
            ("tls", "maybe", "true or false"),
            ("keep", "2", "true or false"),
            ("profile", "quick", "fast or realistic"),
        ],
    )
    def test_what_is_not_of_its_kind(self, tmp_path, key, text, wanted):
        with pytest.raises(pytest.UsageError, match=re.escape(f"NAME: {text!r} is not {wanted}")):
            read(key, text, "NAME", tmp_path)

    @pytest.mark.parametrize("key", ["topology", "cacert", "cert", "key"])
    def test_a_file_that_is_not_there(self, tmp_path, key):
        with pytest.raises(pytest.UsageError, match=f"NAME: there is no file {tmp_path}/missing"):
            read(key, "missing", "NAME", tmp_path)

    @pytest.mark.parametrize(
        ("name", "places"),
        [
            ("--etcdlab-nodes", {}),
            ("etcdlab_nodes", {"ini": ["etcdlab_nodes = x"]}),
            ("ETCDLAB_PYTEST_NODES", {"environment": {"ETCDLAB_PYTEST_NODES": "x"}}),
        ],
    )
    def test_by_its_name_before_any_test(self, configure, name, places):
        config = configure(*([] if places else [name, "x"]), **places)
        with pytest.raises(pytest.UsageError, match=f"^{name}: 'x' is not a whole number"):
            check(config)

    def test_a_certificate_for_no_cluster(self, configure):
        config = configure("--etcdlab-cacert", "lab.toml")
        with pytest.raises(pytest.UsageError, match="cacert is for an existing cluster"):
            check(config)

    @pytest.mark.parametrize("key", ["cert", "key"])
    def test_half_a_client(self, configure, key):
        config = configure("--etcdlab-endpoints", "https://127.0.0.1:1", f"--etcdlab-{key}", "lab.toml")
        with pytest.raises(pytest.UsageError, match="come together"):
            check(config)

    def test_what_a_lab_does_not_have(self, configure):
        with pytest.raises(pytest.UsageError, match=r"no 'nods', only topology, nodes, .*; did you mean 'nodes'"):
            resolve(configure(), {"nods": 5})
        with pytest.raises(
            pytest.UsageError, match=r"no 'xyz', only topology, nodes, profile, tls, faults, etcd, timeout$"
        ):
            resolve(configure(), {"xyz": 5})

    def test_what_a_test_says_wrongly(self, configure):
        with pytest.raises(pytest.UsageError, match="nodes: 'five' is not a whole number"):
            resolve(configure(), {"nodes": "five"})


class TestUsageMessages:
    """The same as a user sees it: one line, and no test begins."""

    def test_of_the_command_line(self, suite):
        suite.tests("def test(): pass")
        assert suite.refuse("--etcdlab-nodes", "many").strip() == (
            "ERROR: --etcdlab-nodes: 'many' is not a whole number from 1 on"
        )

    def test_of_the_environment_under_xdist(self, suite, monkeypatch):
        suite.tests("def test(): pass")
        monkeypatch.setenv("ETCDLAB_PYTEST_PROFILE", "quick")
        assert "ETCDLAB_PYTEST_PROFILE: 'quick' is not fast or realistic" in suite.refuse("-n", "1")
