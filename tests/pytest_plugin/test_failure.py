"""What is left of a failed test: its report, an archive, and with --etcdlab-keep its lab."""

import re
import tarfile

import pytest

from etcdlab.errors import NotRunningError
from etcdlab.lab import Lab
from tests.conftest import processes_of

pytestmark = pytest.mark.etcd

TIME = r"\d\d:\d\d:\d\d\.\d{3}"


def test_the_report_tells_what_happened_during_the_test(suite):
    suite.tests("""
        def test_before(etcd):
            etcd.member("n1").restart(force=True)

        def test_it(etcd):
            etcd.member("n1").kill(force=True)
            etcd.wait_for_event("ready", "n1")
            etcd.wait_ready()
            assert not etcd

        def test_without_a_lab():
            assert False

        def test_removes_its_lab(etcd):
            etcd.down(purge=True)
            assert False
    """)
    output = suite.run(passed=1, failed=3).stdout.str()
    titles = re.findall("^-+ etcdlab: (pytest-main-[0-9a-f]{8}) -+$", output, re.MULTILINE)
    assert titles == [titles[0]] * 2
    section = output.split(f" etcdlab: {titles[0]} ")[1].split("\n_____")[0]
    lines = section.splitlines()[1:]
    assert lines[:3] == ["healthy, leader n1", "  n1 is healthy, 1 restarts", "events:"]
    for kind in ("exited  killed by SIGKILL", "restarted", "spawned", "ready"):
        assert len(re.findall(f"^  {TIME}  n1  {kind}", section, re.MULTILINE)) == 1
    assert re.search(f"^log:\n(  n1  {TIME} WARN  .*\n)+", section, re.MULTILINE)
    assert f"there is no lab '{titles[0]}'" in output.split(f" etcdlab: {titles[0]} ")[2]


def test_a_lab_that_does_not_come_up_tells_what_to_do(suite):
    suite.pytester.makefile(".toml", lab='nodes = 1\n[etcd]\nprofile = "fast"\nflags = { no-such-flag = "1" }\n')
    suite.tests("""
        def test_fixture(etcd): pass

        def test_factory(etcd_cluster_factory):
            etcd_cluster_factory()
    """)
    suite.ini("etcdlab_topology = lab.toml")
    output = suite.run(errors=1, failed=1).stdout.str()
    assert ">       etcd_cluster_factory()" in output
    assert "BootError" in output
    assert "pytest_plugin/" not in output
    sections = re.split("^-+ etcdlab -+$", output, flags=re.MULTILINE)[1:]
    assert len(sections) == 2
    for section in sections:
        assert "log:" in section
        assert "no-such-flag" in section


def test_a_lab_that_takes_too_long(suite):
    suite.tests("def test(etcd): pass")
    output = suite.run("--etcdlab-timeout", "0.01", errors=1).stdout.str()
    assert re.search("ERROR at setup of test .*\n.*within 0.01 s", output)
    assert suite.labs() == []


def test_a_bundle_has_everything_but_keys(suite):
    suite.tests("""
        def test_it(etcd):
            etcd.etcdctl("put", "a", "1")
            assert False

        def test_that_passes(etcd):
            pass
    """)
    output = suite.run("--etcdlab-bundle", "bundles", failed=1, passed=1).stdout.str()
    (path,) = (suite.path / "bundles").iterdir()
    assert f"bundle: {path}" in output
    name = re.fullmatch(r"test_it.py-test_it-(pytest-main-[0-9a-f]{8})\.tar\.gz", path.name)[1]
    with tarfile.open(path) as archive:
        contents = {entry.name: archive.extractfile(entry).read() for entry in archive}
    assert not [entry for entry, content in contents.items() if b"PRIVATE KEY" in content or "key" in entry]
    entries = {entry.removeprefix(f"{name}/") for entry in contents}
    plain = {entry for entry in entries if not entry.startswith("pki/")}
    log = {"n1/etcd.log"}
    assert plain == {"topology.toml", "plan.json", "events.jsonl", "daemon.log", "report.txt", "status.json", *log}
    assert "pki/ca.pem" in entries
    assert b'"verdict": "healthy"' in contents[f"{name}/status.json"]
    assert contents[f"{name}/report.txt"].startswith(b"healthy, leader n1")


def test_a_kept_lab_is_left_as_it_is(suite):
    suite.tests("""
        def test_it(etcd):
            etcd.etcdctl("put", "a", "kept")
            print("LAB", etcd.name)
            assert False

        def test_next(etcd, etcd_cluster):
            assert etcd is not etcd_cluster
            assert etcd.etcdctl("get", "a") == ""

        def test_of_its_own(etcd_cluster_factory):
            lab = etcd_cluster_factory()
            lab.etcdctl("put", "a", "kept")
            print("LAB", lab.name)
            assert False

        def test_last(etcd, etcd_cluster_factory):
            etcd_cluster_factory()
    """)
    output = suite.run("--etcdlab-keep", failed=2, passed=2).stdout.str()
    kept = re.findall("^LAB (.*)$", output, re.MULTILINE)
    assert suite.labs() == sorted(kept)
    for name in kept:
        assert f"kept: `etcdlab status --lab {name}`, and `etcdlab down --purge --lab {name}` at the end" in output
        lab = Lab.attach(name)
        assert lab.etcdctl("get", "a") == "a\nkept\n"
        lab.down(purge=True)
        with pytest.raises(NotRunningError):
            Lab.attach(name)
    assert processes_of(suite.home) == []
