import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from etcdlab.cli.pki import init, issue, pki, show, verify
from tests.pki.tools import RECIPE, small_recipe, text, verifies
from tests.plans import make_plan

CA_CSR, SERVER_CSR = RECIPE / "ca-csr.json", RECIPE / "server-csr.json"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ETCDLAB_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ETCDLAB_LAB", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def run(*args: object, status: int = 0):
    result = CliRunner().invoke(pki, [str(arg) for arg in args])
    assert result.exit_code == status, result.output
    return result


def refused(*args: object, status: int = 2) -> str:
    result = run(*args, status=status)
    assert "Traceback" not in result.output
    return result.stderr


def test_a_ca_and_leaves_from_flags(tmp_path):
    made = run(
        "init", "--directory", "pki", "--cn", "Etcd", "--key", "ecdsa-p384", "--subject", "C=CN,O=Etcd, Inc.,L=x"
    )
    assert made.stdout.split() == ["pki/ca.pem", "pki/ca-key.pem", "pki/ca.csr"]
    assert "Subject: C=CN, L=x, O=Etcd, Inc., CN=Etcd" in text(tmp_path / "pki" / "ca.pem")
    run("issue", "s", "--directory", "pki", "--host", "etcd.example.com", "--host", "127.0.0.1", "--lifetime", "90d")
    server = text(tmp_path / "pki" / "s.pem")
    assert "DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, DNS:etcd.example.com" in server
    assert "TLS Web Server Authentication, TLS Web Client Authentication" in server
    run("issue", "c", "--directory", "pki", "--role", "client", "--cn", "root", "--key", "rsa-2048")
    client = text(tmp_path / "pki" / "c.pem")
    assert "Subject: CN=root" in client
    assert "Server Authentication" not in client
    assert "Alternative Name" not in client
    assert "Digital Signature, Key Encipherment" in client
    assert verifies(tmp_path / "pki" / "c.pem", tmp_path / "pki" / "ca.pem")


def test_the_directory_is_the_current_one_unless_said_otherwise(tmp_path):
    run("init")
    assert (tmp_path / "ca.pem").exists()


def test_nothing_is_replaced_without_force(tmp_path):
    run("init")
    before = (tmp_path / "ca.pem").read_bytes()
    assert "already there: ca.pem, ca-key.pem, ca.csr" in refused("init", status=1)
    assert (tmp_path / "ca.pem").read_bytes() == before
    run("init", "--force")
    assert (tmp_path / "ca.pem").read_bytes() != before
    run("issue", "x")
    assert "already there" in refused("issue", "x", status=1)
    run("issue", "x", "--force")


def test_a_leaf_ends_with_its_ca_or_is_refused(tmp_path):
    run("init", "--lifetime", "20d")
    run("issue", "x")
    assert verifies(tmp_path / "x.pem", tmp_path / "ca.pem")
    assert "19 days left" in run("show", "x.pem").stdout
    assert "before a leaf of 30d would" in refused("issue", "y", "--lifetime", "30d")
    assert not (tmp_path / "y.pem").exists()


def test_cfssls_files_are_honoured_beyond_the_cas_end_with_a_warning(tmp_path):
    recipe = small_recipe(tmp_path / "recipe")
    run("init", "--csr", recipe / "ca-csr.json")
    cfssl_files = ("--csr", recipe / "server-csr.json", "--config", recipe / "ca-config.json", "--profile", "server")
    assert "warning: server.pem outlives its CA" in run("issue", "server", *cfssl_files).stderr


def test_a_ca_whose_key_is_elsewhere(tmp_path):
    run("init")
    (tmp_path / "ca-key.pem").rename(tmp_path / "vault.pem")
    assert "ca-key.pem cannot be read" in refused("issue", "x", status=1)
    run("issue", "x", "--ca-key", "vault.pem")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["init", "--lifetime", "0s"], "0s is not a lifetime"),
        (["init", "--lifetime", "soon"], "'soon' is not a duration"),
        (["init", "--subject", "X=1"], "'X=1' is none of C="),
        (["init", "--subject", "C=China"], "two letters"),
        (["init", "--cn", "x" * 65], "65 characters"),
        (["init", "--cn", ""], "the subject is empty"),
        (["init", "--key", "dsa"], "'dsa' is not one of"),
        (["init", "--csr", "none.json"], "none.json: cannot be read"),
        (["init", "--csr", CA_CSR, "--cn", "x", "--key", "rsa-2048"], "--cn, --key cannot stand beside --csr"),
        (["issue", "ca"], "files of the CA"),
        (["issue", "../x"], "cannot be a file name"),
        (["issue", "x", "--host", "a b"], "'a b' is neither"),
        (["issue", "x", "--csr", SERVER_CSR], "--csr needs --config"),
        (["issue", "x", "--profile", "server"], "--profile means nothing without --csr"),
        (["issue", "x", "--csr", SERVER_CSR, "--config", RECIPE / "ca-config.json"], "usages: there are none"),
        (["verify", "x.pem", "--ca", "ca.pem", "--at", "tomorrow"], "'tomorrow' is not a time"),
        (["verify", "x.pem", "--ca", "ca.pem", "--host", "https://x"], "'https://x' is neither"),
        (["show", "x.pem", "--lab", "y"], "exclude each other"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_said_and_leaves_nothing(tmp_path, args, words):
    assert words in refused(*args)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["issue", "x"], "there is no CA (ca.pem) to issue from"),
        (["show", "none.pem"], "none.pem cannot be read: No such file"),
        (["show", "."], "there are no certificates"),
        (["verify", "none.pem", "--ca", "ca.pem"], "none.pem cannot be read"),
    ],
)
def test_what_is_not_there(args, words):
    assert words in refused(*args, status=1)


def test_show_says_what_is_in_a_directory(tmp_path):
    run("init", "--directory", "pki", "--cn", "Etcd")
    run("issue", "server", "--directory", "pki")
    shown = run("show", "pki").stdout
    assert shown.index("pki/ca.pem") < shown.index("pki/server.pem")
    block = shown[shown.index("pki/server.pem") :].splitlines()
    assert block[1:5] == [
        "  subject  CN=etcd-server",
        "  issuer   CN=Etcd",
        "  hosts    localhost, 127.0.0.1, ::1",
        "  usages   signing, server auth, client auth",
    ]
    assert block[6:] == ["  key      ecdsa-p256, matches server-key.pem", "  chain    signed by CN=Etcd"]


def test_show_warns_before_expiry_and_of_what_does_not_fit(tmp_path):
    run("init")
    run("issue", "x", "--lifetime", "20d")
    (tmp_path / "x-key.pem").write_bytes((tmp_path / "ca-key.pem").read_bytes())
    warned = run("show", "x.pem").stderr
    assert "warning: x.pem expires in 19 days" in warned
    assert "warning: x.pem: x-key.pem is the key of another certificate" in warned


def test_show_as_json(tmp_path):
    run("init")
    run("issue", "x")
    shown = json.loads(run("show", "x.pem", "--json").stdout)
    (certificate,) = shown["certificates"]
    assert shown["version"] == 1
    assert certificate["subject"] == "CN=etcd-server"
    assert certificate["hosts"] == ["localhost", "127.0.0.1", "::1"]
    assert certificate["chain"] == {"name": "chain", "ok": True, "detail": "signed by CN=etcdlab CA"}
    assert certificate["key_match"]["ok"]


def test_show_of_a_lab(home):
    make_plan(home)
    run("init", "--directory", home / "demo" / "pki", "--cn", "Lab CA")
    for args in (("show", "--lab", "demo"), ("show",)):
        assert "subject  CN=Lab CA" in run(*args).stdout


def test_show_of_a_lab_without_certificates(home):
    make_plan(home, tls=False)
    assert "the lab 'demo' has no certificates" in refused("show", status=1)


def test_show_of_no_lab():
    assert "there is no lab" in refused("show", status=3)


def test_verify_says_which_check_fails_and_why(tmp_path):
    run("init", "--directory", "a", "--cn", "A")
    run("init", "--directory", "b", "--cn", "B")
    run("issue", "x", "--directory", "a", "--role", "client")
    good = run("verify", "a/x.pem", "--ca", "a/ca.pem", "--usage", "client")
    assert [line.split()[:2] for line in good.stdout.splitlines()] == [
        ["ok", name] for name in ("chain", "authority", "validity", "usage")
    ]
    options = ("--usage", "server", "--host", "localhost", "--at", "2020-01-01")
    bad = run("verify", "a/x.pem", "--ca", "b/ca.pem", *options, status=1).stdout.splitlines()
    assert [line.split()[:2] for line in bad] == [
        ["FAILED", name] for name in ("chain", "authority", "validity", "usage", "host")
    ]
    assert "unknown authority: issued by CN=A, the CA is CN=B" in bad[0]
    assert "not valid before" in bad[2]


def test_verify_as_json(tmp_path):
    run("init")
    run("issue", "x")
    verdict = json.loads(run("verify", "x.pem", "--ca", "ca.pem", "--host", "10.0.0.1", "--json", status=1).stdout)
    assert not verdict["ok"]
    assert [check["name"] for check in verdict["checks"] if not check["ok"]] == ["host"]


def test_every_verb_has_an_example_that_parses():
    for verb in (init, issue, show, verify):
        words = verb.example.split()
        assert words[:3] == ["etcdlab", "pki", verb.name]
        verb.make_context(verb.name, words[3:], resilient_parsing=False)


def test_help_does_not_pay_for_cryptography():
    code = "import sys, etcdlab.cli.pki; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
