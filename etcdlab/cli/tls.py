"""`etcdlab tls`: the certificates of a running lab, and what can be wrong with them."""

import dataclasses
import datetime

import click

from etcdlab.cli import render
from etcdlab.cli.completion import complete_node
from etcdlab.cli.moment import Moment
from etcdlab.cli.result import Cell, Result, Table
from etcdlab.cli.supervised import attach
from etcdlab.cli.verb import ShowingGroup, Verb, for_option, lab_option, verb
from etcdlab.errors import ExitStatus
from etcdlab.lab import Lab
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
    """Show the certificates and what is wrong with them on purpose. `etcdlab tls` alone does so, too."""
    certificates = attach(lab).certificates
    leaves, defects = certificates.leaves(), {defect.stem: defect for defect in certificates.defects()}
    rows = tuple(
        (
            stem,
            leaf.not_before,
            leaf.not_after,
            Cell(defects[stem].defect.value, "warning") if stem in defects else "-",
        )
        for stem, leaf in leaves.items()
    )
    table = Table(header=("CERTIFICATE", "FROM", "UNTIL", "DEFECT"), rows=rows)
    return Result(view=(table,), data={"leaves": leaves, "defects": tuple(defects.values())})


@verb("fault", example="etcdlab tls fault n1 expired --role peer --for 10s")
@owner_argument
@click.argument("defect", type=click.Choice([defect.value for defect in Defect]))
@role_option
@for_option("Heal it after that time.")
@lab_option
def fault(owner: str, defect: str, role: str | None, for_: float | None, lab: str | None) -> Result:
    """Replace the certificates of a member, or of a client, by ones with a defect, or have them revoked.

    Who is dialled looks whether what is presented is revoked, who dials does not: a client goes on trusting a server.
    """
    spoiled = attach(lab).certificates.spoil(owner, defect, role=role, for_=for_)
    until = "; `etcdlab tls heal` heals it" if for_ is None else f", for {for_:g} s"
    data = {"leaves": spoiled.stems, "defect": spoiled.defect, "for_s": for_}
    return Result(view=(f"{defect}: {', '.join(spoiled.stems)}{until}",), data=data)


@verb("rotate", example="etcdlab tls rotate")
@click.argument("owner", required=False, metavar="[NODE|CLIENT]", shell_complete=complete_node)
@role_option
@lab_option
def rotate(owner: str | None, role: str | None, lab: str | None) -> Result:
    """Renew all certificates, or those of one, while the cluster runs.

    Each is as it was made, on the same key, and valid from now on. What is open stays open.
    """
    _require_owner(owner, role)
    stems = attach(lab).certificates.rotate(owner, role=role)
    return Result(view=(f"renewed: {', '.join(stems)}",), data={"leaves": stems})


@verb("predict", example="etcdlab tls predict --at +30d")
@click.option(
    "--at", type=Moment(is_ahead=True), metavar="TIME", help='Judge for then: "+30d" from now, or an ISO time.'
)
@lab_option
def predict(at: datetime.datetime | None, lab: str | None) -> Result:
    """Dial every member as every other and as every client, and list the handshakes that fail.

    A cluster is green as long as its connections stay open: what this lists fails at the next restart. Exit status: 0
    none fails, 1 some do.
    """
    handshakes = attach(lab).certificates.predict(at=at)
    failing = [handshake for handshake in handshakes if handshake.problem]
    status = ExitStatus.FAILED if failing else ExitStatus.DONE
    data = {"handshakes": handshakes, "passed": not failing}
    if not failing:
        return Result(view=(Cell(f"all {len(handshakes)} handshakes succeed", "good"),), data=data)
    rows = tuple((one.source, one.target, one.port.value, one.problem) for one in failing)
    table = Table(header=("FROM", "TO", "PORT", "WHY IT FAILS"), rows=rows)
    line = Cell(f"{len(failing)} of {len(handshakes)} handshakes fail", "bad")
    return Result(view=(table, line), data=data, exit_status=status)


@verb("refusals", example="etcdlab tls refusals --since 5m")
@click.option("--since", type=Moment(), metavar="TIME", help='Only from then on: "5m" ago, or an ISO time.')
@lab_option
def refusals(since: datetime.datetime | None, lab: str | None) -> Result:
    """List what members and those who dialled them have refused: who presented what to whom, and what was wrong.

    From the members' logs, the journal and the certificates, so that it needs no daemon. Of somebody without a
    certificate of the lab it has etcd's words.
    """
    found = Lab.attach(lab).certificates.refusals(since=since)
    rows = tuple(
        (f"{one.last.astimezone():%m-%d %H:%M:%S}", str(one.count), one.port.value if one.port else "-", one.text)
        for one in found
    )
    table = Table(header=("LAST", "TIMES", "PORT", "WHAT"), rows=rows)
    return Result(view=(table,) if rows else ("nothing was refused",), data={"refusals": found})


@verb("rotate-ca", example="etcdlab tls rotate-ca")
@click.option("--force", is_flag=True, help="Even if the cluster loses its quorum.")
@lab_option
def rotate_ca(force: bool, lab: str | None) -> Result:
    """Have another CA in place of the lab's: all members trust both, show leaves of the new one, then trust it alone.

    Each member is restarted twice, one after the other, while a client writes; what it met is reported. Clients must
    read their files anew.
    """
    attached = attach(lab)
    render.message("each member is restarted twice ...")
    cost = attached.certificates.rotate_authority(force=force)
    text = (
        f"the lab has another CA, after {cost.took_s:.1f} s; {cost.writes} writes meanwhile, {cost.failures} failed, "
        f"longest time without one {cost.unavailable_s:.3f} s"
    )
    return Result(view=(text,), data=dataclasses.asdict(cost))


@verb("heal", example="etcdlab tls heal n1")
@click.argument("owner", required=False, metavar="[NODE|CLIENT]", shell_complete=complete_node)
@role_option
@lab_option
def heal(owner: str | None, role: str | None, lab: str | None) -> Result:
    """Have all certificates, or those of one, as they were."""
    _require_owner(owner, role)
    healed = attach(lab).certificates.heal(owner, role=role)
    text = f"healed: {', '.join(defect.stem for defect in healed)}" if healed else "there was nothing to heal"
    return Result(view=(text,), data={"healed": healed})


def _require_owner(owner: str | None, role: str | None) -> None:
    if owner is None and role is not None:
        raise click.UsageError("--role is of a member: name it")


for command in (show, predict, refusals, fault, rotate, rotate_ca, heal):
    assert isinstance(command, Verb)
    tls.add_command(command)
