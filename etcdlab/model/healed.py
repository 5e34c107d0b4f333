"""What was undone when everything was healed."""

import msgspec

from etcdlab.model.certificate import LeafDefect
from etcdlab.model.disk import Shortage
from etcdlab.model.link import LinkFault


class Healed(msgspec.Struct, frozen=True, kw_only=True):
    """Faults taken off links, defects off leaves, shortages of disks, and the members that go on."""

    faults: tuple[LinkFault, ...] = ()
    defects: tuple[LeafDefect, ...] = ()
    shortages: tuple[Shortage, ...] = ()
    resumed: tuple[str, ...] = ()
    started: tuple[str, ...] = ()
    version: int = 1

    @property
    def is_nothing(self) -> bool:
        """Whether nothing was to be undone."""
        return not (self.faults or self.defects or self.shortages or self.resumed or self.started)
