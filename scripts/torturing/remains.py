"""A lab's files are stale, forged, cut or of an older etcdlab when it is taken up, or moved or deleted as it runs."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from random import Random
from typing import Final

import msgspec

from etcdlab.errors import ExitStatus
from etcdlab.model.plan import PLAN_VERSION
from etcdlab.prepare.process import ANNOUNCEMENT, RECORD, ProcessRecord, identify, is_alive, is_stopped
from torturing.attack import Attack
from torturing.field import ONE_MEMBER, Field
from torturing.tally import Loss

BESIDE: Final = "beside"
AWAY_S: Final = 3.0
"""Seconds that a lab is away; the daemon looks every second."""
LOOK_S: Final = 1.5
ENDED_S: Final = 30.0
POLL_S: Final = 0.02


def stale(field: Field, chance: Random) -> None:
    """A socket that nobody listens on, and a lock that nobody holds, with a pid in it."""
    field.kill_daemon()
    place = Path(field.plan.socket)
    place.unlink()
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(place))
    if chance.random() < 0.5:
        field.directory.lock.unlink()
    field.directory.lock.write_text(f"{os.getpid()}\n")


def reused_pid(field: Field, chance: Random) -> None:
    """A member's record names a process that is none, by all that it has; the member may be dead or alive."""
    node = field.directory.node(chance.choice(field.names))
    with subprocess.Popen(["sleep", "60"]) as innocent:
        try:
            identity = identify(innocent.pid)
            assert identity is not None
            field.kill_daemon()
            if chance.random() < 0.5:
                field.kill_member(node.name)
            record = ProcessRecord.last(node)
            assert record is not None
            msgspec.structs.replace(record, identity=identity).save(node)
            if chance.random() < 0.5:
                with field.down():
                    pass
            else:
                field.take_up()
            if not is_alive(identity) or is_stopped(identity):
                field.tally.lost(Loss.STRANGER, f"{innocent.args!r} was hit in place of {node.name}")
        finally:
            innocent.kill()


def cut_record(field: Field, chance: Random) -> None:
    """A member's record is cut, or it has half an announcement beside it: the member is found all the same."""
    node = field.directory.node(chance.choice(field.names))
    field.kill_daemon()
    whole = (node / RECORD).read_bytes()
    (node / chance.choice((RECORD, ANNOUNCEMENT))).write_bytes(whole[: chance.randrange(len(whole))])


def cut_journal(field: Field, chance: Random) -> None:
    """The journal ends in the middle of a line."""
    field.kill_daemon()
    field.chronicle.news()
    line = field.directory.events.read_bytes().splitlines()[-1]
    field.chronicle.torn = line[: chance.randrange(1, len(line))]
    with field.directory.events.open("ab") as file:
        file.write(field.chronicle.torn)


def cut_needed(field: Field, chance: Random) -> None:
    """The plan or a key of the daemon's is cut, or the plan is of another format: `up` says so, and touches nothing."""
    key = field.directory.pki / "gateway-key.pem"
    path = chance.choice((field.directory.plan, key))
    field.kill_daemon()
    whole = path.read_bytes()
    if path == key:
        path.write_bytes(whole[: chance.randrange(len(whole) - 1)])
        told = "etcdlab pki show"
    elif chance.random() < 0.5:
        path.write_bytes(msgspec.json.encode(msgspec.json.decode(whole) | {"version": PLAN_VERSION - 1}))
        told = f"in format {PLAN_VERSION - 1}"
    else:
        path.write_bytes(whole[: chance.randrange(len(whole) - 1)])
        told = "it is damaged"
    done = field.start_up().wait()
    if done.status != ExitStatus.FAILED or told not in done.told:
        field.tally.lost(Loss.WORD, f"with a {path.name} that is of no use `up` ended with {done.status}: {done.told}")
    if chance.random() < 0.5:
        with field.down():
            pass
    path.write_bytes(whole)


def moved(field: Field, chance: Random) -> None:
    """The lab's directory is away for a while: its daemon has not noticed, or has ended the lab."""
    place = field.directory.path
    with field.writer.paused():
        away = place.rename(place.with_name("away"))
        time.sleep(chance.uniform(0, AWAY_S))
        away.rename(place)
        deadline = time.monotonic() + ENDED_S
        # A look of the daemon's later, either all members run or none.
        time.sleep(LOOK_S)
        while 0 < len(field.members()) < len(field.names) or field.has_daemon() > bool(field.members()):
            if time.monotonic() > deadline:
                field.tally.lost(Loss.STATUS, "a lab that was moved is neither up nor down")
                break
            time.sleep(POLL_S)
        if not field.has_daemon():
            field.was_ended()
            field.chronicle.may_begin_anew = True  # logs that are back are read anew by a daemon that is ending


def deleted(field: Field, chance: Random) -> None:
    """Another lab is deleted as it runs, and perhaps made anew at once: nothing is left of the first one."""
    up, place = ("up", "--name", BESIDE, *ONE_MEMBER), field.directory.path.with_name(BESIDE)
    field.require_done(field.verbs.start(*up))
    while place.exists():  # its member and its daemon go on writing
        shutil.rmtree(place, ignore_errors=True)
    time.sleep(chance.uniform(0, AWAY_S))
    if chance.random() < 0.5:
        field.require_done(field.verbs.start(*up))
    field.require_done(field.verbs.start("down", "--purge", "--lab", BESIDE))
    deadline = time.monotonic() + ENDED_S
    while left := field.left_of([BESIDE]):
        if time.monotonic() > deadline:
            field.tally.lost(Loss.ORPHAN, f"{left} of a lab that was deleted")
            break
        time.sleep(POLL_S)


ATTACKS: Final = (
    Attack("remains-stale", stale),
    Attack("remains-reused-pid", reused_pid),
    Attack("remains-cut-record", cut_record),
    Attack("remains-cut-journal", cut_journal),
    Attack("remains-cut-needed", cut_needed),
    Attack("remains-moved", moved),
    Attack("remains-deleted", deleted),
)
