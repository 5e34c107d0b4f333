"""Under pytest-xdist: a lab for each worker, or one for all."""

import re

import pytest

from etcdlab.prepare.ports import Ports
from tests.conftest import processes_of

pytestmark = pytest.mark.etcd

EACH = """
    import pathlib, time
    import pytest

    # A worker runs as many as there are workers divided by themselves: all four labs exist at once.
    @pytest.mark.parametrize("i", range(4))
    def test(etcd, worker_id, i):
        ports = [(node.client_port, node.peer_port, node.metrics_port) for node in etcd.plan.nodes]
        etcd.etcdctl("put", "who", worker_id)
        pathlib.Path(f"ran-{i}").write_text(repr((worker_id, etcd.name, ports)))
        deadline = time.monotonic() + 30
        while len(list(pathlib.Path().glob("ran-*"))) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert etcd.etcdctl("get", "who", "--print-value-only") == f"{worker_id}\\n"
"""


@pytest.fixture
def free_ports():
    with Ports() as ports:
        return [ports.choose() for _ in range(3)]


@pytest.mark.parametrize("turn", range(2))
def test_each_worker_has_its_lab(suite, turn):
    suite.tests(EACH)
    suite.run("-n", "4", passed=4)
    told = [eval(path.read_text()) for path in suite.path.glob("ran-*")]
    workers, names, ports = zip(*told, strict=True)
    assert sorted(workers) == ["gw0", "gw1", "gw2", "gw3"]
    assert all(
        re.fullmatch(f"pytest-{worker}-[0-9a-f]{{8}}", name) for worker, name in zip(workers, names, strict=True)
    )
    taken = [port for of_lab in ports for of_node in of_lab for port in of_node]
    assert len(set(taken)) == len(taken) == 12
    assert suite.labs() == []


def test_one_lab_for_all(suite):
    suite.tests("""
        import pathlib
        import pytest

        @pytest.mark.parametrize("i", range(6))
        def test(etcd, etcd_cluster, etcd_prefix, worker_id, i):
            assert etcd is etcd_cluster
            etcd.etcdctl("put", f"{etcd_prefix}{i}", "1")
            assert len(etcd.etcdctl("get", etcd_prefix, "--prefix", "--keys-only").split()) == 1
            pathlib.Path(f"ran-{i}").write_text(etcd.name)

        def test_that_fails(etcd):
            assert False

        @pytest.mark.etcdlab(tls=False)
        def test_marked(etcd, worker_id):
            assert etcd.ca_cert is None and etcd.name.startswith(f"pytest-{worker_id}-")
    """)
    result = suite.run("-n", "2", "--etcdlab-shared", passed=7, failed=1)
    (name,) = {path.read_text() for path in suite.path.glob("ran-*")}
    assert re.fullmatch("pytest-shared-[0-9a-f]{8}", name)
    section = result.stdout.str().split(f" etcdlab: {name} ")[1]
    assert "spawned" not in section  # it booted before the test
    assert suite.labs() == []


def test_a_shared_lab_that_does_not_come_up(suite):
    suite.tests("def test(etcd): pass")
    message = suite.refuse("-n", "1", "--etcdlab-shared", "--etcdlab-etcd", "./no-etcd")
    assert "ERROR: --etcdlab-shared: " in message
    assert "no-etcd" in message


def test_a_crashed_worker_leaves_nothing(suite):
    suite.tests("""
        import os

        def test_dies(etcd):
            os._exit(3)

        def test_1(etcd): pass
        def test_2(etcd): pass
    """)
    result = suite.run("-n", "2", passed=2, failed=1)
    result.stdout.fnmatch_lines(["*worker 'gw*' crashed while running 'test_it.py::test_dies'"])
    assert suite.labs() == []
    assert processes_of(suite.home) == []


def test_ports_that_are_written_down_can_be_had_once(suite, free_ports):
    suite.ini("etcdlab_topology = lab.toml")
    suite.pytester.makefile(
        ".toml",
        lab="""
        [etcd]
        profile = "fast"
        [[node]]
        name = "n1"
        client_port = {}
        peer_port = {}
        metrics_port = {}
    """.format(*free_ports),
    )
    suite.pytester.makeconftest("""
        import pathlib

        def pytest_runtest_logreport(report):
            if report.failed:
                pathlib.Path("refused").touch()
    """)
    suite.tests("""
        import pathlib, time
        import pytest

        @pytest.mark.parametrize("i", range(2))
        def test(etcd, i):
            deadline = time.monotonic() + 30
            while not pathlib.Path("refused").exists() and time.monotonic() < deadline:
                time.sleep(0.01)
    """)
    result = suite.run("-n", "2", passed=1, errors=1)
    # Which of the two depends on whether the other worker's etcd listens by then.
    holder = r"(etcd|another lab that is just being started) \(pid \d+\)"
    result.stdout.re_match_lines_random(
        [rf".*port \d+ on 127\.0\.0\.1 is taken by {holder}", r"Each worker .* leave them out.*"]
    )
