"""A scenario: steps in time, and a seed for chance. Its rules, by itself and for a certain lab. Pure."""

import signal
from collections.abc import Iterator
from typing import Final

from etcdlab.errors import UnknownMemberError
from etcdlab.model.certificate import Role
from etcdlab.model.chaos import LEAST
from etcdlab.model.event import told
from etcdlab.model.link import CLIENTS, members_of
from etcdlab.model.plan import Plan
from etcdlab.model.rules import Problem
from etcdlab.model.selection import WORDS, Word
from etcdlab.model.step import (
    RANDOM,
    TIMES,
    AnyStep,
    Flap,
    Kill,
    LinksStep,
    LinkStep,
    Partition,
    Rate,
    Step,
    TlsFault,
    names,
)
from etcdlab.model.topology import Table
from etcdlab.model.units import MOMENT_S, Duration

_LONGEST_NAME: Final = 60


class Scenario(Table, frozen=True):
    """The whole file. Without a `seed` one is chosen; `name` is the file's unless it is said."""

    name: str = ""
    seed: int | None = None
    duration: Duration = Duration(60)
    step: tuple[AnyStep, ...] = ()


def problems(scenario: Scenario) -> Iterator[Problem]:
    """What must be repaired before it can be done to any lab."""
    if not scenario.name.isprintable() or len(scenario.name) > _LONGEST_NAME:
        yield "name", f"has more than {_LONGEST_NAME} characters, or one that cannot be shown"
    if scenario.duration < LEAST:
        yield "duration", f"is too short: at least {LEAST}"
    if not scenario.step:
        yield "step", "a scenario has at least one [[step]]"
    for number, step in enumerate(scenario.step):
        for rule in (_of_time(step, scenario.duration), _of_members(step), _of_values(step)):
            for key, sentence in rule:
                yield f"step[{number}]{key and f'.{key}'}", sentence


def misfits(scenario: Scenario, plan: Plan) -> Iterator[Problem]:
    """Why it cannot be done to this lab."""
    for number, step in enumerate(scenario.step):
        where = f"step[{number}]"
        if isinstance(step, LinksStep) and not plan.has_fault_network:
            yield f"{where}.do", f"the links of lab {plan.lab!r} can have no faults"
        elif not plan.has_client_links and CLIENTS in (getattr(step, "source", ""), getattr(step, "target", "")):
            yield f"{where}.do", f"the links of lab {plan.lab!r} with clients can have no faults"
        if isinstance(step, TlsFault) and plan.tls is None:
            yield f"{where}.do", f"lab {plan.lab!r} has no certificates"
        if step.when is not None and (member := told(step.when)[1]) is not None:
            yield from _unknown(f"{where}.when", member, plan)
        for field, name in names(step):
            yield from _unknown(f"{where}.{_key(field)}", name, plan, field)


def _unknown(where: str, name: str, plan: Plan, field: str = "when") -> Iterator[Problem]:
    known = [node.name for node in plan.nodes]
    if field in ("source", "target"):
        known.append(CLIENTS)
    elif field == "owner" and plan.tls is not None:
        known += [identity.name for identity in plan.tls.identities]
    if name in known:
        return
    if field in ("nodes", "groups"):
        known += [*WORDS, RANDOM]
    elif field != "when":
        if name in WORDS and name != Word.LEADER.value:
            yield where, f"{name!r} may be several members, and this is about one"
            return
        known += [Word.LEADER.value, RANDOM]
    if name not in known:
        try:
            plan.select([name])
        except UnknownMemberError as error:
            yield where, error.message


def _of_time(step: Step, duration: Duration) -> Iterator[Problem]:
    said = [key for key in TIMES if getattr(step, key) is not None]
    if len(said) != 1:
        yield "", f"a step has one of {', '.join(TIMES)}, and this has " + (" and ".join(said) or "none")
    if step.every is not None and step.every < LEAST:
        yield "every", f"is too short: at least {LEAST}"
    for key, time in (("at", step.at), ("every", step.every)):
        if time is not None and time >= duration:
            yield key, f"never comes: the scenario is over after {duration}"
    if step.when is not None:
        try:
            told(step.when)
        except ValueError as error:
            yield "when", str(error)


def _of_members(step: Step) -> Iterator[Problem]:
    if getattr(step, "nodes", None) == ():
        yield "nodes", "names no member"
    if isinstance(step, Partition):
        groups = [members_of(group) for group in step.groups]
        own = [name for group in groups for name in group if name != RANDOM]
        if not groups or not all(groups):
            yield "groups", "a group is members with commas between, and one group is parted from all others"
        if len(set(own)) < len(own):
            yield "groups", "a member cannot be in two groups at once"
    if isinstance(step, LinkStep) and step.source == step.target != RANDOM:
        yield "to", f"{step.source} has no link to itself"


def _of_values(step: Step) -> Iterator[Problem]:
    for_ = getattr(step, "for_", None)
    if for_ is not None and for_ < MOMENT_S:
        yield "for", f"is too short: at least {Duration(MOMENT_S)}"
    match step:
        case Kill() if f"SIG{step.signal.removeprefix('SIG')}" not in signal.Signals.__members__:
            yield "signal", f"{step.signal!r} is no signal; `kill -l` lists them"
        case Rate() if step.rate == 0:
            yield "rate", "a rate of nothing is a blackhole"
        case Flap():
            for key, time in (("down", step.down), ("up", step.up)):
                if time < MOMENT_S:
                    yield key, f"is too short: at least {Duration(MOMENT_S)}"
        case TlsFault() if step.role not in (None, Role.SERVER, Role.PEER):
            yield "role", 'is "server" or "peer", of a member\'s two certificates'


def _key(field: str) -> str:
    return {"source": "from", "target": "to"}.get(field, field)
