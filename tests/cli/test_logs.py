"""`etcdlab logs` on hand-written logs: no daemon, no etcd."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from etcdlab.cli.logs import logs
from etcdlab.cli.main import etcdlab
from tests.plans import make_plan

PROGRAM = [sys.executable, "-m", "etcdlab", "logs"]
START = datetime(2026, 11, 25, tzinfo=UTC)


def zap(second: float, message: str, level: str = "info", **fields: object) -> bytes:
    time = (START + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return json.dumps({"level": level, "ts": time, "caller": "x.go:1", "msg": message, **fields}).encode() + b"\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ETCDLAB_HOME", str(tmp_path))
    monkeypatch.delenv("ETCDLAB_LAB", raising=False)
    return tmp_path


@pytest.fixture
def files(home: Path) -> dict[str, Path]:
    """The logs of a lab of three; n3 has none yet."""
    paths = {node.name: Path(node.log) for node in make_plan(home).nodes}
    for path in paths.values():
        path.parent.mkdir(parents=True)
    paths["n1"].write_bytes(zap(1, "one") + zap(3, "three", "warn", error="EOF") + zap(5, "five", "debug"))
    paths["n2"].write_bytes(
        zap(2, "two") + zap(4, "four", "panic") + b"panic: four\n\ngoroutine 1 [running]:\n" + zap(6, "six", "error")
    )
    return paths


def run(*arguments: str, status: int = 0) -> list[str]:
    result = invoke(*arguments)
    assert result.exit_code == status, result.output
    return result.stdout.splitlines()


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(logs, arguments)


def messages(lines: list[str]) -> list[str]:
    return [" ".join(re.sub(r"\d\d:\d\d:\d\d\.\d{3}", "", line).split()) for line in lines]


ALL = [
    "n1 INFO one", "n2 INFO two", "n1 WARN three error=EOF", "n2 PANIC four", "n2 panic: four", "n2",
    "n2 goroutine 1 [running]:", "n1 DEBUG five", "n2 ERROR six",
]  # fmt: skip


@pytest.mark.usefixtures("files")
class TestChoice:
    def test_all(self) -> None:
        assert messages(run()) == ALL

    def test_nodes(self) -> None:
        assert messages(run("n1", "n3")) == [line for line in ALL if line.startswith("n1")]

    def test_last_lines_of_all_together(self) -> None:
        assert messages(run("-n", "2")) == ALL[-2:]
        assert run("-n", "0") == []

    @pytest.mark.parametrize(
        ("level", "expected"), [("info", ALL[:7] + ALL[8:]), ("warning", ALL[2:7] + ALL[8:]), ("panic", ALL[3:7])]
    )
    def test_level_keeps_the_stack_of_what_it_keeps(self, level: str, expected: list[str]) -> None:
        assert messages(run("--level", level)) == expected

    @pytest.mark.parametrize("since", ["2026-11-25T00:00:04Z", "2026-11-25T08:00:04+08:00"])
    def test_since_a_time(self, since: str) -> None:
        assert messages(run("--since", since)) == ALL[3:]

    def test_since_a_while(self) -> None:
        age = datetime.now(UTC) - START
        assert messages(run("--since", f"{int(age.total_seconds()) + 60}s")) == ALL
        assert datetime.now(UTC) < START or run("--since", "1ms") == []

    def test_grep_finds_what_is_shown_and_what_is_written(self) -> None:
        assert messages(run("--grep", "error=EOF")) == [ALL[2]]
        assert messages(run("--grep", '"error": ?"EOF"')) == [ALL[2]]
        assert messages(run("--grep", "^panic|goroutine")) == [ALL[4], ALL[6]]

    def test_count_is_of_what_is_wanted(self) -> None:
        assert messages(run("--level", "warning", "--grep", "three|six", "-n", "1")) == [ALL[8]]


def test_default_count(files: dict[str, Path]) -> None:
    files["n1"].write_bytes(b"".join(zap(second, "x") for second in range(500)))
    assert len(run("n1")) == 200
    assert len(run("n1", "--since", "2026-11-25T00:00:00Z")) == 500


def test_names_are_aligned_and_local_time_has_milliseconds(files: dict[str, Path]) -> None:
    assert re.fullmatch(r"n1  \d\d:\d\d:01\.000 INFO  one", run("n1")[0])


def test_raw_is_what_etcd_wrote(files: dict[str, Path]) -> None:
    assert run("n1", "--raw") == files["n1"].read_text().splitlines()


def test_json_lines(files: dict[str, Path]) -> None:
    records = [json.loads(line) for line in run("--json")]
    assert [list(record) for record in records] == [["node", "time", "level", "message", "fields"]] * len(ALL)
    assert records[2] == {
        "node": "n1",
        "time": "2026-11-25T00:00:03Z",
        "level": "warning",
        "message": "three",
        "fields": {"caller": "x.go:1", "error": "EOF"},
    }
    assert records[4] == {"node": "n2", "time": None, "level": "panic", "message": "panic: four", "fields": {}}


@pytest.mark.parametrize(("name", "hint"), [("n11", "Did you mean n1?"), ("zzz", "")])
def test_unknown_member(files: dict[str, Path], name: str, hint: str) -> None:
    result = invoke("n1", name)
    assert result.exit_code == 2
    assert f"has no member '{name}'; its members are n1, n2, n3" in result.stderr
    assert ("hint: " + hint in result.stderr) == bool(hint)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--since", "yesterday"), "no time"),
        (("--grep", "("), "no regular expression"),
        (("--level", "loud"), "warning"),
        (("-n", "-1"), "-1"),
    ],
)
def test_bad_options(files: dict[str, Path], arguments: tuple[str, str], words: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_no_lab() -> None:
    assert invoke().exit_code == 3
    assert json.loads(invoke("--json").stdout)["error"]["code"] == "not-running"


def test_is_a_verb() -> None:
    help_text = CliRunner().invoke(etcdlab, ["logs", "--help"]).output
    assert "JSON lines" in help_text
    assert "etcdlab logs n2 -f" in help_text


@pytest.fixture
def follower(files: dict[str, Path]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*PROGRAM, "-f", "--level", "info", "-n", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def test_follow_until_interrupted(files: dict[str, Path], follower: subprocess.Popen[str]) -> None:
    assert follower.stdout is not None
    assert "six" in follower.stdout.readline()
    with files["n3"].open("ab") as file:
        file.write(zap(7, "hidden", "debug") + zap(8, "seven"))
    assert messages([follower.stdout.readline()]) == ["n3 INFO seven"]
    follower.send_signal(signal.SIGINT)
    output, errors = follower.communicate(timeout=20)
    assert (output, errors, follower.returncode) == ("", "", -signal.SIGINT)


def test_follow_ends_quietly_when_the_reader_leaves(files: dict[str, Path], follower: subprocess.Popen[str]) -> None:
    assert follower.stdout is not None
    assert follower.stderr is not None
    follower.stdout.readline()
    follower.stdout.close()
    with files["n1"].open("ab") as file:
        file.write(zap(7, "seven"))
    assert follower.wait(20) == -signal.SIGPIPE
    assert follower.stderr.read() == ""


class TestOfAClockThatWasSetBack:
    @pytest.fixture(autouse=True)
    def an_hour(self, files):
        files["n1"].write_bytes(zap(1, "one") + zap(3602, "two") + zap(5, "three"))
        files["n2"].write_bytes(zap(3, "between"))

    def test_nothing_is_left_out_and_each_members_lines_keep_their_order(self):
        told = messages(run())
        assert len(told) == 4
        assert [line.split()[-1] for line in told if line.startswith("n1")] == ["one", "two", "three"]

    def test_since_shows_rather_too_much_than_too_little(self):
        since = (START + timedelta(seconds=4)).isoformat()
        assert [line.split()[-1] for line in messages(run("--since", since))] == ["two", "three"]
