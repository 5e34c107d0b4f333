import json

import msgspec
import pytest
from click.testing import CliRunner

from etcdlab.check import security
from etcdlab.check.report import Aspect, Check, Port, SecurityReport
from etcdlab.cli.check import check
from etcdlab.lab import Lab
from etcdlab.prepare.labdir import LabDirectory
from tests.plans import make_plan

GOOD = Check(name=Aspect.NO_CERTIFICATE, member="n1", port=Port.PEER, passed=True, detail="certificate required")
BAD = Check(name=Aspect.KEY_MODES, passed=False, detail="client-key.pem has mode 0644, not 0600")
OPEN = Check(name=Aspect.EXPIRED_CERTIFICATE, passed=None, detail="not tried")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ETCDLAB_HOME", str(tmp_path))
    monkeypatch.delenv("ETCDLAB_LAB", raising=False)
    return make_plan(tmp_path)


@pytest.fixture
def found(monkeypatch):
    def give(*checks):
        passed = all(one.passed is not False for one in checks)
        monkeypatch.setattr(
            security, "check", lambda directory: SecurityReport(lab=directory.name, passed=passed, checks=checks)
        )
        monkeypatch.setattr(Lab, "is_served", lambda _: True)
        monkeypatch.setattr(LabDirectory, "is_running", lambda _: True)

    return give


def run(*args: str):
    return CliRunner().invoke(check, args)


def test_one_line_each_with_the_words(found):
    found(GOOD, OPEN)
    result = run()
    assert result.exit_code == 0
    _, *lines = result.stdout.splitlines()
    assert [line.split(maxsplit=4) for line in lines] == [
        ["no-certificate-refused", "n1", "peer", "ok", "certificate required"],
        ["expired-certificate-refused", "-", "-", "-", "not tried"],
        ["demo:", "all", "1", "checks", "passed"],
    ]


def test_members_of_which_the_same_was_said_share_a_line(found):
    found(
        *(msgspec.structs.replace(GOOD, member=name) for name in ("n1", "n2")),
        msgspec.structs.replace(GOOD, passed=False),
    )
    _, *lines = run().stdout.splitlines()
    assert [line.split()[1:-2] for line in lines[:2]] == [["n1", "n2", "peer", "ok"], ["n1", "peer", "FAILED"]]


def test_a_failure_is_told_and_is_the_exit_status(found):
    found(GOOD, BAD)
    result = run()
    assert result.exit_code == 1
    assert "FAILED  client-key.pem has mode 0644, not 0600" in result.stdout
    assert result.stdout.endswith("demo: 1 of 2 checks failed\n")


def test_json_has_stable_keys(found):
    found(GOOD, BAD, OPEN)
    result = run("--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "version": 1,
        "lab": "demo",
        "passed": False,
        "checks": [
            {
                "name": "no-certificate-refused",
                "member": "n1",
                "port": "peer",
                "passed": True,
                "detail": "certificate required",
            },
            {"name": "key-modes", "member": None, "port": None, "passed": False, "detail": BAD.detail},
            {
                "name": "expired-certificate-refused",
                "member": None,
                "port": None,
                "passed": None,
                "detail": "not tried",
            },
        ],
    }
