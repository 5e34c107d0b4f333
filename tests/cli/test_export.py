import json
import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from etcdlab.cli.export import export
from tests.plans import make_plan


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.setenv("ETCDLAB_HOME", str(home))
    monkeypatch.delenv("ETCDLAB_LAB", raising=False)
    return home


@pytest.fixture
def secure(home):
    """A lab whose certificate files exist, each holding its own name."""
    plan = make_plan(home)
    pki = home / "demo" / "pki"
    pki.mkdir()
    for name in ("ca.pem", "client.pem", "client-key.pem"):
        (pki / name).write_text(name)
    return plan


def run(*args: str):
    return CliRunner().invoke(export, args)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_kubernetes_prints_both_forms(secure):
    lines = run("kubernetes").stdout.splitlines()
    assert lines[1].startswith('KUBE_ETCD_SERVERS="--etcd-servers=https://localhost:1179,')
    assert "--etcd-cafile=/etc/kubernetes/ssl/ca.pem" in lines


def test_kubernetes_flags_alone(secure):
    lines = run("kubernetes", "--flags").stdout.splitlines()
    assert [line.partition("=")[0] for line in lines] == [
        "--etcd-servers",
        "--etcd-cafile",
        "--etcd-certfile",
        "--etcd-keyfile",
    ]


def test_kubernetes_bundle(secure, tmp_path):
    output = tmp_path / "bundle"
    umask = os.umask(0)  # a key must not depend on it
    try:
        result = run("kubernetes", "--output", str(output), "--json")
    finally:
        os.umask(umask)
    kubernetes = output / "etc" / "kubernetes"
    files = [kubernetes / name for name in ("config", "ssl/ca.pem", "ssl/client.pem", "ssl/client-key.pem")]
    assert json.loads(result.stdout)["files"] == [str(file) for file in files]
    assert files[0].read_text().startswith("KUBE_ETCD_SERVERS=")
    assert [file.read_text() for file in files[1:]] == ["ca.pem", "client.pem", "client-key.pem"]
    assert [mode(file) for file in files] == [0o644, 0o644, 0o644, 0o600]


def test_nothing_is_replaced_unless_forced(secure, tmp_path):
    present = tmp_path / "etc" / "kubernetes" / "ssl" / "client-key.pem"
    present.parent.mkdir(parents=True)
    present.write_text("old")
    present.chmod(0o644)
    refused = run("kubernetes", "--output", str(tmp_path))
    assert refused.exit_code == 2
    assert str(present) in refused.stderr
    assert not (tmp_path / "etc" / "kubernetes" / "config").exists()
    assert run("kubernetes", "--output", str(tmp_path), "--force").exit_code == 0
    assert present.read_text() == "client-key.pem"
    assert mode(present) == 0o600


def test_a_link_in_the_way_is_replaced_and_not_followed(secure, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    config = tmp_path / "etc" / "kubernetes" / "config"
    config.parent.mkdir(parents=True)
    config.symlink_to(elsewhere)
    assert run("kubernetes", "--output", str(tmp_path)).exit_code == 2
    assert run("kubernetes", "--output", str(tmp_path), "--force").exit_code == 0
    assert not elsewhere.exists()


def test_missing_certificates_leave_nothing_behind(home, tmp_path):
    make_plan(home)
    output = tmp_path / "bundle"
    result = run("kubernetes", "--output", str(output))
    assert result.exit_code == 1
    assert "ca.pem cannot be read" in result.stderr
    assert not output.exists()


@pytest.mark.parametrize("exposed", [".", "etc/kubernetes"])
def test_no_key_goes_where_others_can_put_theirs(secure, tmp_path, exposed):
    output = tmp_path / "bundle"
    (output / exposed).mkdir(parents=True)
    (output / exposed).chmod(0o777)
    result = run("kubernetes", "--output", str(output))
    assert result.exit_code == 2
    assert "can be written by everybody" in result.stderr
    assert not [path for path in output.rglob("*") if path.is_file()]


def test_an_unwritable_output_is_a_message(secure, tmp_path):
    (tmp_path / "etc").write_text("a file in the way")
    result = run("kubernetes", "--output", str(tmp_path))
    assert result.exit_code == 1
    assert "could not be written" in result.stderr


def test_flags_and_output_exclude_each_other(secure, tmp_path):
    assert run("kubernetes", "--flags", "--output", str(tmp_path / "bundle")).exit_code == 2


@pytest.mark.parametrize("version", ["v1beta3", "v1beta4"])
def test_kubeadm(secure, version):
    assert run("kubeadm", "--api-version", version).stdout.startswith(f"apiVersion: kubeadm.k8s.io/{version}\n")


def test_kubeadm_bundle(secure, tmp_path):
    assert run("kubeadm", "--output", str(tmp_path)).exit_code == 0
    key = tmp_path / "etc" / "kubernetes" / "pki" / "apiserver-etcd-client.key"
    assert key.read_text() == "client-key.pem"
    assert mode(key) == 0o600
    assert "external:" in (tmp_path / "etc" / "kubernetes" / "kubeadm.yaml").read_text()


def test_env_is_a_dotenv_file(home):
    make_plan(home, nodes=1, tls=False)
    assert run("env").stdout == "ETCDCTL_ENDPOINTS=http://localhost:1179\n"


@pytest.mark.parametrize("kind", ["kubernetes", "kubeadm", "env"])
def test_each_kind_has_an_example_and_needs_a_lab(kind):
    assert "Example" in run(kind, "--help").stdout
    assert run(kind).exit_code == 3
