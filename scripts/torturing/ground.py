"""The ground of an attack: a home for labs, of which nothing is left, however it ends."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil

from etcdlab.interruption import undoable
from etcdlab.prepare.title import lab_of
from torturing.tally import Tally
from torturing.verbs import Verbs

UNDONE_S: Final = 20.0
POLL_S: Final = 0.02


@contextmanager
def ground(name: str, tally: Tally) -> Iterator[Path]:
    """The home. A signal that would end this process raises Interrupted inside the block."""
    home = Path(tempfile.mkdtemp(prefix=f"etcdlab-{name}-"))
    try:
        with undoable():
            yield home
    finally:
        for verb in psutil.Process().children():
            verb.kill()  # else an `up` that still runs makes a lab when the others are removed
        Verbs(home, tally).run("down", "--purge", "--all")
        deadline = time.monotonic() + UNDONE_S
        while _daemons(home) and time.monotonic() < deadline:  # of an `up` that was killed: it undoes that
            time.sleep(POLL_S)
        shutil.rmtree(home, ignore_errors=True)


def _daemons(home: Path) -> list[psutil.Process]:
    labs = ((process, lab_of(process.info["cmdline"] or [])) for process in psutil.process_iter(["cmdline"]))
    return [process for process, lab in labs if lab is not None and lab.path.parent == home]
