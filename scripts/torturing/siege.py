"""Strike after strike at one lab, and after each a look at what it cost."""

import json
import shutil
import socket
import time
from pathlib import Path
from random import Random
from typing import Final

import psutil

from etcdlab.errors import EtcdlabError
from etcdlab.prepare.ports import LOOPBACK
from torturing.attack import Attack, Impossible
from torturing.field import LAB, Field
from torturing.tally import Loss, Tally

NEWS_S: Final = 5.0
"""Seconds that the daemon gets to tell of a leader that it can be asked about already."""
POLL_S: Final = 0.02


class Siege:
    """Strikes at the lab of a field."""

    def __init__(self, field: Field, tally: Tally) -> None:
        self._field = field
        self._tally = tally

    def strike(self, number: int, attack: Attack, chance: Random) -> bool:
        """One strike, and the lab taken up again; False when it cannot be."""
        field = self._field
        self._tally.begin(number, attack.name)
        before, since = field.members(), field.writer.next_key
        field.chronicle.news()
        field.changed, field.is_fresh, field.chronicle.may_begin_anew = set(), False, False
        try:
            attack.strike(field, chance)
        except Impossible as reason:
            self._tally.skipped(str(reason))
            return True
        except EtcdlabError as error:
            self._tally.lost(Loss.WORD, f"{type(error).__name__}: {error}")
        if not field.is_fresh and not field.writer.wait_acknowledged():
            self._tally.lost(Loss.SERVICE, "no write was acknowledged before the lab was taken up again")
        restarts = {node.name: node.restarts for node in field.status.nodes}
        status = field.take_up()
        if status is None:
            return False
        after = field.members()
        for name, identity in before.items():
            if name not in field.changed and after.get(name) != identity:
                self._tally.lost(Loss.RESTART, f"{name} ran as {identity}, and runs as {after.get(name)}")
        for node in status.nodes:
            if not field.is_fresh and node.restarts < restarts[node.name]:
                self._tally.lost(
                    Loss.BUDGET, f"{node.name} was restarted {restarts[node.name]} times, now {node.restarts}"
                )
        field.status = status
        if not field.writer.wait_acknowledged():
            self._tally.lost(Loss.SERVICE, "no write was acknowledged after the lab was taken up again")
        for text in field.writer.missing(since):
            self._tally.lost(Loss.WRITE, text)
        self._check_leader()
        return True

    def _check_leader(self) -> None:
        """The leader of now was told."""
        deadline = time.monotonic() + NEWS_S
        while True:
            terms = {node.raft_term for node in self._field.lab.status().nodes}
            self._field.chronicle.news()
            if terms == {self._field.chronicle.term}:
                return
            if time.monotonic() > deadline:
                told = self._field.chronicle.term
                self._tally.lost(
                    Loss.EVENT, f"the leader told last is that of term {told}, and the members are in {terms}"
                )
                return
            time.sleep(POLL_S)

    def end(self, *, without_daemon: bool) -> None:
        """The last count: all that was acknowledged, and whether anything is left of the lab. After the writer."""
        field = self._field
        self._tally.attack = "the end"
        for text in field.writer.missing():
            self._tally.lost(Loss.WRITE, text)
        self._check_content()
        if without_daemon:
            field.kill_daemon()
        done = field.verbs.run("down", "--purge", "--lab", LAB)
        if done.status:
            self._tally.lost(Loss.WORD, f"`down --purge` ended with {done.status}: {done.errors}")
        self._check_nothing_left()

    def _check_content(self) -> None:
        try:
            answers = json.loads(self._field.lab.etcdctl("endpoint", "hashkv", "--write-out", "json"))
        except EtcdlabError as error:
            self._tally.lost(Loss.CONTENT, str(error))
            return
        hashes = {answer["Endpoint"]: answer["HashKV"]["hash"] for answer in answers}
        if len(hashes) != len(self._field.names) or len(set(hashes.values())) != 1:
            self._tally.lost(Loss.CONTENT, f"{hashes}")

    def _check_nothing_left(self) -> None:
        home = self._field.directory.path.parent
        for process in psutil.process_iter(["cmdline"]):
            if any(f"{home}/" in argument for argument in process.info["cmdline"] or ()):
                self._tally.lost(Loss.ORPHAN, f"{process}")
                process.kill()
        for node in self._field.plan.nodes:
            for port in node.ports:
                with socket.socket() as probe:
                    if probe.connect_ex((LOOPBACK, port)) == 0:
                        self._tally.lost(Loss.PORT, f"somebody listens on port {port} of {node.name}")
        for left in (*home.iterdir(), Path(self._field.plan.socket)):
            if left.exists():
                self._tally.lost(Loss.DIRECTORY, f"{left}")
                shutil.rmtree(left, ignore_errors=True)
