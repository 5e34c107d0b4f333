import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from etcdlab.cli.env import env
from tests.plans import make_plan


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ETCDLAB_HOME", str(tmp_path))
    monkeypatch.delenv("ETCDLAB_LAB", raising=False)
    return tmp_path


def run(*args: str):
    return CliRunner().invoke(env, args)


def test_json_notation_is_exactly_the_variables(home):
    make_plan(home)
    result = run("--shell", "json")
    assert result.exit_code == 0
    assert set(json.loads(result.stdout)) == {
        "ETCDCTL_ENDPOINTS",
        "ETCDCTL_CACERT",
        "ETCDCTL_CERT",
        "ETCDCTL_KEY",
    }


def test_the_default_is_for_sh(home):
    make_plan(home, tls=False, nodes=1)
    assert run().stdout.splitlines()[0] == "export ETCDCTL_ENDPOINTS=http://localhost:1179"


def test_flags_instead_of_variables(home):
    make_plan(home)
    output = run("--flags", "--identity", "root").stdout
    assert "ETCDCTL" not in output
    assert output.split()[2] == f"--cert={home}/demo/pki/root.pem"


def test_json_object_names_the_lab(home):
    make_plan(home, tls=False, nodes=1)
    assert json.loads(run("--json").stdout) == {
        "version": 1,
        "lab": "demo",
        "variables": {"ETCDCTL_ENDPOINTS": "http://localhost:1179"},
    }
    assert json.loads(run("--json", "--flags").stdout)["flags"] == ["--endpoints=http://localhost:1179"]


def test_the_lab_is_chosen_by_name(home):
    make_plan(home, tls=False, nodes=1)
    make_plan(home, tls=False, nodes=2, lab="other")
    assert run().exit_code == 2
    assert "1279" in run("--lab", "other").stdout


@pytest.mark.parametrize("args", [[], ["--lab", "gone"]])
def test_without_a_lab_stdout_stays_empty(args):
    result = run(*args)
    assert result.exit_code == 3
    assert result.stdout == ""
    assert "error: there is no lab" in result.stderr


def test_an_unknown_identity_names_those_there_are(home):
    make_plan(home)
    result = run("--identity", "nobody")
    assert result.exit_code == 2
    assert "client, root" in result.stderr


def test_what_it_imports_is_cheap():
    # The promise is 0.1 s; these cost 20 to 150 ms each.
    slow = ["rich", "httpx", "cryptography", "trio", "starlette", "psutil", "platformdirs", "tomli_w", "asyncio"]
    code = f"import sys, etcdlab.cli.main, etcdlab.cli.env; print([m for m in {slow} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
