"""The topology that a command is given: a file, and flags that change it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

import click

from etcdlab.model import rules
from etcdlab.model.topology import Profile
from etcdlab.prepare.config import Loaded, load, override


class TopologyOptions(TypedDict):
    """What `topology_options` gives to a callback; None is what the file says."""

    file: Path | None
    nodes: int | None
    profile: str | None
    name: str | None
    no_tls: bool
    etcd: str | None
    faults: bool


def topology_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add FILE and its flags to a command: those of `etcdlab up`."""
    profiles = click.Choice([profile.value for profile in Profile])
    for option in (
        click.option("--faults", is_flag=True, help="Links that can have faults: see `etcdlab net`."),
        click.option("--etcd", metavar="VERSION|PATH", help="The etcd to run."),
        click.option("--no-tls", is_flag=True, help="Plain HTTP and no certificates."),
        click.option("--name", metavar="NAME", help="The lab's name."),
        click.option("--profile", type=profiles, help="etcd's own ticks and fsync, or quick ones for tests."),
        click.option("--nodes", type=int, metavar="N", help="How many members.  [default: 3]"),
        click.argument("file", required=False, type=click.Path(path_type=Path)),
    ):
        command = option(command)
    return command


def read(options: TopologyOptions) -> Loaded:
    """Load the file and apply the flags. Raises TopologyError with all problems of either."""
    loaded = load(options["file"])
    changed = override(
        loaded.topology,
        nodes=options["nodes"],
        profile=Profile(options["profile"]) if options["profile"] else None,
        name=options["name"],
        tls=False if options["no_tls"] else None,
        etcd=options["etcd"],
        faults=options["faults"],
    )
    if changed == loaded.topology:
        return loaded
    # What was to be warned about in the file may be what the flags have changed.
    warnings = tuple(sentence for _, sentence in rules.warnings(changed))
    return Loaded(topology=changed, warnings=warnings, base=loaded.base)
