"""`etcdlab heal`: undo all that was done to a lab on purpose."""

from collections.abc import Iterator

from etcdlab.cli.result import Result
from etcdlab.cli.supervised import attach
from etcdlab.cli.verb import lab_option, verb
from etcdlab.model.healed import Healed
from etcdlab.model.link import in_words


@verb("heal", example="etcdlab heal")
@lab_option
def heal(lab: str | None) -> Result:
    """Undo all faults: of links, certificates, disks, and of members, which are resumed and started."""
    healed = attach(lab).heal_all()
    return Result(view=["there was nothing to heal"] if healed.is_nothing else _lines(healed), data=healed)


def _lines(healed: Healed) -> Iterator[str]:
    if healed.faults:
        yield f"links: {in_words(sorted({active.link for active in healed.faults}))}"
    if healed.defects:
        yield f"certificates: {', '.join(defect.stem for defect in healed.defects)}"
    if healed.shortages:
        yield f"disks: {', '.join(map(str, healed.shortages))}"
    if healed.resumed:
        yield f"resumed: {', '.join(healed.resumed)}"
    if healed.started:
        yield f"started: {', '.join(healed.started)}"
