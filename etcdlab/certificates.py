"""What can be done to a lab's certificates, for Lab: each at once, and undone at the end of a `with` block."""

import datetime
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar

from etcdlab.control.client import Client
from etcdlab.errors import LabStateError, UsageError
from etcdlab.history import Mark
from etcdlab.model.certificate import Defect, LeafDefect, PkiPlan, Role
from etcdlab.model.units import Time, lasting
from etcdlab.pki.files import certificate_file

if TYPE_CHECKING:
    from etcdlab.check.handshakes import Handshake
    from etcdlab.check.refusals import Refusal
    from etcdlab.lab import Lab
    from etcdlab.pki.inspect import Description

AUTHORITY_TIMEOUT_S: Final = 1800.0
"""Each member is restarted twice, one after the other, each with a boot's bound."""
Kind = TypeVar("Kind", Defect, Role)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollover:
    """What a CA's roll-over cost: its time, the writes meanwhile, those that failed, and the longest time without."""

    took_s: float
    writes: int
    failures: int
    unavailable_s: float


class Spoiled:
    """Leaves, by their file stems, with a defect. As a context manager, they are healed at the end of the block."""

    def __init__(self, client: Client, stems: tuple[str, ...], defect: Defect) -> None:
        self.stems: Final = stems
        self.defect: Final = defect
        self._client = client

    def heal(self) -> None:
        """Have them as they were."""
        self._client.heal_leaves(self.stems)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.heal()


class Certificates:
    """The certificates of a lab. `owner` is a member or a client identity; `role` picks one of a member's leaves.

    What is done counts from the next handshake on: connections that are open stay so.
    """

    def __init__(self, lab: "Lab") -> None:
        self._lab = lab

    def leaves(self) -> "dict[str, Description]":
        """What each says, by file stem. Raises LabStateError without TLS, CertificateError."""
        from etcdlab.pki.inspect import describe

        pki = self._pki()
        now, directory = datetime.datetime.now(datetime.UTC), Path(pki.directory)
        return {leaf.stem: describe(certificate_file(directory, leaf.stem), at=now) for leaf in pki.certificates}

    def predict(self, *, at: datetime.datetime | None = None) -> "tuple[Handshake, ...]":
        """Every handshake there can be and why it would fail: tried now, or judged for another time.

        Raises LabStateError without TLS.
        """
        from etcdlab.check import handshakes

        return handshakes.predict(self._lab.plan, self._pki(), self._lab.topology, at=at)

    def refusals(self, *, since: "Mark | datetime.datetime | None" = None) -> "tuple[Refusal, ...]":
        """The handshakes that failed by the members' logs, in words: all that are kept, or since then.

        Raises LabStateError without TLS.
        """
        from etcdlab.check.refusals import refusals

        if isinstance(since, Mark):
            since = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=time.monotonic() - since.at_s)
        return refusals(self._lab.plan, self._lab.topology, self._pki(), self._lab.events(), since=since)

    def _pki(self) -> PkiPlan:
        if (pki := self._lab.plan.pki) is None:
            raise LabStateError("a lab without TLS has no certificates", hint="`[tls] enabled = true` is the default.")
        return pki

    def spoil(
        self, owner: str, defect: Defect | str, *, role: Role | str | None = None, for_: Time | None = None
    ) -> Spoiled:
        """Give them a defect until that is healed, or for a time, whatever becomes of this process.

        Raises UsageError, and LabStateError for a lab without TLS or without its CA's key.
        """
        stems, wanted = self._stems(owner, role), _kind(Defect, defect)
        client = self._lab.client()
        client.spoil(stems, wanted, for_s=lasting(for_))
        return Spoiled(client, stems, wanted)

    def rotate(self, owner: str | None = None, *, role: Role | str | None = None) -> tuple[str, ...]:
        """Replace the leaves of all, or of one, by ones that are valid from now on, on the same keys: their file stems.

        No connection breaks, no handshake fails. Raises UsageError, LabStateError.
        """
        from etcdlab.pki.roles import identities, leaves_of

        topology = self._lab.topology
        owners = [member.name for member in topology.members()] + [name for name, _ in identities(topology)]
        wanted = None if role is None else _kind(Role, role)
        stems = dict.fromkeys(
            stem for one in ([owner] if owner is not None else owners) for stem in leaves_of(topology, one, wanted)
        )
        self._lab.client().renew(tuple(stems))
        return tuple(stems)

    def rotate_authority(self, *, force: bool = False) -> "Rollover":
        """Have another CA in place of the lab's, in two phases of rolling restarts, while a probe writes.

        Raises LabStateError for a CA that was there before the lab, QuorumError unless `force` where one member less is
        no quorum.
        """
        with self._lab.probe() as probe:
            began_s = time.monotonic()
            self._lab.client(timeout_s=AUTHORITY_TIMEOUT_S).rotate_authority(force=force)
            took_s = time.monotonic() - began_s
        return Rollover(
            took_s=took_s, writes=probe.writes, failures=probe.failures(), unavailable_s=probe.unavailable()
        )

    def heal(self, owner: str | None = None, *, role: Role | str | None = None) -> tuple[LeafDefect, ...]:
        """Have all, or those of one, as they were; returns what they had. Raises UsageError."""
        stems = None if owner is None else self._stems(owner, role)
        before = self.defects()
        self._lab.client().heal_leaves(stems)
        after = self.defects()
        return tuple(defect for defect in before if defect not in after)

    def defects(self) -> tuple[LeafDefect, ...]:
        """What is wrong with them on purpose."""
        return self._lab.client().status().defects

    def _stems(self, owner: str, role: Role | str | None) -> tuple[str, ...]:
        from etcdlab.pki.roles import leaves_of

        return leaves_of(self._lab.topology, owner, None if role is None else _kind(Role, role))


def _kind(kinds: type[Kind], given: Kind | str) -> Kind:
    try:
        return kinds(given)
    except ValueError:
        known = ", ".join(kind.value for kind in kinds)
        raise UsageError(f"there is no {kinds.__name__.lower()} {given!r}", hint=f"There are: {known}.") from None
