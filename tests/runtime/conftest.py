"""Labs of scripted members, for the modules that act on all of them."""

import pytest

from tests.runtime.scripted_lab import ScriptedLab


@pytest.fixture
async def lab(tmp_path, monkeypatch, nursery):
    """One whose members have their tasks and do not run yet."""
    lab = ScriptedLab(tmp_path)
    lab.patch(monkeypatch)
    await nursery.start(lab.cluster.run)
    yield lab
    nursery.cancel_scope.cancel()
    lab.journal.close()


@pytest.fixture
async def ready(lab):
    """That lab, booted: as no log says who serves its peers, each stage takes its bound."""
    await lab.cluster.boot(boot_s=60)
    return lab
