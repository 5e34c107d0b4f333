"""What the plugin says of itself, and what it costs a suite that does not use it. Starts no etcd."""

import subprocess
import sys

import pytest

LATE = ("etcdlab.lab", "etcdlab.pytest_plugin.pool", "trio", "msgspec", "cryptography", "httpx", "click", "psutil")
PUBLIC = ("etcd", "etcd_chaos", "etcd_cluster", "etcd_cluster_factory", "etcd_prefix")


def test_imports_nothing_that_a_lab_needs():
    code = f"import sys, etcdlab.pytest_plugin.plugin; print([name for name in {LATE} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.usefixtures("all_plugins")
def test_fixtures_and_marker_are_listed(suite):
    fixtures = suite.pytester.runpytest_subprocess("--fixtures").stdout
    text = (
        fixtures.str().split("fixtures defined from etcdlab.pytest_plugin.plugin")[1].split("fixtures defined from")[0]
    )
    for name in PUBLIC:
        fixtures.re_match_lines([rf"{name}( \[session scope\])? -- .*pytest_plugin/plugin\.py:\d+", r"    \w.*\."])
    assert text.count("plugin.py:") == len(PUBLIC)
    assert "no docstring available" not in text
    listed = suite.pytester.runpytest_subprocess("--markers").stdout
    for marker in ("etcdlab(nodes=*, *)", "etcdlab_chaos(scenario, seed=*)"):
        listed.fnmatch_lines([f"@pytest.mark.{marker}: *"])


@pytest.mark.usefixtures("all_plugins")
def test_is_left_out_on_request(suite):
    suite.ini()
    suite.tests("def test(etcd): pass")
    suite.run("-p", "no:etcdlab", errors=1).stdout.fnmatch_lines(["*fixture 'etcd' not found"])


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help(suite, arguments):
    result = suite.pytester.runpytest_subprocess(*arguments)
    assert result.ret == 0
    assert ("etcd clusters for tests (etcdlab):" in result.stdout.str()) == (arguments == ["--help"])
