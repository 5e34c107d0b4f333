"""The defects of a lab's leaves as its daemon has them: put there, healed in their time, journalled."""

import logging
import math
import time
from collections.abc import Collection
from typing import Final

import trio

from etcdlab.errors import CertificateError, LabStateError
from etcdlab.model.certificate import Defect, LeafDefect, PkiPlan
from etcdlab.model.event import EventKind
from etcdlab.runtime.journal import Journal

logger = logging.getLogger(__name__)

RETRY_S: Final = 1.0
"""Seconds between attempts to heal what could not be healed: the disk is full, say."""


class Certificates:
    """What is wrong with leaves on purpose. `run` is its task. Those of an earlier daemon are in the journal."""

    def __init__(self, plan: PkiPlan | None, journal: Journal) -> None:
        self.defects: tuple[LeafDefect, ...] = journal.past.defects
        self._plan = plan
        self._journal = journal
        self._changing = trio.Lock()
        self._changed = trio.Event()

    async def run(self) -> None:
        """Heal each when its time is over. For ever."""
        while True:
            changed = self._changed
            with trio.move_on_after(max(0.0, self._next_end() - time.monotonic())):
                await changed.wait()
            now = time.monotonic()
            over = [defect.stem for defect in self.defects if defect.until_s is not None and defect.until_s <= now]
            try:
                if over:
                    await self.heal(over)
            except CertificateError as error:
                logger.error("%s", error)  # noqa: TRY400 - its words say all
                await trio.sleep(RETRY_S)

    def _next_end(self) -> float:
        return min((defect.until_s for defect in self.defects if defect.until_s is not None), default=math.inf)

    async def inject(self, stems: Collection[str], defect: Defect, *, for_s: float | None) -> None:
        """Give leaves a defect, in place of any they have. Raises LabStateError, CertificateError."""
        plan = self._require_tls()
        async with self._changing:
            since_s = time.monotonic()
            for stem in stems:
                serial = await trio.to_thread.run_sync(_inject, plan, stem, defect)
                until_s = None if for_s is None else since_s + for_s
                given = LeafDefect(stem=stem, defect=defect, serial=serial, since_s=since_s, until_s=until_s)
                self.defects = (*(other for other in self.defects if other.stem != stem), given)
                self._tell(EventKind.FAULT_INJECTED, given)
            self._pulse()

    async def renew(self, stems: Collection[str]) -> None:
        """Replace leaves by ones that are valid from now on; a defect is gone then. Raises LabStateError."""
        plan = self._require_tls()
        await self.heal(stems)
        async with self._changing:
            for stem in stems:
                await trio.to_thread.run_sync(_renew, plan, stem)
                self._journal.emit(EventKind.CERTIFICATE_RENEWED, leaf=stem)

    async def add_authority(self) -> None:
        """Have another CA, which issues from now on. Raises LabStateError."""
        plan = self._require_tls()
        async with self._changing:
            await trio.to_thread.run_sync(_add_authority, plan)

    async def drop_authorities(self) -> None:
        """Trust that one alone. Raises LabStateError."""
        plan = self._require_tls()
        async with self._changing:
            await trio.to_thread.run_sync(_drop_authorities, plan)

    async def heal(self, stems: Collection[str] | None = None) -> None:
        """Have leaves as they were, all or these. Raises CertificateError."""
        async with self._changing:
            for defect in self.defects:
                if (stems is None or defect.stem in stems) and self._plan is not None:
                    await trio.to_thread.run_sync(_heal, self._plan, defect.stem)
                    self.defects = tuple(other for other in self.defects if other is not defect)
                    self._tell(EventKind.FAULT_HEALED, defect)
            self._pulse()

    def _require_tls(self) -> PkiPlan:
        if self._plan is None:
            raise LabStateError("a lab without TLS has no certificates", hint="`[tls] enabled = true` is the default.")
        return self._plan

    def _tell(self, kind: EventKind, defect: LeafDefect) -> None:
        text = f"{defect.defect.value} certificate {defect.stem}"
        if kind is EventKind.FAULT_INJECTED and defect.until_s is not None:
            text += f" for {defect.until_s - defect.since_s:g} s"
        self._journal.emit(
            kind,
            text=text,
            leaf=defect.stem,
            defect=defect.defect.value,
            serial=defect.serial,
            since_s=defect.since_s,
            until_s=defect.until_s,
        )

    def _pulse(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def _inject(plan: PkiPlan, stem: str, defect: Defect) -> str:
    from etcdlab.pki import defects  # 65 ms and 8 MB of cryptography, which a daemon without defects does not pay

    return defects.inject(plan, stem, defect)


def _renew(plan: PkiPlan, stem: str) -> None:
    from etcdlab.pki import store

    store.renew(plan, stem)


def _add_authority(plan: PkiPlan) -> None:
    from etcdlab.pki import store

    store.add_authority(plan)


def _drop_authorities(plan: PkiPlan) -> None:
    from etcdlab.pki import store

    store.drop_authorities(plan)


def _heal(plan: PkiPlan, stem: str) -> None:
    from etcdlab.pki import defects

    defects.heal(plan, stem)
