"""What a shell offers when Tab is pressed on an argument: click's `shell_complete` callbacks.

They read directories and plan.json only, and offer nothing rather than fail.
"""

import click

from etcdlab.errors import EtcdlabError
from etcdlab.model.plan import Plan
from etcdlab.model.selection import WORDS
from etcdlab.prepare import labdir


def complete_lab(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The labs there are, for `--lab`."""
    return [lab.name for lab in labdir.all_labs() if lab.name.startswith(incomplete)]


def complete_node(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The members of the lab meant that were not named yet, for NODE arguments."""
    plan = _plan(ctx)
    given = ctx.params.get(param.name or "") or ()
    names = [node.name for node in plan.nodes] if plan else []
    return [name for name in names if name.startswith(incomplete) and name not in given]


def complete_meant(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """As `complete_node`, then the words that stand for members."""
    given = ctx.params.get(param.name or "") or ()
    words = [word for word in WORDS if word.startswith(incomplete) and word not in given]
    return complete_node(ctx, param, incomplete) + words


def complete_identity(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The client identities of the lab meant, for `--identity`."""
    plan = _plan(ctx)
    if plan is None or plan.tls is None:
        return []
    return [identity.name for identity in plan.tls.identities if identity.name.startswith(incomplete)]


def _plan(ctx: click.Context) -> Plan | None:
    try:
        return labdir.choose(ctx.params.get("lab")).load_plan()
    except EtcdlabError:
        return None
