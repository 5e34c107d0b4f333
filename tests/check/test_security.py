"""All checks together."""

import os
import time

import pytest

from etcdlab.check.report import Aspect
from etcdlab.check.security import check
from etcdlab.errors import NotRunningError
from etcdlab.prepare.labdir import LabDirectory
from tests.plans import make_plan


@pytest.mark.etcd
def test_a_lab_passes(lab):
    began = time.monotonic()
    report = check(lab)
    took_s = time.monotonic() - began
    assert report.passed
    assert report.lab == "secure"
    assert all(one.passed for one in report.checks)
    assert {one.name for one in report.checks} == set(Aspect) - {Aspect.TLS_1_2}
    listening = {one.member: one.detail for one in report.checks if one.name is Aspect.LOOPBACK}
    assert set(listening) == {"n1", "n2", "n3", None}
    for node in lab.load_plan().nodes:
        assert f"127.0.0.1:{node.client_port}" in listening[node.name]
    assert took_s < 2


@pytest.mark.etcd
def test_one_failure_fails_it_all(lab):
    key = lab.pki / "client-key.pem"
    key.chmod(0o644)
    try:
        report = check(lab)
    finally:
        key.chmod(0o600)
    assert not report.passed
    assert [one.name for one in report.checks if not one.passed] == [Aspect.KEY_MODES]


def test_without_tls_only_the_host_counts(tmp_path):
    plan = make_plan(tmp_path, tls=False)
    directory = LabDirectory(tmp_path / plan.lab)
    lock = directory.acquire()
    try:
        checks = check(directory).checks
    finally:
        os.close(lock)
    reasons = {one.name: one.detail for one in checks if one.passed is None}
    assert reasons[Aspect.NO_CERTIFICATE] == "does not apply: no TLS"
    assert {one.name for one in checks if one.passed is not None} == {Aspect.DIRECTORY_MODES, Aspect.SOCKET_MODE}


def test_a_lab_that_does_not_run_cannot_be_tried(tmp_path):
    plan = make_plan(tmp_path)
    with pytest.raises(NotRunningError) as caught:
        check(LabDirectory(tmp_path / plan.lab))
    assert "etcdlab up --name demo" in caught.value.hint
