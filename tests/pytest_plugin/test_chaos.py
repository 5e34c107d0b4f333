"""`@pytest.mark.etcdlab_chaos`: a scenario is done to a test's lab, and a failed one's report says how to repeat it."""

import re

import pytest

pytestmark = pytest.mark.etcd

KILL = {"seed": 5, "step": [{"at": "100ms", "do": "kill", "nodes": ["random"], "force": True}]}
LINKS = {"step": [{"at": "1ms", "do": "isolate", "node": "n1"}]}


def test_the_marker_does_it_and_the_lab_is_healed(suite):
    suite.pytester.makefile(".toml", storm='[[step]]\nat = "10ms"\ndo = "pause"\nnodes = ["n1"]\nforce = true\n')
    suite.tests(f"""
        import pytest
        @pytest.mark.etcdlab_chaos("storm.toml", seed=7)
        def test_file(etcd, etcd_chaos):
            etcd.wait_until(lambda status: status.nodes[0].paused)
            assert (etcd_chaos.name, etcd_chaos.seed) == ("storm", 7)

        def test_after(etcd_cluster):
            assert etcd_cluster.status().nodes[0].healthy
            etcd_cluster.etcdctl("put", "a", "1")

        @pytest.mark.etcdlab_chaos({KILL})
        def test_table_without_the_fixture(etcd):
            etcd.wait_until(lambda status: status.nodes[0].restarts)

        @pytest.mark.etcdlab_chaos({KILL})
        def test_on_a_lab_of_its_own(etcd_chaos, etcd_cluster_factory):
            assert etcd_chaos.seed == 5

        @pytest.mark.etcdlab(nodes=2)
        @pytest.mark.etcdlab_chaos({KILL})
        def test_of_another_shape(etcd_chaos, etcd):
            assert len(etcd.members) == 2
    """)
    suite.run(passed=5)


def test_what_cannot_be_is_told_before_the_test(suite):
    suite.tests(f"""
        import pytest
        @pytest.mark.etcdlab_chaos({LINKS})
        def test_no_links(etcd): pass

        @pytest.mark.etcdlab_chaos("none.toml")
        def test_no_file(etcd): pass

        @pytest.mark.etcdlab_chaos()
        def test_nothing(etcd): pass

        def test_no_marker(etcd_chaos): pass
    """)
    output = suite.run(errors=4).stdout.str()
    assert "step[0].do: the links of lab" in output
    assert "@pytest.mark.etcdlab(faults=True)" in output
    assert f"{suite.path}/none.toml: cannot be read" in output
    assert output.count('\na scenario is named by @pytest.mark.etcdlab_chaos("storm.toml")') == 2
    assert "pytest_plugin/" not in output


def test_a_failed_test_says_what_was_done_and_how_to_repeat_it(suite):
    suite.tests(f"""
        import pytest
        @pytest.mark.etcdlab_chaos({KILL})
        def test_it(etcd):
            etcd.wait_until(lambda status: status.nodes[0].restarts and status.nodes[0].healthy)
            assert False
    """)
    output = suite.run("--etcdlab-seed=11", failed=1).stdout.str()
    section = output.split(" etcdlab: chaos ")[1].splitlines()[1:4]
    assert re.fullmatch("scenario, seed 11, run [0-9a-f]{8}", section[0])
    assert section[1] == "done:"
    assert re.fullmatch(r" +\d\.\d s  kill n1 --force", section[2])
    assert "again: pytest --etcdlab-seed=11 test_it.py::test_it\n" in output


def test_a_cluster_that_is_not_ours_bears_nothing(suite):
    suite.tests(f"""
        import pytest
        @pytest.mark.etcdlab_chaos({KILL})
        def test_it(etcd): pass
    """)
    suite.run("--etcdlab-endpoints=http://127.0.0.1:1", skipped=1)
