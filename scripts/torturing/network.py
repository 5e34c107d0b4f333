"""The fault network while members need it: faults that outlive the daemon, and the network itself killed."""

import signal
import time
from random import Random
from typing import Final

from etcdlab.lab import Lab
from etcdlab.links import Injected
from etcdlab.prepare.process import is_alive, send_signal
from etcdlab.prepare.title import Role, process_of
from torturing.attack import Attack, Impossible
from torturing.field import Field
from torturing.tally import Loss

MOST_S: Final = 0.2
FAULT_S: Final = 1.5
"""Longer than an election of the fast profile takes, and a daemon to be killed."""
HEALED_S: Final = 30.0
POLL_S: Final = 0.002


def during_fault(field: Field, chance: Random) -> None:
    """The daemon is killed while a member is away from the others, who elect; it comes back without a daemon."""
    name, after_s = chance.choice(field.names), chance.uniform(0, MOST_S)
    _require_network(field)
    ends_at = time.monotonic() + FAULT_S
    _draw_fault(field.lab, name, chance)
    time.sleep(after_s)
    field.kill_daemon()
    time.sleep(max(0.0, ends_at - time.monotonic()))


def lost(field: Field, chance: Random) -> None:
    """The fault network is killed, with it all connections between members; what was on the links is on them again."""
    after_s = chance.uniform(0, MOST_S)
    _require_network(field)
    one, other = chance.sample(field.names, 2)
    fault = field.lab.delay(one, other, "5ms")
    _kill_network(field)
    time.sleep(after_s)
    _await_network(field)
    if not {(link, fault.fault) for link in fault.links} <= {(on.link, on.fault) for on in field.lab.faults()}:
        field.tally.lost(Loss.STATUS, f"{fault.fault} was on {fault.links}, and is {field.lab.faults()}")
    field.lab.heal()


def lost_with_daemon(field: Field, chance: Random) -> None:
    """The fault network and the daemon are killed, in either order: members stand alone until the next `up`."""
    after_s, network_first = chance.uniform(0, MOST_S), chance.random() < 0.5
    _require_network(field)
    field.is_fresh = True  # nothing is served without links
    with field.writer.paused():
        for kill in (_kill_network, Field.kill_daemon) if network_first else (Field.kill_daemon, _kill_network):
            kill(field)
            time.sleep(after_s)
        field.take_up()


def _draw_fault(lab: Lab, name: str, chance: Random) -> Injected:
    other = chance.choice([member.name for member in lab.members if member.name != name])
    return chance.choice(
        (
            lambda: lab.isolate(name, for_=FAULT_S),
            lambda: lab.blackhole(name, other, for_=FAULT_S),
            lambda: lab.delay(name, other, "20ms", for_=FAULT_S),
        )
    )()


def _require_network(field: Field) -> None:
    if not field.plan.has_fault_network:
        raise Impossible("the lab has no fault network (--faults)")


def _kill_network(field: Field) -> None:
    network = process_of(field.directory, Role.NETWORK)
    if network is None:
        field.tally.lost(Loss.SERVICE, "the fault network does not run")
        return
    send_signal(network, signal.SIGKILL)
    while is_alive(network):
        time.sleep(POLL_S)


def _await_network(field: Field) -> None:
    deadline = time.monotonic() + HEALED_S
    while process_of(field.directory, Role.NETWORK) is None or not field.lab.faults():
        if time.monotonic() > deadline:
            field.tally.lost(Loss.SERVICE, f"the fault network did not come back within {HEALED_S:g} s")
            return
        time.sleep(POLL_S)


ATTACKS: Final = (
    Attack("network-kill-daemon", during_fault),
    Attack("network-lost", lost),
    Attack("network-and-daemon", lost_with_daemon),
)
