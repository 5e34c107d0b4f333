"""Real clients over mutual TLS, before and after the leader is killed under them, and on a lab that was reset."""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest

from etcdlab import Lab
from etcdlab.model.event import EventKind
from tests.clients.drivers import Driver, Etcd3Gateway, Etcdctl, EtcdSdk, exercise

pytestmark = pytest.mark.etcd
T = TypeVar("T")

# An election takes 0.1 to 0.4 s here; the rest is the client's own time-out, if a request was under way.
RECOVERY_S = 5.0

# One gRPC client only: protobuf takes no second definition of kv.proto in this process.
CLIENTS = pytest.mark.parametrize("kind", [Etcdctl, EtcdSdk, Etcd3Gateway], ids=lambda kind: kind.name)


class User:
    """What one writes around such a client: after a transient error, again, with the next member if it knows one."""

    def __init__(self, kind: type[Driver], lab: Lab, first: str) -> None:
        self._kind = kind
        self._lab = lab
        others = [member.name for member in lab.members if member.name != first]
        self._members = itertools.cycle([None] if kind.knows_all else [first, *others])
        self.driver = self._connect()

    def _connect(self) -> Driver:
        return self._kind(self._lab, next(self._members))

    def do(self, action: Callable[[Driver], T]) -> T:
        deadline = time.monotonic() + RECOVERY_S
        while True:
            try:
                return action(self.driver)
            except self.driver.transient:
                if time.monotonic() > deadline:
                    raise
            self.close()
            self.driver = self._connect()

    def close(self) -> None:
        self.driver.close()


@contextmanager
def user_of(kind: type[Driver], lab: Lab) -> Iterator[tuple[User, str]]:
    """A client that is connected to the leader, and who that is."""
    if kind is not Etcdctl and not kind.is_installed():
        pytest.skip(f"{kind.name} is not installed")
    leader = lab.wait_ready().leader
    assert leader is not None
    user = User(kind, lab, leader)
    try:
        yield user, leader
    finally:
        user.close()


@CLIENTS
def test_goes_on_when_the_leader_is_killed(lab, kind):
    with user_of(kind, lab) as (user, leader):
        user.do(lambda driver: exercise(driver, f"{kind.name}/before"))
        user.do(lambda driver: driver.put(f"{kind.name}/kept", "yes"))
        mark = lab.mark()
        lab.member(leader).kill()
        user.do(lambda driver: exercise(driver, f"{kind.name}/after"))
        assert user.do(lambda driver: driver.get(f"{kind.name}/kept")) == "yes"
        lab.wait_for_event(EventKind.READY, leader, since=mark)
        user.do(lambda driver: exercise(driver, f"{kind.name}/healed"))


@CLIENTS
def test_notices_nothing_of_a_reset_but_that_all_is_gone(lab, kind):
    with user_of(kind, lab) as (user, _):
        driver = user.driver
        driver.put("kept?", "no", driver.grant())
        exercise(driver, "again")
        outcome = lab.client().reset()
        assert not outcome.rebuilt, outcome.why
        assert driver.get("kept?") is None
        assert driver.get("again/counter") is None
        exercise(driver, "again")
