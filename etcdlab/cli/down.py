"""`etcdlab down`: stop labs, and remove them if asked."""

import click

from etcdlab.cli.result import Result
from etcdlab.cli.verb import lab_option, verb
from etcdlab.errors import EtcdlabError, ExitStatus, NotRunningError, UsageError
from etcdlab.lab import Lab
from etcdlab.prepare.labdir import LabDirectory, all_labs


@verb("down", example="etcdlab down --purge")
@lab_option
@click.option("--purge", is_flag=True, help="Discard the data and the directory too; members are killed at once.")
@click.option("--all", "every", is_flag=True, help="All labs.")
def down(lab: str | None, purge: bool, every: bool) -> Result:
    """Stop a lab: followers first, the leader last. `up` starts it again as it was, unless it was purged."""
    if lab is not None and every:
        raise UsageError("--lab and --all exclude each other", hint="Name one lab, or stop them all.")
    if every:
        labs = [Lab(directory) for directory in all_labs()]
    elif purge and lab is not None:  # also one that is only being made, or is removed meanwhile
        labs = [Lab(LabDirectory.named(lab))]
    else:
        labs = [Lab.attach(lab)]
    stopped: dict[str, bool] = {}
    failed: dict[str, EtcdlabError] = {}
    for one in labs:
        try:
            stopped[one.name] = one.down(purge=purge)
        except EtcdlabError as error:
            if purge and isinstance(error, NotRunningError) and not one.directory.path.exists():
                continue
            if not every:  # else the others are to be stopped all the same
                raise
            failed[one.name] = error
    data = [{"lab": name, "was_up": was_up, "purged": purge} for name, was_up in stopped.items()]
    view = [_line(name, was_up, purge) for name, was_up in stopped.items()]
    return Result(
        view=view or [f"there is no lab {lab}: nothing to remove" if lab else "there is no lab"] * (not failed),
        data={"labs": data},
        exit_status=max((error.exit_status for error in failed.values()), default=ExitStatus.DONE),
        warnings=tuple(f"{name}: {error.message}" for name, error in failed.items()),
    )


def _line(name: str, was_up: bool, purge: bool) -> str:
    if purge:
        return f"lab {name} is stopped and removed" if was_up else f"lab {name} is removed"
    return f"lab {name} is stopped" if was_up else f"lab {name} was stopped already"
