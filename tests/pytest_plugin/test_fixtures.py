"""What the fixtures give: which lab, in which state, and for how long."""

import pytest

pytestmark = pytest.mark.etcd


def test_the_sessions_lab_is_one_and_pristine_for_each_test(suite):
    suite.tests("""
        import pytest

        seen = set()

        @pytest.fixture(autouse=True)
        def begin(etcd, etcd_cluster):
            assert etcd is etcd_cluster
            assert etcd.name.startswith("pytest-main-")
            assert len(etcd.members) == 1 and etcd.ca_cert
            status = etcd.status()
            assert status.verdict.value == "healthy"
            assert etcd.etcdctl("get", "", "--prefix") == etcd.etcdctl("user", "list") == ""
            seen.add(etcd.name)

        def test_keys(etcd):
            etcd.etcdctl("put", "a", "1")

        def test_stopped(etcd):
            etcd.member("n1").stop(force=True)

        def test_paused(etcd):
            etcd.member("n1").pause(force=True)

        def test_auth(etcd):
            etcd.etcdctl("user", "add", "root:secret")
            etcd.etcdctl("user", "grant-role", "root", "root")
            etcd.etcdctl("auth", "enable")

        def test_last():
            assert len(seen) == 1
    """)
    suite.run(passed=5)


def test_a_lab_that_a_test_has_ended_is_replaced(suite):
    suite.tests("""
        import os, signal
        import pytest
        from etcdlab.prepare.labdir import all_labs

        @pytest.mark.etcdlab(tls=False)
        def test_marked_removes_it(etcd):
            etcd.down(purge=True)

        @pytest.mark.etcdlab(tls=False)
        def test_marked_has_another(etcd):
            etcd.etcdctl("put", "a", "1")

        def test_stops_it(etcd):
            etcd.down()

        def test_has_another(etcd, etcd_cluster):
            assert etcd is not etcd_cluster
            etcd.etcdctl("put", "a", "1")
            etcd_cluster.down(purge=True)

        def test_the_same_again(etcd, etcd_cluster_factory):
            assert etcd.etcdctl("get", "a") == ""
            etcd_cluster_factory().down(purge=True)
    """)
    suite.run(passed=5)


def test_a_marker_asks_for_a_shape(suite):
    suite.pytester.makefile(".toml", lab='nodes = 1\nname = "mine"\n[tls]\nenabled = false\n')
    suite.tests("""
        import pytest
        from etcdlab.prepare.labdir import all_labs

        names = {}

        def running():
            return {lab.name for lab in all_labs()}

        def test_default(etcd):
            names["default"] = etcd.name

        @pytest.mark.etcdlab(nodes=1, timeout=30)
        def test_timeout(etcd):
            assert etcd.name not in names.values()
            etcd.etcdctl("put", "a", "1")
            names["timeout"] = etcd.name

        @pytest.mark.etcdlab(tls=False)
        class TestPlain:
            def test_of_the_class(self, etcd):
                assert etcd.ca_cert is None and len(etcd.members) == 1
                names["plain"] = etcd.name

            @pytest.mark.etcdlab(profile="fast")
            def test_the_closer_marker_adds_to_it(self, etcd):
                assert etcd.name == names["plain"]

        @pytest.mark.etcdlab(timeout=30)
        def test_same_shape_same_lab(etcd):
            assert etcd.name == names["timeout"]
            assert etcd.etcdctl("get", "a") == ""
            assert running() == set(names.values())  # three, as many as may run

        @pytest.mark.etcdlab(topology="lab.toml")
        def test_a_fourth_closes_the_least_recently_used(etcd):
            assert etcd.ca_cert is None and etcd.name.startswith("pytest-main-")
            assert running() == set(names.values()) - {names["plain"]} | {etcd.name}

        @pytest.mark.etcdlab(nodes=1)
        def test_the_default_said_again(etcd):
            assert etcd.name == names["default"]
    """)
    suite.run("--etcdlab-max-labs", "3", passed=7)


def test_labs_of_ones_own(suite):
    suite.pytester.makeconftest("""
        from etcdlab.pytest_plugin import factories

        session_etcd = factories.lab(tls=False)
        module_etcd = factories.lab(tls=False, scope="module")
        own = factories.lab(scope="function", name="function_etcd")
    """)
    suite.tests("""
        import pytest
        from etcdlab.prepare.labdir import all_labs

        names = []

        def test_scopes(session_etcd, module_etcd, function_etcd):
            names.extend([session_etcd.name, module_etcd.name, function_etcd.name])
            assert len(set(names)) == 3
            assert session_etcd.ca_cert is None and function_etcd.ca_cert
            session_etcd.etcdctl("put", "a", "1")
            function_etcd.etcdctl("put", "a", "1")

        @pytest.mark.etcdlab(profile="fast")
        def test_scopes_again(session_etcd, module_etcd, function_etcd):
            assert names == [session_etcd.name, module_etcd.name, function_etcd.name]
            assert session_etcd.etcdctl("get", "a") == "a\\n1\\n"
            assert function_etcd.etcdctl("get", "a") == ""

        @pytest.mark.etcdlab(tls=False)
        def test_a_marker_fills_what_the_factory_leaves_open(etcd_cluster_factory):
            lab = etcd_cluster_factory(profile="fast")
            assert lab.ca_cert is None
            assert etcd_cluster_factory(tls=True).ca_cert
            assert lab.is_running()
            names.append(lab.name)

        def test_they_end_with_their_test():
            assert names[-1] not in [lab.name for lab in all_labs()]
    """)
    suite.run(passed=4)


def test_what_a_test_asks_for_wrongly_is_told_without_a_traceback(suite):
    suite.pytester.makeconftest("""
        from etcdlab.pytest_plugin import factories

        wrong_etcd = factories.lab(node=3)
    """)
    suite.tests("""
        import pytest

        @pytest.mark.etcdlab(nods=5)
        def test_unknown(etcd): pass

        @pytest.mark.etcdlab(5)
        def test_positional(etcd): pass

        @pytest.mark.etcdlab(nodes=99)
        def test_too_many(etcd): pass

        def test_declared(wrong_etcd): pass

        def test_made(etcd_cluster_factory):
            etcd_cluster_factory(profile="quick")
    """)
    result = suite.run(errors=4, failed=1)
    result.stdout.fnmatch_lines(
        [
            "a lab has no 'nods', only *; did you mean 'nodes'?",
            "@pytest.mark.etcdlab takes keywords only, as in etcdlab(nodes=5)",
            "--nodes: *",
            "a lab has no 'node', only *; did you mean 'nodes'?",
            '>       etcd_cluster_factory(profile="quick")',
            "E       *UsageError: profile: 'quick' is not fast or realistic",
        ]
    )
    assert "etcdlab/pytest_plugin" not in result.stdout.str()


def test_prefixes_differ(suite):
    suite.tests("""
        import pytest

        seen = set()

        @pytest.mark.parametrize("i", range(3))
        def test(etcd_prefix, i):
            assert etcd_prefix not in seen
            assert etcd_prefix.startswith("/") and etcd_prefix.endswith("/")
            seen.add(etcd_prefix)
    """)
    suite.run(passed=3)


def test_links_that_can_have_faults(suite):
    suite.tests("""
        import pytest

        @pytest.mark.etcdlab(nodes=3, faults=True)
        def test_left_broken(etcd):
            etcd.isolate("n1")
            assert len(etcd.faults()) == 4

        @pytest.mark.etcdlab(nodes=3, faults=True)
        def test_pristine(etcd):
            assert etcd.faults() == ()
    """)
    suite.run(passed=2)
