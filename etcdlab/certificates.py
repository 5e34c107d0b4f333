"""What can be done to a lab's certificates, for Lab: each at once, and undone at the end of a `with` block."""

from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar

from etcdlab.control.client import Client
from etcdlab.errors import UsageError
from etcdlab.model.certificate import Defect, LeafDefect, Role
from etcdlab.model.units import Time, lasting

if TYPE_CHECKING:
    from etcdlab.lab import Lab

Kind = TypeVar("Kind", Defect, Role)


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
