"""What all verbs have in common."""

import json
import os
import signal
import subprocess

import click
import pytest
from click.testing import CliRunner

from etcdlab.cli.main import VERBS, etcdlab
from etcdlab.cli.result import Result
from etcdlab.cli.verb import DURATION, Verb, verb
from etcdlab.errors import ExitStatus, TimedOutError, UsageError
from tests.cli.command import PROGRAM, program, run, run_json


def leaves(group, path=()):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command


ALL = {" ".join(path): (path, command) for path, command in leaves(etcdlab)}


def test_a_verb_that_is_none_names_the_nearest():
    assert "there is no command 'statsu'; did you mean 'status'?" in run("statsu", status=2).output
    assert "No such command 'x'" in run("x", status=2).output


@pytest.mark.parametrize(("path", "command"), list(ALL.values()), ids=list(ALL))
def test_every_verb_has_help_and_an_example_of_itself(path, command):
    assert isinstance(command, Verb)
    assert command.help
    typed = path[:1] if path[1:] == ("show",) and path[0] != "pki" else path  # which is what `etcdlab net` alone does
    assert command.example.startswith(("etcdlab " + " ".join(typed), "eval "))
    text = CliRunner().invoke(etcdlab, [*path, "--help"]).output
    assert command.example.split()[-1] in text
    assert "--json" in text or path in (("ctl",), ("exec",))  # whose output is another program's


def test_every_verb_has_a_line_in_help():
    text = run("--help").output
    assert all(f"\n  {name} " in text for name in VERBS)


class TestVerb:
    def command(self, outcome):
        @verb("probe", example="etcdlab probe")
        def probe() -> Result:
            """Probe."""
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        return probe

    def test_a_result_is_shown_and_its_status_returned(self):
        result = Result(view=["seen"], data={"a": 1}, exit_status=ExitStatus.DEGRADED)
        shown = CliRunner().invoke(self.command(result), [])
        assert (shown.exit_code, shown.stdout) == (4, "seen\n")
        as_json = CliRunner().invoke(self.command(result), ["--json"])
        assert (as_json.exit_code, json.loads(as_json.stdout)) == (4, {"version": 1, "a": 1})

    @pytest.mark.parametrize(("error", "status"), [(UsageError("no"), 2), (TimedOutError("no"), 6)])
    def test_an_error_becomes_a_message_and_a_status(self, error, status):
        shown = CliRunner().invoke(self.command(error), [])
        assert (shown.exit_code, shown.stdout, shown.stderr) == (status, "", "error: no\n")
        as_json = CliRunner().invoke(self.command(error), ["--json"])
        assert as_json.exit_code == status
        assert json.loads(as_json.stdout)["error"]["code"] == error.code
        assert as_json.stderr == ""

    def test_an_error_in_the_middle_of_a_view_is_one_too(self):
        def view():
            yield "first"
            raise TimedOutError("no")

        shown = CliRunner().invoke(self.command(Result(view=view())), [])
        assert (shown.exit_code, shown.stdout, shown.stderr) == (6, "first\n", "error: no\n")


@pytest.mark.parametrize(("text", "seconds"), [("30", 30), ("1.5", 1.5), ("30s", 30), ("2m", 120), ("500ms", 0.5)])
def test_a_duration_is_as_in_topologies_or_seconds(text, seconds):
    assert DURATION.convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "1 parsec", "nan", "1.2.3"])
def test_what_is_no_duration_is_a_usage_error(text):
    with pytest.raises(click.BadParameter):
        DURATION.convert(text, None, None)


class TestProgram:
    """The installed program."""

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["no-such-verb"], "No such command 'no-such-verb'"),
            (["status", "--no-such-option"], "No such option"),
            (["kill", "n1", "--signal", "NONSENSE"], "'NONSENSE' is no signal"),
            (["stop"], "Missing argument"),
        ],
    )
    def test_wrong_usage_is_status_2_and_no_traceback(self, home, arguments, words):
        result = program(*arguments, status=2)
        assert words in result.stderr
        assert "Traceback" not in result.stderr
        assert result.stdout == ""

    def test_a_lab_that_is_not_there_is_status_3(self, home):
        assert "no lab 'nope'" in program("status", "--lab", "nope", status=3).stderr
        error = run_json("status", "--lab", "nope", status=3)["error"]
        assert error["code"] == "not-running"
        assert error["hint"]

    def test_a_reader_that_leaves_ends_it_quietly(self, home):
        read, write = os.pipe()
        os.close(read)
        with subprocess.Popen([PROGRAM, "ls"], stdout=write, stderr=subprocess.PIPE, text=True) as process:
            os.close(write)
            assert process.stderr.read() == ""
        assert process.returncode == -signal.SIGPIPE

    @pytest.mark.etcd
    def test_ctrl_c_ends_it_quietly(self, shared_lab):
        command = [PROGRAM, "status", "--watch", "--interval", "60"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert any("healthy" in line for line in iter(process.stdout.readline, ""))
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=30)[1] == ""
        assert process.returncode == -signal.SIGINT

    def test_the_version(self):
        assert program("--version").stdout.startswith("etcdlab, version ")
