"""A failed test's labs: what its report says of them, what is kept of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from etcdlab.errors import EtcdlabError, PortTakenError
from etcdlab.lab import Lab
from etcdlab.pytest_plugin import bundle, report
from etcdlab.pytest_plugin.session import Session, labs_of
from etcdlab.pytest_plugin.settings import CHAOS_FIXTURE, setting

SHARED_PORTS: Final = (
    "Each worker of pytest-xdist starts a lab of its own, and only one can have the ports that a topology names: "
    "leave them out, or have all workers use one lab (--etcdlab-shared)."
)


def sections(item: pytest.Item, error: BaseException | None, session: Session | None) -> Iterator[tuple[str, str]]:
    """Title and text of a section for each lab that the test used, for one that did not come up, for its scenario."""
    refused = error.__context__ if isinstance(error, pytest.fail.Exception) else error
    if isinstance(refused, EtcdlabError):
        advice = SHARED_PORTS if hasattr(item.config, "workerinput") and _is_about_a_port(refused) else ""
        if text := report.boot_section(refused, advice):
            yield "etcdlab", text
    directory = setting(item.config, "bundle")
    for lab in labs_of(item):
        began = session.began(lab) if session else None
        text = report.section(lab, began)
        if directory is not None:
            text += "\n" + _bundle(item, lab, text, directory)
        if session is not None and session.pool.has(lab) and session.pool.keep(lab):
            text += f"\nkept: `etcdlab status --lab {lab.name}`, and `etcdlab down --purge --lab {lab.name}` at the end"
        yield f"etcdlab: {lab.name}", text
    if (chaos := getattr(item, "funcargs", {}).get(CHAOS_FIXTURE)) is not None:
        yield "etcdlab: chaos", report.chaos_section(chaos, item.nodeid)


def _is_about_a_port(error: EtcdlabError) -> bool:
    # Two labs that claim a port at the same moment both get it: then it is etcd that is refused.
    return isinstance(error, PortTakenError) or "address already in use" in error.message


def _bundle(item: pytest.Item, lab: Lab, text: str, directory: Path) -> str:
    try:
        return f"bundle: {bundle.write(directory, item.nodeid, lab, text)}"
    except (OSError, EtcdlabError) as error:
        return f"no bundle: {error}"
