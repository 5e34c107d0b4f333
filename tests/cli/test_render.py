import io
import json

import pytest

from etcdlab.cli import render
from etcdlab.cli.layout import layout
from etcdlab.cli.result import Cell, Result, Table
from etcdlab.errors import BootError, QuorumError
from etcdlab.model.lifecycle import NodeState

TABLE = Table(header=("NAME", "STATE"), rows=(("n1", Cell("running", "good")), ("a-long-name", "-")))


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_view_in_a_pipe_has_no_colour(capsys):
    render.show(["text [bold]kept[/bold]", Cell("bad", "bad"), TABLE])
    assert capsys.readouterr().out == f"text [bold]kept[/bold]\nbad\n{layout(TABLE)}\n"


def on_terminal(monkeypatch):
    """Standard output and standard error become this terminal, which has 80 columns and colours."""
    monkeypatch.setattr("sys.stdout", terminal := Terminal())
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return terminal


def test_a_view_on_a_terminal_has(monkeypatch):
    terminal = on_terminal(monkeypatch)
    render.show([Cell("fine [ok]", "good"), TABLE])
    assert "\x1b[32mfine [ok]" in terminal.getvalue()
    assert "\x1b[1mSTATE" in terminal.getvalue()
    assert "a-long-name" in terminal.getvalue()


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb"), ("TERM", ""), ("TERM", None)])
def test_a_terminal_without_colours_or_one_that_is_to_have_none(monkeypatch, name, value):
    terminal = on_terminal(monkeypatch)
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    render.show([Cell("fine", "good"), TABLE])
    render.message("wrong", style="bad")
    assert terminal.getvalue() == f"fine\n{layout(TABLE)}\nwrong\n"


def test_a_terminal_may_be_resized_between_tables(monkeypatch):
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")

    def view():
        yield TABLE
        monkeypatch.setenv("COLUMNS", "12")
        yield TABLE

    render.show(view())
    assert terminal.getvalue() == f"{layout(TABLE)}\n{layout(TABLE, width=12)}\n"


def test_a_view_is_shown_as_it_comes(capsys):
    def view():
        yield "first"
        assert capsys.readouterr().out == "first\n"
        yield "second"

    render.show(view())


def test_json_is_one_object_with_its_version_first(capsys):
    render.render(Result(view=["not shown"], data={"state": NodeState.RUNNING, "n": (1, None)}), as_json=True)
    out = capsys.readouterr().out
    assert json.loads(out) == {"version": 1, "state": "running", "n": [1, None]}
    assert next(iter(json.loads(out))) == "version"


def test_warnings_go_to_stderr_and_leave_json_alone(capsys):
    render.render(Result(data={"a": 1}, warnings=("even member counts buy nothing",)), as_json=True)
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"version": 1, "a": 1}
    assert captured.err == "warning: even member counts buy nothing\n"


def test_an_error_says_what_and_what_next_on_stderr(capsys):
    render.error(BootError("n2 did not start", hint="Look.", log_tail=["one", "two"]), as_json=False)
    captured = capsys.readouterr()
    assert captured.err == "error: n2 did not start\n  | one\n  | two\nhint: Look.\n"
    assert captured.out == ""


def test_an_error_as_json_is_on_stdout(capsys):
    render.error(QuorumError("no", hint="--force"), as_json=True)
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"] == {"code": "quorum", "message": "no", "hint": "--force"}
    assert captured.err == ""


@pytest.mark.parametrize("style", list(render.STYLES))
def test_a_message_on_a_terminal_is_never_taken_for_markup(monkeypatch, style):
    terminal = on_terminal(monkeypatch)
    render.message("[/nonsense] 1 [x]", style=style)
    assert "[/nonsense] 1 [x]" in terminal.getvalue()
