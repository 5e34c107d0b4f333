"""Every notation is proven by its reader: what a shell evaluates must be what was meant."""

import json
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcdlab.errors import UsageError
from etcdlab.export.env import VARIABLES, Shell, choose_identity, flags, flags_text, variables, variables_text
from tests.plans import make_plan

# What a path or URL can hold: no NUL, no lone surrogates.
values = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
nasty = st.text(st.sampled_from("'\"\\$`!#%;&|<>(){}[]*?~ \t\n=,‘’‚‛éa"), max_size=40)
quick = settings(max_examples=60, deadline=None)


def test_a_secure_labs_variables(tmp_path):
    plan = make_plan(tmp_path)
    pki = tmp_path / "demo" / "pki"
    assert variables(plan, choose_identity(plan, None)) == {
        "ETCDCTL_ENDPOINTS": "https://localhost:1179,https://localhost:1279,https://localhost:1379",
        "ETCDCTL_CACERT": f"{pki}/ca.pem",
        "ETCDCTL_CERT": f"{pki}/client.pem",
        "ETCDCTL_KEY": f"{pki}/client-key.pem",
    }


def test_a_plain_labs_variables_have_no_certificates(tmp_path):
    plan = make_plan(tmp_path, nodes=1, tls=False)
    assert variables(plan, choose_identity(plan, None)) == {"ETCDCTL_ENDPOINTS": "http://localhost:1179"}


def test_learners_are_no_endpoints_unless_named(tmp_path):
    plan = make_plan(tmp_path, learners=1, tls=False)
    assert variables(plan, None)["ETCDCTL_ENDPOINTS"] == "http://localhost:1179,http://localhost:1279"
    assert variables(plan, None, node=plan.select(["n3"])[0])["ETCDCTL_ENDPOINTS"] == "http://localhost:1379"


def test_an_identity_by_name(tmp_path):
    plan = make_plan(tmp_path)
    assert variables(plan, choose_identity(plan, "root"))["ETCDCTL_CERT"].endswith("/root.pem")


@pytest.mark.parametrize(("tls", "hint"), [(True, "client, root"), (False, "Leave it out")])
def test_an_unknown_identity_is_refused_with_those_there_are(tmp_path, tls, hint):
    plan = make_plan(tmp_path, tls=tls)
    with pytest.raises(UsageError, match="nobody") as refused:
        choose_identity(plan, "nobody")
    assert hint in refused.value.hint


def test_flags_say_the_same_as_variables():
    assert flags({"ETCDCTL_ENDPOINTS": "a,b", "ETCDCTL_CACERT": "/ca.pem"}) == ("--endpoints=a,b", "--cacert=/ca.pem")


def test_json_has_exactly_the_variables():
    assert json.loads(variables_text({"ETCDCTL_KEY": "/k"}, Shell.JSON)) == {"ETCDCTL_KEY": "/k"}


def printed(*command: str) -> str:
    # Bytes, decoded here: text mode would make "\\r" a line end.
    return subprocess.run(command, capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}).stdout.decode()


@quick
@given(values | nasty)
def test_sh_reads_back_what_was_meant(value):
    text = variables_text(dict.fromkeys(VARIABLES, value), Shell.SH)
    script = text + '\nprintf "%s|%s" "$ETCDCTL_KEY" "$ETCDCTL_ENDPOINTS"'
    assert printed("/bin/sh", "-c", script) == f"{value}|{value}"


@quick
@given(values | nasty)
def test_sh_reads_a_dotenv_file_back(value):
    script = variables_text({"ETCDCTL_KEY": value}, Shell.DOTENV) + '\nprintf "%s." "$ETCDCTL_KEY"'
    assert printed("/bin/sh", "-c", script) == f"{value}."


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@quick
@given(values | nasty)
def test_fish_reads_back_what_was_meant(value):
    script = variables_text({"ETCDCTL_KEY": value}, Shell.FISH) + '\nprintf "%s." "$ETCDCTL_KEY"'
    assert printed(str(shutil.which("fish")), "--no-config", "-c", script) == f"{value}."


@pytest.mark.skipif(shutil.which("pwsh") is None, reason="PowerShell is not installed")
@settings(max_examples=5, deadline=None)
@given(nasty)
def test_powershell_reads_back_what_was_meant(value):
    script = variables_text({"ETCDCTL_KEY": value}, Shell.POWERSHELL) + "\n[Console]::Out.Write($Env:ETCDCTL_KEY + '.')"
    assert printed(str(shutil.which("pwsh")), "-NoProfile", "-Command", script) == f"{value}."


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        (Shell.FISH, r"set -gx ETCDCTL_KEY 'it\'s \\ $HOME';"),
        (Shell.POWERSHELL, "$Env:ETCDCTL_KEY = 'it''s \\ $HOME'"),
        (Shell.DOTENV, r'ETCDCTL_KEY="it' + r"'" + r's \\ \$HOME"'),
    ],
)
def test_quotes_of_shells_that_may_not_be_here(shell, line):
    assert variables_text({"ETCDCTL_KEY": "it's \\ $HOME"}, shell).splitlines()[0] == line


def test_powershell_doubles_typographic_quotes():
    assert "'a’’b'" in variables_text({"ETCDCTL_KEY": "a’b"}, Shell.POWERSHELL)


def test_what_another_lab_left_in_the_shell_is_dropped():
    text = variables_text({"ETCDCTL_ENDPOINTS": "http://localhost:1"}, Shell.SH)
    script = f'export ETCDCTL_CACERT=/old\n{text}\nprintf "%s" "${{ETCDCTL_CACERT-gone}} $ETCDCTL_ENDPOINTS"'
    assert printed("/bin/sh", "-c", script) == "gone http://localhost:1"


def test_dotenv_only_sets():
    assert variables_text({"ETCDCTL_ENDPOINTS": "http://a:1,http://b:2"}, Shell.DOTENV) == (
        "ETCDCTL_ENDPOINTS=http://a:1,http://b:2"
    )


def test_flags_in_each_notation():
    pair = {"ETCDCTL_CERT": "/c.pem", "ETCDCTL_KEY": "/k.pem"}
    assert flags_text(pair, Shell.SH) == "--cert=/c.pem --key=/k.pem"
    assert flags_text(pair, Shell.FISH) == flags_text(pair, Shell.POWERSHELL) == "--cert=/c.pem\n--key=/k.pem"
    assert json.loads(flags_text(pair, Shell.JSON)) == ["--cert=/c.pem", "--key=/k.pem"]
    with pytest.raises(UsageError, match="dotenv"):
        flags_text(pair, Shell.DOTENV)


@quick
@given(nasty)
def test_flags_survive_eval_in_sh(value):
    words = flags_text({"ETCDCTL_KEY": value, "ETCDCTL_CERT": "c"}, Shell.SH)
    assert printed("/bin/sh", "-c", f"printf '%s|' {words}") == f"--key={value}|--cert=c|"
