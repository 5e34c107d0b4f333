"""`plan.json`: written for good, and read with distrust. It may be damaged, or of another etcdlab or another place."""

import os
import re
from pathlib import Path
from typing import Any

import msgspec

from etcdlab import __version__
from etcdlab.errors import LabStateError
from etcdlab.model.plan import PLAN_VERSION, Plan
from etcdlab.prepare.files import replace_file


class _Head(msgspec.Struct):
    """What every format of the file has."""

    version: int = PLAN_VERSION
    made_by: str = ""


def read(path: Path, *, lab: str) -> Plan:
    """The plan as it was written. Raises LabStateError when it cannot be read, FileNotFoundError when there is none."""
    remedy = f"`etcdlab down --purge --lab {lab}` removes the lab"
    try:
        content = path.read_bytes()
        head = msgspec.json.decode(content, type=_Head)
        if head.version != PLAN_VERSION:
            raise LabStateError(
                f"{path} was made by etcdlab {head.made_by or '(unknown)'}, in format {head.version}; "
                f"this is etcdlab {__version__}, which reads format {PLAN_VERSION}",
                hint=f"Use the etcdlab that made it, or {remedy}.",
            )
        return msgspec.json.decode(content, type=Plan)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise LabStateError(f"{path} cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LabStateError(
            f"{path} cannot be read, it is damaged: {error}",
            hint=f"`etcdlab down --lab {lab}` ends what still runs of it; {remedy}.",
        ) from error


def write(path: Path, plan: Plan) -> None:
    """Replace the file, durably: without it the members' data belongs to no lab. Raises LabStateError."""
    try:
        replace_file(path, msgspec.json.format(msgspec.json.encode(plan), indent=2))
    except OSError as error:
        raise LabStateError(
            f"{path} cannot be written: {error.strerror}", hint="Is the disk full, or the lab's directory read-only?"
        ) from error


def is_at(plan: Plan, place: Path) -> bool:
    """Whether a plan was made for this directory, by this path or another one."""
    if plan.directory == str(place):
        return True
    try:
        return place.samefile(plan.directory)
    except OSError:
        return False


def moved(plan: Plan, place: Path, *, socket: str) -> Plan:
    """The plan of a lab whose directory was moved to `place`, where it goes by that name.

    Raises LabStateError for a copy: two labs with the same ports and ids are none that anyone wants.
    """
    if Path(plan.directory, "plan.json").exists():
        raise LabStateError(
            f"{place} is a copy of the lab in {plan.directory}, with the same members, ports and ids",
            hint=f"`etcdlab down --purge --lab {place.name}` removes the copy.",
        )
    old, new = plan.directory.rstrip(os.sep), str(place)
    # A path is an argument, or part of one: --data-dir=PATH.
    pattern = re.compile(rf"(?<![^=,]){re.escape(old)}(?=/|$)")

    def follow(value: Any) -> Any:
        if isinstance(value, str):
            return pattern.sub(lambda _: new, value)
        if isinstance(value, dict):
            return {key: follow(item) for key, item in value.items()}
        return [follow(item) for item in value] if isinstance(value, list | tuple) else value

    followed = msgspec.convert(follow(msgspec.to_builtins(plan)), Plan)
    return msgspec.structs.replace(followed, lab=place.name, directory=new, socket=socket)
