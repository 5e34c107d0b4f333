"""`etcdlab tls`: the certificates of a running lab, and what can be wrong with them."""

import click

from etcdlab.cli.completion import complete_node
from etcdlab.cli.result import Cell, Result, Table
from etcdlab.cli.supervised import attach
from etcdlab.cli.verb import ShowingGroup, Verb, for_option, lab_option, verb
from etcdlab.model.certificate import Defect, Role

owner_argument = click.argument("owner", metavar="NODE|CLIENT", shell_complete=complete_node)
role_option = click.option(
    "--role", type=click.Choice([Role.SERVER.value, Role.PEER.value]), help="Only this one of a member's certificates."
)


@click.group("tls", cls=ShowingGroup)
def tls() -> None:
    """Show the certificates of a lab, and have something wrong with them.

    A certificate that is replaced counts from the next handshake on: connections that are open stay so, and a member
    shows it to all once it is restarted.
    """


@verb("show", example="etcdlab tls")
@lab_option
def show(lab: str | None) -> Result:
    """Show which certificates have a defect. `etcdlab tls` alone does so, too."""
    defects = attach(lab).certificates.defects()
    if not defects:
        return Result(view=("all certificates are as they were made",), data={"defects": defects})
    rows = tuple((defect.stem, Cell(defect.defect.value, "warning")) for defect in defects)
    return Result(view=(Table(header=("CERTIFICATE", "DEFECT"), rows=rows),), data={"defects": defects})


@verb("fault", example="etcdlab tls fault n1 expired --role peer --for 10s")
@owner_argument
@click.argument("defect", type=click.Choice([defect.value for defect in Defect]))
@role_option
@for_option("Heal it after that time.")
@lab_option
def fault(owner: str, defect: str, role: str | None, for_: float | None, lab: str | None) -> Result:
    """Replace the certificates of a member, or of a client, by ones with a defect."""
    spoiled = attach(lab).certificates.spoil(owner, defect, role=role, for_=for_)
    until = "; `etcdlab tls heal` heals it" if for_ is None else f", for {for_:g} s"
    data = {"leaves": spoiled.stems, "defect": spoiled.defect, "for_s": for_}
    return Result(view=(f"{defect}: {', '.join(spoiled.stems)}{until}",), data=data)


@verb("heal", example="etcdlab tls heal n1")
@click.argument("owner", required=False, metavar="[NODE|CLIENT]", shell_complete=complete_node)
@role_option
@lab_option
def heal(owner: str | None, role: str | None, lab: str | None) -> Result:
    """Have all certificates, or those of one, as they were."""
    if owner is None and role is not None:
        raise click.UsageError("--role is of a member: name it")
    healed = attach(lab).certificates.heal(owner, role=role)
    text = f"healed: {', '.join(defect.stem for defect in healed)}" if healed else "there was nothing to heal"
    return Result(view=(text,), data={"healed": healed})


for command in (show, fault, heal):
    assert isinstance(command, Verb)
    tls.add_command(command)
