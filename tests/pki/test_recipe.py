"""The recipe's JSON files through cfssl and through etcdlab: the certificates say the same."""

import datetime

import pytest
from click.testing import CliRunner
from cryptography import x509

from etcdlab.cli.pki import pki
from etcdlab.pki import inspect
from tests.pki.tools import RECIPE, certinfo, cfssl_gencert, small_recipe, text, verifies


def etcdlab_pki(*args: object) -> None:
    result = CliRunner().invoke(pki, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return small_recipe(tmp_path_factory.mktemp("recipe") / "recipe")


@pytest.fixture(scope="module")
def theirs(recipe, tmp_path_factory):
    directory = tmp_path_factory.mktemp("theirs")
    cfssl_gencert(directory, "ca", "-initca", recipe / "ca-csr.json")
    for profile in ("server", "client"):
        cfssl_gencert(
            directory, profile, "-ca=ca.pem", "-ca-key=ca-key.pem", f"-config={recipe / 'ca-config.json'}",
            f"-profile={profile}", recipe / f"{profile}-csr.json",
        )  # fmt: skip
    return directory


@pytest.fixture(scope="module")
def ours(recipe, tmp_path_factory):
    directory = tmp_path_factory.mktemp("ours")
    etcdlab_pki("init", "--directory", directory, "--csr", recipe / "ca-csr.json")
    for profile in ("server", "client"):
        etcdlab_pki(
            "issue", profile, "--directory", directory, "--role", profile, "--csr", recipe / f"{profile}-csr.json",
            "--config", recipe / "ca-config.json", "--profile", profile,
        )  # fmt: skip
    return directory


def facts(file) -> dict:
    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    return {
        "subject": inspect.text(certificate.subject),
        "issuer": inspect.text(certificate.issuer),
        "usages": inspect.usages(certificate),
        # cfssl makes an empty DNS name of the recipe's `"hosts": [""]`; etcdlab leaves it out.
        "hosts": sorted(host for host in inspect.hosts(certificate) if host),
        "key": inspect.key_name(certificate),
        "is_ca": inspect.no_authority(certificate) == "",
        "lifetime": certificate.not_valid_after_utc - certificate.not_valid_before_utc,
    }


@pytest.mark.parametrize("stem", ["ca", "server", "client"])
def test_both_make_the_same_certificate(theirs, ours, stem):
    assert facts(ours / f"{stem}.pem") == facts(theirs / f"{stem}.pem")


@pytest.mark.parametrize("stem", ["ca", "server", "client"])
def test_cfssl_reads_the_same_in_both(theirs, ours, stem):
    def read(directory):
        info = certinfo(directory / f"{stem}.pem")
        info["sans"] = sorted(host for host in info.get("sans") or [] if host)
        return {key: info[key] for key in ("subject", "issuer", "sans", "sigalg")}

    assert read(ours) == read(theirs)


def test_both_make_the_same_files(theirs, ours):
    assert {path.name for path in ours.iterdir()} == {path.name for path in theirs.iterdir()}


def test_the_recipe_as_it_is_written(ours):
    server = facts(ours / "server.pem")
    assert server["subject"] == "C=CN, ST=Shanghai, L=Shanghai, O=ETCD, OU=PaaS, CN=etcd-server"
    assert server["usages"] == ("signing", "key encipherment", "server auth", "client auth")
    assert server["lifetime"] == datetime.timedelta(hours=100000)
    assert facts(ours / "client.pem")["lifetime"] == datetime.timedelta(hours=8760)
    assert facts(ours / "ca.pem")["lifetime"] == datetime.timedelta(hours=43800)
    assert verifies(ours / "server.pem", ours / "ca.pem", "-verify_hostname", "etcd1.master.com")


def test_a_ca_made_by_cfssl_issues_through_etcdlab(theirs):
    etcdlab_pki("issue", "more", "--directory", theirs)
    assert verifies(theirs / "more.pem", theirs / "ca.pem")


def test_the_recipes_key_has_4096_bits(tmp_path):
    etcdlab_pki("init", "--directory", tmp_path, "--csr", RECIPE / "ca-csr.json")
    assert "Public-Key: (4096 bit)" in text(tmp_path / "ca.pem")
