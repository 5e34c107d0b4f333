"""`etcdlab events` on a hand-written journal: no daemon."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from etcdlab.cli.events import events
from etcdlab.model.event import Event, EventKind, describe
from etcdlab.prepare.labdir import LabDirectory
from tests.plans import make_plan

PROGRAM = [sys.executable, "-m", "etcdlab", "events"]


def event(seq: int, kind: EventKind, node: str | None = None, **detail: object) -> Event:
    return Event(
        seq=seq, time=f"2026-11-25T00:00:0{seq}.000000Z", monotonic_s=seq + 0.5, kind=kind, node=node, detail=detail
    )


HISTORY = [
    event(1, EventKind.SPAWNED, "n1", pid=42),
    event(2, EventKind.LEADER_CHANGED, "n1", term=2, member_id="00000000000000a1"),
    event(3, EventKind.LAB_READY, leader="n1", cluster_id="0123456789abcdef"),
    event(4, EventKind.EXITED, "n1", code=-9, reason="signalled", detail="killed by SIGKILL"),
    event(5, EventKind.RESTARTED, "n1", restarts=1, delay_s=0.5),
]


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ETCDLAB_HOME", str(tmp_path))
    monkeypatch.delenv("ETCDLAB_LAB", raising=False)
    path = LabDirectory(Path(make_plan(tmp_path).directory)).events
    path.write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in HISTORY))
    return path


def run(*arguments: str) -> list[str]:
    result = CliRunner().invoke(events, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


@pytest.mark.usefixtures("journal")
def test_for_people() -> None:
    lines = run()
    assert [line[24:].strip() for line in lines] == [
        "n1  spawned          process 42 started",
        "n1  leader-changed   leads since term 2",
        "-   lab-ready        leader n1, cluster 0123456789abcdef",
        "n1  exited           killed by SIGKILL",
        "n1  restarted        restart 1, after 0.5 s",
    ]
    assert lines[3][16:23] == ":04.000"


@pytest.mark.usefixtures("journal")
def test_last_ones() -> None:
    assert run("-n", "2") == run()[-2:]
    assert run("-n", "0") == []


def test_json_lines(journal: Path) -> None:
    assert run("--json") == journal.read_text().splitlines()


def test_what_cannot_be_read_hides_nothing_else(journal: Path) -> None:
    with journal.open("ab") as file:
        file.write(b'{"seq":6,"time":"","monotonic_s":6,"kind":"from-the-future"}\n\xff\n')
        file.write(msgspec.json.encode(event(7, EventKind.PAUSED, "n2")) + b"\n")
        file.write(b'{"seq":8,"ti')
    assert [json.loads(line)["seq"] for line in run("--json")] == [1, 2, 3, 4, 5, 7]


def test_no_journal_yet(journal: Path) -> None:
    journal.unlink()
    assert run() == []


def test_follow(journal: Path) -> None:
    with subprocess.Popen([*PROGRAM, "-f", "-n", "1", "--json"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["seq"] == 5
        with journal.open("ab") as file:
            file.write(msgspec.json.encode(event(6, EventKind.READY, "n1")) + b"\n")
        assert json.loads(process.stdout.readline())["seq"] == 6
        process.kill()


@pytest.mark.parametrize(
    ("kind", "detail", "expected"),
    [
        (EventKind.READY, {}, ""),
        (EventKind.PAUSED, {"by": "you", "n": [1]}, "by=you n=[1]"),
        (EventKind.SPAWNED, {}, ""),
        (EventKind.RESTARTED, {"restarts": 1, "delay_s": None}, "restarts=1 delay_s=null"),
        (EventKind.QUORUM_LOST, {"healthy": 1, "voters": 3}, "1 of 3 voters healthy"),
    ],
)
def test_words(kind: EventKind, detail: dict[str, object], expected: str) -> None:
    assert describe(event(1, kind, **detail)) == expected
