import contextlib
import errno
import os
import stat
from contextlib import aclosing, closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
import trio.testing

from etcdlab.etcd.logfile import Tail
from etcdlab.model.event import EventKind, parse
from etcdlab.runtime import journal as journals
from etcdlab.runtime.journal import COUNT, FOLLOWER_BACKLOG, Journal, read
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


@pytest.fixture
def full_disk(monkeypatch):
    """While the block runs there is no space on the disk, or only for a part of a line."""

    @contextlib.contextmanager
    def full(room=0):
        def write(descriptor, data):
            if not room:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(descriptor, data[:room])

        real = os.write
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", write)
            yield

    return full


@pytest.mark.trio
@pytest.mark.parametrize("room", [0, 10])
async def test_a_full_disk_costs_neither_events_nor_the_supervisor(
    journal, path, full_disk, caplog, nursery, autojump_clock, room
):
    nursery.start_soon(journal.run)
    emit(journal, 2)
    with full_disk(room):
        emit(journal, 2)
        assert journal.problem == f"{path} cannot be written: No space left on device"
        assert len(read(path)) == 2
        assert [event.seq async for event in journal.events(since=1, follow=False)] == [2, 3, 4]
        await trio.sleep(10)
        emit(journal, 1)
    assert caplog.text.count("cannot be written") == 1
    await trio.sleep(2)
    assert journal.problem == ""
    emit(journal, 1)
    assert [event.seq for event in read(path)] == [1, 2, 3, 4, 5, 6]
    nursery.cancel_scope.cancel()


def test_a_clock_that_is_set_back_changes_no_order(path, monkeypatch):
    class Clock(datetime):
        times = iter((datetime(2026, 11, 25, 12, tzinfo=UTC), datetime(2026, 11, 25, 11, tzinfo=UTC)))

        @classmethod
        def now(cls, tz=None):
            return next(cls.times)

    monkeypatch.setattr(journals, "datetime", Clock)
    for number in range(2):  # a daemon each: what one wrote is the past of the next
        journal = Journal(path)
        emit(journal, 1)
        journal.close()
        assert journal.past.sequence == number
    before, after = read(path)
    assert (before.seq, after.seq) == (1, 2)
    assert before.time > after.time
    assert before.monotonic_s < after.monotonic_s


class TestRotation:
    @pytest.fixture(autouse=True)
    def small(self, monkeypatch):
        monkeypatch.setattr("etcdlab.runtime.journal.SIZE", 2000)

    def test_it_is_bounded_and_its_last_events_are_kept(self, journal, path):
        emit(journal, 1000)
        assert sum(file.stat().st_size for file in path.parent.iterdir()) < (COUNT + 1) * 2500
        numbers = [event.seq for event in read(path)]
        assert numbers == list(range(numbers[0], journal.sequence + 1))
        assert len(numbers) > 30

    def test_the_next_daemon_knows_what_is_no_longer_kept(self, path):
        journal = Journal(path)
        journal.emit(EventKind.LEADER_CHANGED, "n1", term=7)
        journal.emit(EventKind.SPAWNED, "n1", pid=4711)
        journal.emit(EventKind.RESTARTED, "n2", restarts=3, failures=2)
        emit(journal, 1000)
        journal.close()
        assert EventKind.LEADER_CHANGED not in {event.kind for event in read(path)}
        journal = Journal(path)
        assert (journal.past.term, journal.past.sequence) == (7, journal.sequence)
        assert journal.past.lives["n1"].pid == 4711
        assert journal.past.lives["n2"].restarts == 3
        assert len(journal.past.lives["n2"].history.restarts) == 1
        journal.close()

    def test_a_daemon_that_is_killed_in_the_middle_of_it_costs_nothing(self, path, monkeypatch):
        class Killed(BaseException):
            pass

        def kill(*_):
            raise Killed

        journal = Journal(path)
        journal.emit(EventKind.SPAWNED, "n1", pid=4711)
        with monkeypatch.context() as patch, pytest.raises(Killed):  # noqa: PT012
            real = Path.replace
            patch.setattr(Path, "replace", lambda old, new: kill() if new == path else real(old, new))
            emit(journal, 1000)
        whole = journal.sequence
        assert [event.seq for event in read(path)] == list(range(1, whole + 1))
        journal = Journal(path)
        assert journal.past.lives["n1"].pid == 4711
        assert journal.emit(EventKind.STOPPED, "n1").seq == whole + 1
        journal.close()
        assert [event.seq for event in read(path)] == list(range(1, whole + 2))

    @pytest.mark.trio
    async def test_a_follower_of_the_file_and_one_of_the_daemon_miss_nothing(self, journal, path):
        seen = []
        with closing(Tail(path)) as tail:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follow, journal, seen)
                told = []
                for _ in range(200):
                    emit(journal, 3)
                    await trio.testing.wait_all_tasks_blocked()
                    while lines := tail.new_lines():
                        told += [parse(line).seq for line in lines]
                nursery.cancel_scope.cancel()
        assert told == seen == list(range(1, journal.sequence + 1))


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
