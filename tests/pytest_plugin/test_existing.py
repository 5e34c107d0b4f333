"""Tests on a cluster that was there before: they may connect, and nothing is done to it."""

import sys

import pytest

from etcdlab.lab import Lab
from etcdlab.pytest_plugin.existing import WHY
from tests.cli.command import program

pytestmark = pytest.mark.etcd

TESTS = """
    import subprocess, os
    import pytest

    ENDPOINTS = {endpoints!r}

    def test_connects(etcd, etcd_cluster, etcd_prefix):
        assert etcd is etcd_cluster
        assert etcd.endpoints == ENDPOINTS
        command = [{etcdctl!r}, "put", etcd_prefix + "a", "1"]
        assert subprocess.run(command, env=os.environ | etcd.env(), check=False).returncode == 0

    def test_stops_a_member(etcd):
        etcd.member("n1").stop()

    @pytest.mark.etcdlab(nodes=5)
    def test_marked(etcd):
        pass

    def test_factory(etcd_cluster_factory):
        pass

    def test_declared(own_etcd):
        pass
"""


def test_what_only_connects_runs_and_nothing_is_wiped(suite):
    suite.pytester.makeconftest("from etcdlab.pytest_plugin import factories\nown_etcd = factories.lab()")
    with Lab.up(nodes=2, profile="fast") as lab:
        lab.etcdctl("put", "mine", "1")
        suite.tests(TESTS.format(endpoints=lab.endpoints, etcdctl=lab.plan.etcdctl))
        flags = {"endpoints": ",".join(lab.endpoints), "cacert": lab.ca_cert, "cert": lab.client_cert}
        suite.ini(f"etcdlab_key = {lab.client_key}")
        # With "=": of an option it does not know yet, pytest takes a file after a space for one of tests.
        arguments = [f"--etcdlab-{flag}={value}" for flag, value in flags.items()]
        result = suite.run("-rs", *arguments, passed=1, skipped=4)
        result.stdout.fnmatch_lines_random([f"SKIPPED * 'member' {WHY}", f"SKIPPED * a lab of its own {WHY}"])
        assert "mine" in lab.etcdctl("get", "", "--prefix", "--keys-only")
        assert "/test-" in lab.etcdctl("get", "", "--prefix", "--keys-only")
        assert suite.labs() == [lab.name]


def test_under_etcdlab_exec_its_lab_is_another_until_it_is_named(suite):
    suite.tests("""
        import os

        def test(etcd_cluster, request):
            named = request.config.getoption("etcdlab_endpoints") is not None
            assert (",".join(etcd_cluster.endpoints) == os.environ["ETCDLAB_ENDPOINTS"]) == named
            if not named:
                assert etcd_cluster.name != os.environ["ETCDLAB_LAB"]
                etcd_cluster.etcdctl("put", "a", "1")
    """)
    named = " ".join(f'--etcdlab-{name.lower()}="$ETCDLAB_{name}"' for name in ("ENDPOINTS", "CACERT", "CERT", "KEY"))
    script = f"{sys.executable} -m pytest && {sys.executable} -m pytest {named} && etcdctl get a"
    result = program("exec", "--profile", "fast", "--nodes", "1", "--", "sh", "-c", script, cwd=suite.path)
    assert result.stdout.count("1 passed") == 2
    assert "1 passed" in result.stdout.splitlines()[-1]  # its lab has no key
    assert suite.labs() == []
