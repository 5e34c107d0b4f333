"""Whatever is typed, set or found in a lab's files, a verb ends as documented and nothing drives the terminal."""

import io
import json
import os
import pty
import signal
import subprocess
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdlab.cli import render, verb
from etcdlab.cli.main import etcdlab
from etcdlab.cli.result import Cell, Result, Table
from etcdlab.errors import BootError, ExitStatus
from etcdlab.prepare.labdir import LabDirectory
from tests import hostile, modes
from tests.cli.command import PROGRAM, run
from tests.examples import examples
from tests.plans import make_plan

WORDS = [word for word in hostile.WORDS if "\0" not in word]  # the kernel lets none of those through
RED = "\x1b[31mred\x9b1m\u202e"


class Terminal(io.StringIO):
    """What a verb's stdout and stderr are."""

    def isatty(self) -> bool:
        return True


def end(*arguments: str) -> str:
    """Run a verb on a terminal; it must end with a documented status and no traceback. What it printed."""
    terminal = Terminal()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["etcdlab", *arguments])
        patch.setattr("sys.stdout", terminal)
        patch.setattr("sys.stderr", terminal)
        patch.setenv("NO_COLOR", "1")
        patch.setenv("TERM", "dumb")
        with pytest.raises(SystemExit) as ended:
            verb.run(etcdlab, None)
    assert ended.value.code in {None, *ExitStatus}
    return terminal.getvalue()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabDirectory:
    """A lab that only has files."""
    monkeypatch.setenv("ETCDLAB_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ETCDLAB_LAB", raising=False)
    monkeypatch.chdir(tmp_path)
    plan = make_plan(tmp_path / "home")
    for node in plan.nodes:
        Path(node.directory).mkdir(parents=True)
        Path(node.log).write_text('{"level":"info","ts":1,"msg":"x"}\n')
    directory = LabDirectory(Path(plan.directory))
    directory.events.write_bytes(b"")
    return directory


TAKERS = [
    ["status", "--lab"], ["logs", "--lab"], ["events", "--lab"], ["env", "--lab"], ["down", "--lab"],
    ["down", "--purge", "--lab"], ["check", "--lab"], ["logs"], ["logs", "--since"], ["logs", "--grep"], ["logs", "-n"],
    ["logs", "--level"], ["events", "-n"], ["stop"], ["kill", "n1", "--signal"], ["up", "none.toml", "--timeout"],
    ["up", "none.toml", "--nodes"], ["plan", "--name"], ["plan", "--nodes"], ["plan", "--etcd"], ["plan"], ["init"],
    ["export", "kubernetes", "--lab"], ["etcd", "remove"], ["etcd", "install"], ["pki", "show"],
    ["pki", "init", "--directory", "pki", "--cn"], ["pki", "init", "--directory", "pki", "--subject"],
    ["pki", "init", "--directory", "pki", "--lifetime"], ["pki", "init", "--directory", "pki", "--csr"],
    ["pki", "issue", "--directory", "pki"], ["pki", "issue", "x", "--directory", "pki", "--host"],
    ["pki", "verify", "x.pem", "--ca", "y.pem", "--host"], ["pki", "verify", "x.pem", "--ca", "y.pem", "--at"],
]  # fmt: skip


@pytest.mark.parametrize("taker", TAKERS, ids=" ".join)
def test_any_word_in_any_place(lab, tmp_path, taker):
    # The words of an absolute path are left to `init` as they are: it writes where it is told.
    words = [word for word in WORDS if not (taker == ["init"] and word.startswith(("/", "..", "~")))]
    before = lab.plan.read_bytes()
    for word in words:
        shown = end(*taker, word)
        assert not hostile.drives_a_terminal(shown), word
    assert lab.plan.read_bytes() == before
    assert not (tmp_path.parent / "n1").exists()


def test_a_lab_beside_the_home_is_none(lab, tmp_path):
    make_plan(tmp_path, lab="outside")
    run("down", "--purge", "--lab", "../outside", status=2)
    assert (tmp_path / "outside" / "plan.json").exists()


@pytest.mark.parametrize("expression", ["(", "a{99999999999999999999}", "(" * 5000, "[", "(?P<\x1b>", "\\"])
def test_no_regular_expression(lab, expression):
    run("logs", "--grep", expression, status=2)


def test_a_catastrophic_regular_expression_ends_with_ctrl_c(lab):
    Path(lab.load_plan().nodes[0].log).write_text("a" * 64 + "b\n")
    with subprocess.Popen([PROGRAM, "logs", "--grep", "^(a+)+$"], stderr=subprocess.PIPE) as logs:
        with pytest.raises(subprocess.TimeoutExpired):
            logs.wait(1)  # it would take for ever
        logs.send_signal(signal.SIGINT)
        assert logs.wait(20) == -signal.SIGINT


@pytest.mark.parametrize("name", WORDS)
def test_etcdlab_lab_may_be_anything(lab, monkeypatch, name):
    monkeypatch.setenv("ETCDLAB_LAB", name)
    shown = end("status")
    assert not hostile.drives_a_terminal(shown)


@pytest.mark.parametrize(
    "home", ["", "relative", "/etc/passwd", "/etc/passwd/x", "/proc/nothing", "n" * 300, "\udcff", RED]
)
@pytest.mark.parametrize(
    "asked",
    [["ls"], ["status"], ["events"], ["down"], ["down", "--all"], ["plan"], ["logs"], ["up", "--timeout", "1s"]],
)
def test_etcdlab_home_may_be_anything(tmp_path, monkeypatch, home, asked):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("ETCDLAB_HOME", home)
    monkeypatch.delenv("ETCDLAB_LAB", raising=False)
    if asked[0] == "up" and home in ("", "relative", RED):
        return  # that is a home, and starts a lab
    assert not hostile.drives_a_terminal(end(*asked))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user's directories")
@pytest.mark.parametrize("mode", [0o000, 0o500])
@pytest.mark.parametrize(
    "asked", [["ls"], ["status"], ["doctor", "--json"], ["down", "--all"], ["up", "--timeout", "1s"]]
)
def test_a_home_of_somebody_else(tmp_path, monkeypatch, mode, asked):
    home = tmp_path / "home"
    make_plan(home)
    for path, owner in ((home / "demo", 65534), (home, 65534)):
        path.chmod(mode)
        os.chown(path, owner, owner)
    monkeypatch.setenv("ETCDLAB_HOME", str(home))
    monkeypatch.delenv("ETCDLAB_LAB", raising=False)
    with modes.obeyed():
        end(*asked)


near_plans = st.tuples(
    st.sampled_from(["lab", "directory", "socket", "nodes", "tls", "timeouts", "version", "log_count", "etcdctl"])
    | hostile.text,
    hostile.json_values,
)


def spoiled(plan: bytes, key: str, value: object) -> bytes:
    return json.dumps(json.loads(plan) | {key: value}).encode()


@examples(60)
@given(st.binary(max_size=100) | hostile.json_values.map(lambda value: json.dumps(value).encode()) | near_plans)
def test_any_plan_is_read_or_refused(lab, content):
    good = getattr(test_any_plan_is_read_or_refused, "good", None) or lab.plan.read_bytes()
    test_any_plan_is_read_or_refused.good = good
    lab.plan.write_bytes(content if isinstance(content, bytes) else spoiled(good, *content))
    for asked in (["status"], ["ls"], ["events"], ["logs"], ["env"]):
        assert not hostile.drives_a_terminal(end(*asked))


@examples(10)
@given(st.binary(max_size=100) | near_plans)
def test_the_doctor_looks_at_any_plan(lab, content):
    good = getattr(test_the_doctor_looks_at_any_plan, "good", None) or lab.plan.read_bytes()
    test_the_doctor_looks_at_any_plan.good = good
    lab.plan.write_bytes(content if isinstance(content, bytes) else spoiled(good, *content))
    assert not hostile.drives_a_terminal(end("doctor"))


events = st.fixed_dictionaries(
    {
        "seq": st.integers() | hostile.json_values,
        "time": hostile.text | st.just("0001-01-01T00:00:00Z"),
        "monotonic_s": st.floats(allow_nan=False, allow_infinity=False),
        "kind": st.sampled_from(["exited", "restarted", "failed", "ready", "leader-changed", "lab-reset"]),
    },
    optional={
        "node": hostile.text,
        "detail": st.dictionaries(
            st.sampled_from(["detail", "why", "remedy", "restarts", "delay_s", "term"]) | hostile.text,
            hostile.json_values, max_size=4,
        ),
    },
)  # fmt: skip


@examples(100)
@given(st.lists(events.map(lambda event: json.dumps(event).encode()) | st.binary(max_size=60), max_size=4))
def test_any_journal_is_shown(lab, lines):
    lab.events.write_bytes(b"\n".join(lines))
    assert not hostile.drives_a_terminal(end("events"))
    end("events", "--json")


def test_a_journal_may_be_nested_ever_so_deep(lab):
    lab.events.write_bytes(
        b'{"seq":1,"time":"","monotonic_s":1,"kind":"exited","detail":%s}\n' % hostile.nested(100_000)
    )
    assert run("events").stdout == ""


@examples(30)
@given(st.binary(max_size=300))
def test_any_log_is_shown(lab, content):
    Path(lab.load_plan().nodes[0].log).write_bytes(content)
    assert not hostile.drives_a_terminal(end("logs"))
    end("logs", "--raw")
    end("logs", "--json")


def on_a_terminal(*arguments: str) -> bytes:
    """What a verb writes to a terminal."""
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        child = subprocess.Popen([PROGRAM, *arguments], stdout=theirs, stderr=theirs, env=os.environ | {"TERM": "dumb"})
        os.close(theirs)
        written = b""
        try:
            while block := terminal.read(4096):
                written += block
        except OSError:  # how Linux says that nobody has it open any more
            pass
        child.wait(20)
    return written


def test_raw_lines_reach_a_pipe_as_they_are_and_a_terminal_escaped(lab):
    Path(lab.load_plan().nodes[0].log).write_text("\x1b]0;owned\x07\n")
    assert b"\x1b]0;owned\x07" in subprocess.run([PROGRAM, "logs", "--raw"], capture_output=True, check=True).stdout
    written = on_a_terminal("logs", "--raw")
    assert b"owned" in written
    assert b"\x1b]" not in written
    assert b"\x07" not in written


@pytest.mark.parametrize("as_terminal", [False, True])
def test_nothing_that_is_rendered_drives_the_terminal(capfd, monkeypatch, as_terminal):
    monkeypatch.setattr("sys.stdout.isatty", lambda: as_terminal)
    monkeypatch.setattr("sys.stderr.isatty", lambda: as_terminal)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("NO_COLOR", "1")
    table = Table(header=("A", "B"), rows=((RED, Cell(RED, "bad")),))
    render.render(Result(view=(Cell(f"{RED}\n{RED}", "bad"), table), warnings=(RED,)), as_json=False)
    render.error(BootError(f"{RED}\n{RED}", hint=RED, log_tail=(RED,)), as_json=False)
    shown = capfd.readouterr()
    assert shown.out.count("\\x1b[31mred\\x9b1m\\u202e") == 4
    assert shown.err.count("\\x1b[31mred\\x9b1m\\u202e") == 5
    assert not hostile.drives_a_terminal(shown.out + shown.err)


def test_an_error_about_a_path_that_is_not_utf8_is_json_all_the_same(lab):
    answer = subprocess.run([PROGRAM, "plan", b"\xff.toml", "--json"], capture_output=True, check=False)
    assert answer.returncode == ExitStatus.USAGE
    assert "\\udcff.toml" in msgspec.json.decode(answer.stdout)["error"]["message"]


@pytest.mark.etcd
@pytest.mark.parametrize("place", ["/etc/passwd/data", "/proc/data", "d" * 300, "x/" * 3000])
def test_a_data_directory_that_cannot_be_made_is_told_and_nothing_is_left(home, tmp_path, place):
    topology = tmp_path / "lab.toml"
    topology.write_text(f'[[node]]\nname = "n1"\n[[node]]\nname = "n2"\ndata_dir = "{place}"\n')
    answer = subprocess.run([PROGRAM, "up", topology], capture_output=True, text=True, timeout=60, check=False)
    assert "of member n2 cannot be made: " in answer.stderr
    assert answer.returncode == ExitStatus.FAILED


@pytest.mark.etcd
def test_no_member_has_its_data_where_others_can_put_theirs(home, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o777)
    topology = tmp_path / "lab.toml"
    topology.write_text('[[node]]\nname = "n1"\ndata_dir = "data"\n')
    answer = subprocess.run([PROGRAM, "up", topology], capture_output=True, text=True, timeout=60, check=False)
    assert "of member n1 can be written by everybody" in answer.stderr
    assert answer.returncode == ExitStatus.FAILED


def test_init_writes_through_no_link(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "etcdlab.toml").symlink_to("mine")
    run("init", str(tmp_path / "etcdlab.toml"), status=2)
    run("init", "--force", str(tmp_path / "etcdlab.toml"), status=2)
    assert (tmp_path / "mine").read_text() == "mine"
