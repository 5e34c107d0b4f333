import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from etcdlab.cli.completion import complete_identity, complete_lab, complete_node
from etcdlab.cli.completion_script import completion
from tests.plans import make_plan

# A command line with one verb of each kind, so that this test needs no other verb's module.
PROGRAM = f"""\
#!{sys.executable}
import click
from etcdlab.cli.completion import complete_identity, complete_lab, complete_node
from etcdlab.cli.ctl import ctl

@click.group()
def etcdlab(): pass

@etcdlab.command()
@click.option("--lab", shell_complete=complete_lab)
@click.argument("nodes", nargs=-1, shell_complete=complete_node)
def stop(lab, nodes): pass

etcdlab.add_command(ctl)
etcdlab(prog_name="etcdlab")
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ETCDLAB_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ETCDLAB_LAB", raising=False)
    return tmp_path / "home"


def context(**params: object) -> click.Context:
    ctx = click.Context(click.Command("stop"))
    ctx.params.update(params)
    return ctx


def offered(callback, incomplete: str = "", **params: object) -> list[str]:
    return callback(context(**params), click.Argument(["nodes"], nargs=-1), incomplete)


def test_labs(home):
    make_plan(home, lab="alpha")
    make_plan(home, lab="beta")
    assert offered(complete_lab) == ["alpha", "beta"]
    assert offered(complete_lab, "b") == ["beta"]


def test_nodes_of_the_lab_named(home):
    make_plan(home, lab="alpha", nodes=1)
    make_plan(home, lab="beta", nodes=3)
    assert offered(complete_node, lab="beta") == ["n1", "n2", "n3"]
    assert offered(complete_node, lab="beta", nodes=("n2",)) == ["n1", "n3"]


def test_identities(home):
    make_plan(home)
    assert offered(complete_identity, "r") == ["root"]


@pytest.mark.parametrize("callback", [complete_lab, complete_node, complete_identity])
def test_nothing_is_offered_rather_than_failing(home, callback):
    assert offered(callback) == []
    make_plan(home, tls=False)
    (home / "demo" / "plan.json").write_text("{")
    assert callback is complete_lab or offered(callback) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_for_etcdlab(shell):
    result = CliRunner().invoke(completion, [shell])
    assert result.exit_code == 0
    assert f"_ETCDLAB_COMPLETE={shell}_complete" in result.stdout


@pytest.mark.parametrize(("shell", "check"), [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")])
def test_the_shell_itself_accepts_the_script(tmp_path, shell, check):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_text(CliRunner().invoke(completion, [shell]).stdout)
    subprocess.run([shell, check, script], check=True)


@pytest.fixture
def program(tmp_path) -> Path:
    path = tmp_path / "bin" / "etcdlab"
    path.parent.mkdir()
    path.write_text(PROGRAM)
    path.chmod(0o700)
    return path


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("etcdlab stop n", ["n1", "n2", "n3"]),
        ("etcdlab stop n1 ", ["n2", "n3"]),
        ("etcdlab stop --lab d", ["demo"]),
        ("etcdlab ctl n", ["n1", "n2", "n3"]),
        ("etcdlab ctl n1 -- g", []),
        ("etcdlab ctl -- n", []),
        ("etcdlab ctl get n", []),
        ("etcdlab ctl --identity r", ["root"]),
    ],
)
def test_bash_completes_a_line(home, program, line, words):
    make_plan(home)
    typed = line.split(" ")
    script = CliRunner().invoke(completion, ["bash"]).stdout
    array = " ".join(f"'{word}'" for word in typed)
    script += f"\nCOMP_WORDS=({array}) COMP_CWORD={len(typed) - 1}\n_etcdlab_completion {program}\n"
    script += 'printf "%s\\n" "${COMPREPLY[@]}"'
    output = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=True)
    assert output.stdout.split() == words
    assert output.stderr == ""
