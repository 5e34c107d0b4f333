"""`etcdlab disk` and `etcdlab repair`: disks that are full or damaged, databases at their limit, and the ways back."""

from typing import Any

import click

from etcdlab.cli.completion import complete_meant, complete_node
from etcdlab.cli.nodes import force_option, node_argument
from etcdlab.cli.result import Result, Table
from etcdlab.cli.supervised import attach
from etcdlab.cli.verb import for_option, lab_option, verb
from etcdlab.model.disk import Part
from etcdlab.model.units import Size

one_node = click.argument("node", metavar="NODE", shell_complete=complete_node)


class SizeType(click.ParamType[int]):
    """A number of bytes as topologies write it, more than none."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes. A click usage error says what is accepted."""
        try:
            size = int(Size.parse(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not size:
            self.fail("a size of 0 bytes is none", param, ctx)
        return size


@click.group("disk")
def disk() -> None:
    """Have members' disks full, their databases at the limit, or their data damaged, and the ways back."""


@verb("full", example="etcdlab disk full n1 --for 10s")
@node_argument
@for_option("Heal them after that time.")
@force_option
@lab_option
def full(nodes: tuple[str, ...], for_: float | None, force: bool, lab: str | None) -> Result:
    """Have the disks of members full: what one writes next ends it, and it is started when there is space again.

    Nothing of it is on the disk: its process may write to no file, its log is one. On Linux alone.
    """
    names = attach(lab).client().fill_disks(nodes, force=force, for_s=for_)
    until = "`etcdlab disk heal` heals it" if for_ is None else f"for {for_:g} s"
    return Result(view=[f"{name}: its disk is full; {until}" for name in names], data={"nodes": names, "for_s": for_})


@verb("quota", example="etcdlab disk quota n1 64KiB")
@node_argument
@click.argument("quota", type=SizeType(), metavar="SIZE")
@force_option
@lab_option
def quota(nodes: tuple[str, ...], quota: int, force: bool, lab: str | None) -> Result:
    """Restart members with another limit for their database, one after the other.

    What is then written through such a member beyond its limit is refused and raises the alarm NOSPACE, with which all
    members refuse to write. `etcdlab disk free` makes space, `etcdlab disk heal` takes the limit away.
    """
    names = attach(lab).client().limit_databases(nodes, quota, force=force)
    view = [f"{name}: its database may have {Size(quota)}; `etcdlab disk heal` heals it" for name in names]
    return Result(view=view, data={"nodes": names, "quota": quota})


@verb("free", example="etcdlab disk free")
@lab_option
def free(lab: str | None) -> Result:
    """Make space in the databases, the way back from the alarm NOSPACE: compact, defragment each member, disarm.

    Keys stay, their history goes. What is still larger than its limit raises the alarm again when it is written to, and
    is named.
    """
    freed = attach(lab).free_space()
    rows = tuple((name, *(f"{size / 1024:.0f} KiB" for size in sizes)) for name, sizes in freed.sizes.items())
    alarm = "NOSPACE is disarmed" if freed.alarms else "NOSPACE was not raised"
    still = [
        f"{name} is beyond its quota even so: the next write to it raises NOSPACE; `etcdlab disk heal {name}` takes "
        "the quota away"
        for name in freed.beyond
    ]
    return Result(view=(Table(header=("MEMBER", "BEFORE", "AFTER"), rows=rows), alarm, *still), data=freed)


@verb("heal", example="etcdlab disk heal n1")
@click.argument("nodes", nargs=-1, metavar="[NODE...]", shell_complete=complete_meant)
@lab_option
def heal(nodes: tuple[str, ...], lab: str | None) -> Result:
    """Have all disks, or those of some members, as they were. Who had another quota is restarted."""
    healed = attach(lab).client().heal_disks(nodes or None)
    text = f"healed: {', '.join(map(str, healed))}" if healed else "there was nothing to heal"
    return Result(view=(text,), data={"healed": healed})


@verb("corrupt", example="etcdlab disk corrupt n1 --db")
@one_node
@click.option("--wal", "part", flag_value=Part.WAL.value, default=True, help="Its log of changes. [default]")
@click.option("--db", "part", flag_value=Part.DB.value, help="Its database.")
@lab_option
def corrupt(node: str, part: str, lab: str | None) -> Result:
    """Damage the data of a member that is down, so that it cannot start. `etcdlab repair` is the way back."""
    attach(lab).member(node).corrupt(Part(part))
    return Result(view=(f"{node}: its {part} is damaged; `etcdlab repair {node}` is the way back",),
                  data={"node": node, "part": part})  # fmt: skip


@verb("repair", example="etcdlab repair n1")
@one_node
@lab_option
def repair(node: str, lab: str | None) -> Result:
    """Make a member anew that cannot start with its data, or has lost it: remove it, add it, start it empty.

    The others must be a quorum; what they have the member gets from them.
    """
    attach(lab).member(node).repair()
    return Result(view=(f"{node}: repaired",), data={"node": node})


for command in (full, quota, free, heal, corrupt):
    disk.add_command(command)
