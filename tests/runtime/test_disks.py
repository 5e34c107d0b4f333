"""What disks lack on purpose, as a daemon has it: in its time, in the journal, and in the next daemon."""

import contextlib

import pytest
import trio

from etcdlab.model.event import EventKind
from etcdlab.runtime.disks import Disks
from etcdlab.runtime.journal import Journal, read

pytestmark = pytest.mark.trio
BOUND_S = 30


class Member:
    """In the place of a Node: what it was given."""

    def __init__(self):
        self.is_disk_full = False
        self.quota = None

    def have_disk_full(self, is_full):
        self.is_disk_full = is_full


@pytest.fixture
def members():
    return {"n1": Member(), "n2": Member()}


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "events.jsonl"


@contextlib.asynccontextmanager
async def supervised(path, members):
    journal = Journal(path)
    disks = Disks(members, journal)
    with trio.fail_after(BOUND_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(disks.run)
            yield disks
            nursery.cancel_scope.cancel()
    journal.close()


async def test_they_are_there_when_it_is_said_and_in_the_journal(members, journal):
    async with supervised(journal, members) as disks:
        disks.begin(["n1", "n2"], quota=None, for_s=None)
        disks.begin(["n1"], quota=2**16, for_s=None)
        disks.begin(["n1"], quota=2**17, for_s=None)
        assert (members["n1"].is_disk_full, members["n1"].quota, members["n2"].quota) == (True, 2**17, None)
        assert disks.full == ("n1", "n2")
        assert [str(one) for one in disks.heal(["n1"])] == ["full disk of n1", "quota of 128KiB of n1"]
        assert disks.heal(["n1"]) == ()
        assert (members["n1"].is_disk_full, members["n1"].quota, members["n2"].is_disk_full) == (False, None, True)
    told = [(event.kind, event.node, event.detail["text"]) for event in read(journal)]
    assert told == [
        (EventKind.FAULT_INJECTED, "n1", "full disk of n1"),
        (EventKind.FAULT_INJECTED, "n2", "full disk of n2"),
        (EventKind.FAULT_INJECTED, "n1", "quota of 64KiB of n1"),
        (EventKind.FAULT_INJECTED, "n1", "quota of 128KiB of n1"),
        (EventKind.FAULT_HEALED, "n1", "full disk of n1"),
        (EventKind.FAULT_HEALED, "n1", "quota of 128KiB of n1"),
    ]


async def test_each_is_healed_in_its_time(members, journal):
    async with supervised(journal, members) as disks:
        disks.begin(["n1"], quota=None, for_s=500)
        disks.begin(["n2"], quota=None, for_s=0.05)
        while len(disks.shortages) == 2:
            await disks._changed.wait()
        assert disks.full == ("n1",)
    assert read(journal)[1].detail["text"] == "full disk of n2 for 0.05 s"


@pytest.mark.parametrize("for_s", [0.05, None])
async def test_the_next_daemon_goes_on_with_them(members, journal, for_s):
    async with supervised(journal, members) as disks:
        disks.begin(["n1"], quota=2**16, for_s=None)
        disks.begin(["n2"], quota=None, for_s=for_s)
        before = disks.shortages
    later = {"n1": Member(), "n2": Member()}
    async with supervised(journal, later) as disks:
        assert disks.shortages == before
        assert (later["n1"].quota, later["n2"].is_disk_full) == (2**16, True)
        while for_s is not None and disks.full:
            await disks._changed.wait()
    assert later["n2"].is_disk_full is (for_s is None)
