import os
import stat
from contextlib import aclosing

import pytest
import trio
import trio.testing

from etcdlab.model.event import EventKind
from etcdlab.runtime.journal import FOLLOWER_BACKLOG, Journal, read
from tests.damage import damaged


@pytest.fixture
def path(tmp_path):
    return tmp_path / "events.jsonl"


@pytest.fixture
def journal(path):
    journal = Journal(path)
    yield journal
    journal.close()


def emit(journal, count):
    for number in range(count):
        journal.emit(EventKind.READY, "n1", number=number)


async def follow(journal, seen, since=0):
    async for event in journal.events(since=since, follow=True):
        seen.append(event.seq)


def test_an_event_is_a_line_of_a_file_of_this_user_alone(journal, path):
    journal.emit(EventKind.SPAWNED, "n1", pid=4711)
    (event,) = read(path)
    assert (event.seq, event.kind, event.node, event.detail) == (1, EventKind.SPAWNED, "n1", {"pid": 4711})
    assert event.time.endswith("Z")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_numbers_go_on_where_an_earlier_daemon_ended(path):
    for _ in range(2):
        journal = Journal(path)
        emit(journal, 3)
        journal.close()
    assert [event.seq for event in read(path)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("torn", [b"{", b'{"seq":4,"time":"2026-01-01', b"\x00" * 100], ids=["brace", "half", "zeros"])
def test_a_line_that_a_crash_cut_short_costs_no_other(path, torn):
    journal = Journal(path)
    emit(journal, 3)
    journal.close()
    with path.open("ab") as file:
        file.write(torn)
    journal = Journal(path)
    emit(journal, 2)
    journal.close()
    assert [event.seq for event in read(path)] == [1, 2, 3, 4, 5]


def test_damage_costs_the_lines_that_have_it_and_no_others(path):
    """Cut at every byte or with any byte flipped: what is whole is read, and what is appended is whole."""
    journal = Journal(path)
    emit(journal, 3)
    journal.close()
    whole = path.read_bytes()
    events = read(path)
    for content in damaged(whole):
        path.write_bytes(content)
        journal = Journal(path)
        appended = journal.emit(EventKind.STOPPED, "n1")
        journal.close()
        found = read(path)
        assert found[-1] == appended
        if whole.startswith(content):
            lines = whole.splitlines()
            kept = next(number for number in range(3, -1, -1) if content.startswith(b"\n".join(lines[:number])))
            assert found[:-1] == events[:kept]
        else:
            assert len([event for event in found if event in events]) >= 1


def test_a_full_disk_costs_the_line_and_not_the_supervisor(journal, path, caplog):
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, journal._descriptor)
    os.close(full)
    assert journal.emit(EventKind.READY, "n1").seq == 1
    assert "No space left" in caplog.text


@pytest.mark.trio
async def test_events_after_a_number_and_then_those_to_come_without_a_gap(journal, nursery):
    emit(journal, 3)
    seen = []
    nursery.start_soon(follow, journal, seen, 1)
    await trio.testing.wait_all_tasks_blocked()
    assert seen == [2, 3]
    emit(journal, 2)
    await trio.testing.wait_all_tasks_blocked()
    assert seen == [2, 3, 4, 5]
    nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_what_happens_while_the_file_is_read_comes_once(journal):
    emit(journal, 2)
    seen = []
    async with aclosing(journal.events(since=0, follow=True)) as events:
        async for event in events:
            if event.seq == 1:
                emit(journal, 2)
            seen.append(event.seq)
            if event.seq == 4:
                break
    assert seen == [1, 2, 3, 4]


@pytest.mark.trio
async def test_a_follower_that_falls_behind_is_dropped_and_can_resume(journal, nursery):
    seen = []
    nursery.start_soon(follow, journal, seen)
    await trio.testing.wait_all_tasks_blocked()
    emit(journal, FOLLOWER_BACKLOG + 10)
    await trio.testing.wait_all_tasks_blocked()
    assert FOLLOWER_BACKLOG <= len(seen) <= FOLLOWER_BACKLOG + 1  # one more in the hands of a waiting receiver
    assert not nursery.child_tasks
    rest = [event.seq async for event in journal.events(since=seen[-1], follow=False)]
    assert seen + rest == list(range(1, FOLLOWER_BACKLOG + 11))


@pytest.mark.trio
async def test_followers_end_with_the_journal(path, nursery):
    journal = Journal(path)
    nursery.start_soon(follow, journal, [])
    await trio.testing.wait_all_tasks_blocked()
    journal.close()
    await trio.testing.wait_all_tasks_blocked()
    assert not nursery.child_tasks
