"""`etcdlab net`: the links of a lab, and faults on them."""

from collections.abc import Callable
from typing import Any, Final, TypedDict, Unpack

import click

from etcdlab.cli.completion import complete_node
from etcdlab.cli.result import Cell, Result, Table, View
from etcdlab.cli.supervised import attach
from etcdlab.cli.verb import DURATION, ShowingGroup, Verb, for_option, lab_option, verb
from etcdlab.control.wire import NetworkAnswer
from etcdlab.links import Injected
from etcdlab.model.link import Blackhole, Cut, Flap, Link, in_words, members_of

_HEADER: Final = "FROM \\ TO"


class FaultOptions(TypedDict):
    """What all faults have."""

    for_: float | None
    force: bool


class LinkOptions(FaultOptions):
    """What those on the links between two ends have."""

    source: str
    target: str
    one_way: bool


def _fault_options(command: Callable[..., Result]) -> Callable[..., Result]:
    for option in (
        click.option("--force", is_flag=True, help="Even if the cluster loses its quorum."),
        for_option("Heal it after that time."),
        lab_option,
    ):
        command = option(command)
    return command


def _link_options(command: Callable[..., Result]) -> Callable[..., Result]:
    one_way = click.option("--one-way", is_flag=True, help="From FROM to TO alone, not back.")
    return _fault_options(one_way(command))


def _ends(command: Callable[..., Result]) -> Callable[..., Result]:
    target = click.argument("target", metavar="TO", shell_complete=complete_node)
    return click.argument("source", metavar="FROM", shell_complete=complete_node)(target(command))


@click.group("net", cls=ShowingGroup)
def net() -> None:
    """Show the links of a lab that was made with --faults, and put faults on them.

    Ends of links are members, also "leader", or "clients".
    """


@verb("show", example="etcdlab net")
@lab_option
def show(lab: str | None) -> Result:
    """Show all links and what is on them. `etcdlab net` alone does so, too."""
    network = attach(lab).client().network()
    return Result(view=_matrix(network), data=network)


@verb("partition", example="etcdlab net partition n1 n2,n3 --for 10s")
@click.argument("groups", nargs=-1, required=True, metavar="GROUP…", shell_complete=complete_node)
@_fault_options
def partition(lab: str | None, groups: tuple[str, ...], **options: Unpack[FaultOptions]) -> Result:
    """Cut the links between groups of members.

    A group is members with commas between them; one group alone is parted from all others. "n1 | n2,n3" in quotes is
    understood, too.
    """
    parted = [members_of(word) for text in groups for word in text.split("|")]
    return _told(attach(lab).partition(*parted, **options), options["for_"])


@verb("isolate", example="etcdlab net isolate n1 --from-clients")
@click.argument("member", metavar="NODE", shell_complete=complete_node)
@click.option("--from-clients", is_flag=True, help="Also cut it off from its clients.")
@_fault_options
def isolate(lab: str | None, member: str, from_clients: bool, **options: Unpack[FaultOptions]) -> Result:
    """Cut a member's links with all others."""
    return _told(attach(lab).isolate(member, from_clients=from_clients, **options), options["for_"])


@verb("cut", example="etcdlab net cut n1 n2 --one-way")
@_ends
@_link_options
def cut(lab: str | None, **options: Unpack[LinkOptions]) -> Result:
    """Refuse what one dials the other, and reset what it dialled.

    Members dial each other both ways, and what either has dialled carries data both ways: with --one-way the members go
    on talking. To stop data in one direction, see blackhole.
    """
    return _told(attach(lab).cut(**options), options["for_"])


@verb("blackhole", example="etcdlab net blackhole n1 n2 --one-way --for 5s")
@_ends
@_link_options
def blackhole(lab: str | None, **options: Unpack[LinkOptions]) -> Result:
    """Hold what one sends the other; connections stay open. It arrives late, when this is healed."""
    return _told(attach(lab).blackhole(**options), options["for_"])


@verb("delay", example="etcdlab net delay n1 n2 30ms --jitter 10ms")
@_ends
@click.argument("delay", type=DURATION)
@click.option("--jitter", type=DURATION, default="0s", help="Give or take that much.")
@_link_options
def delay(lab: str | None, delay: float, jitter: float, **options: Unpack[LinkOptions]) -> Result:
    """Have all that one sends the other arrive later, each way."""
    return _told(attach(lab).delay(delay=delay, jitter=jitter, **options), options["for_"])


@verb("rate", example="etcdlab net rate n1 n2 64KiB")
@_ends
@click.argument("rate")
@_link_options
def rate(lab: str | None, rate: str, **options: Unpack[LinkOptions]) -> Result:
    """Let no more than RATE bytes a second from one to the other, each way."""
    return _told(attach(lab).rate(rate=rate, **options), options["for_"])


@verb("flap", example="etcdlab net flap n1 n2 --down 200ms --up 1s --for 30s")
@_ends
@click.option("--down", type=DURATION, default="1s", show_default=True, help="How long it is cut.")
@click.option("--up", type=DURATION, default="1s", show_default=True, help="And then not.")
@_link_options
def flap(lab: str | None, down: float, up: float, **options: Unpack[LinkOptions]) -> Result:
    """Cut and heal it, again and again."""
    return _told(attach(lab).flap(down=down, up=up, **options), options["for_"])


@verb("heal", example="etcdlab net heal n1 n2")
@click.argument("ends", nargs=-1, metavar="[NODE [NODE]]", shell_complete=complete_node)
@lab_option
def heal(lab: str | None, ends: tuple[str, ...]) -> Result:
    """Take all faults off all links, off those of one member, or off those between two."""
    if len(ends) > 2:
        raise click.UsageError("at most two: the ends of the links that are to be healed")
    attached = attach(lab)
    before = set(attached.faults())
    attached.heal(*ends)
    healed = sorted(before - set(attached.faults()), key=lambda active: active.link)
    text = f"healed: {in_words(active.link for active in healed)}" if healed else "there was nothing to heal"
    return Result(view=(text,), data={"healed": healed})


for command in (show, partition, isolate, cut, blackhole, delay, rate, flap, heal):
    assert isinstance(command, Verb)
    net.add_command(command)


def _told(injected: Injected, for_s: float | None) -> Result:
    until = f", for {for_s:g} s" if for_s else "; `etcdlab net heal` heals it"
    text = f"{injected.fault}: {in_words(injected.links)}{until}"
    data: dict[str, Any] = {"fault": injected.fault, "links": injected.links, "for_s": for_s}
    return Result(view=(text,), data=data)


def _matrix(network: NetworkAnswer) -> View:
    ends = list(dict.fromkeys(link.source for link in network.links))
    on: dict[Link, list[str]] = {}
    severed = {active.link for active in network.faults if isinstance(active.fault, Cut | Blackhole | Flap)}
    for active in network.faults:
        on.setdefault(active.link, []).append(str(active.fault))

    def cell(link: Link) -> str | Cell:
        if link not in network.links:
            return ""
        if link not in on:
            return Cell("ok", "good")
        return Cell(", ".join(on[link]), "bad" if link in severed else "warning")

    rows = tuple((source, *(cell(Link(source, target)) for target in ends)) for source in ends)
    yield Table(header=(_HEADER, *ends), rows=rows)
