"""The sync client of the control socket. Standard library and msgspec only: `etcdlab status` pays for this import."""

import http
import http.client
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import msgspec

from etcdlab.control import wire
from etcdlab.errors import ControlError, EtcdlabError, NotRunningError, ProblemsError, TimedOutError, by_code
from etcdlab.model.certificate import Defect
from etcdlab.model.chaos import AnyEntry
from etcdlab.model.disk import Freed, Part, Shortage
from etcdlab.model.event import Event
from etcdlab.model.healed import Healed
from etcdlab.model.link import AnyFault, FaultKind, Link
from etcdlab.model.plan import Plan
from etcdlab.model.reset import ResetOutcome
from etcdlab.model.status import LabStatus
from etcdlab.ownership import is_trusted, user_of_peer

_CHUNK: Final = 64 * 1024
T = TypeVar("T")


class Client:
    """Calls on one lab's daemon, each on a connection of its own.

    `timeout_s` bounds each wait for the daemon, in seconds; None waits for ever. Every method raises NotRunningError
    when no daemon listens, TimedOutError when the bound ran out, ControlError when the answer makes no sense, and
    whatever EtcdlabError the daemon answered with.
    """

    def __init__(self, socket_path: str, *, timeout_s: float | None) -> None:
        self._path = socket_path
        self._timeout_s = timeout_s

    def status(self) -> LabStatus:
        """Measure the lab."""
        return self._get("/v1/status", LabStatus)

    def plan(self) -> Plan:
        """The plan that the daemon works from."""
        return self._get("/v1/plan", Plan)

    def start(self, nodes: Sequence[str]) -> tuple[str, ...]:
        """Start members; returns when they run. Also leaves FAILED.

        Members are named, here and below, or meant by what they are now (`etcdlab.model.selection`): "leader". Those
        that were meant are returned.
        """
        return self._act("/v1/start", wire.NodesRequest(nodes=tuple(nodes)))

    def stop(self, nodes: Sequence[str], *, force: bool = False, for_s: float | None = None) -> tuple[str, ...]:
        """Stop members, for so many seconds or until they are started.

        Raises QuorumError if quorum would be lost, unless `force`; so do the next three.
        """
        return self._act("/v1/stop", wire.HoldRequest(nodes=tuple(nodes), force=force, for_s=for_s))

    def restart(self, nodes: Sequence[str], *, force: bool = False) -> tuple[str, ...]:
        """Stop and start members."""
        return self._act("/v1/restart", wire.ForceableRequest(nodes=tuple(nodes), force=force))

    def kill(
        self, nodes: Sequence[str], *, signal: signal.Signals = signal.SIGKILL, force: bool = False
    ) -> tuple[str, ...]:
        """Send a signal to members. Those that have no process get none; LabStateError when none of them has one."""
        return self._act("/v1/kill", wire.KillRequest(nodes=tuple(nodes), signal=signal.name, force=force))

    def pause(self, nodes: Sequence[str], *, force: bool = False, for_s: float | None = None) -> tuple[str, ...]:
        """Freeze members (SIGSTOP), for so many seconds or until they are resumed, as with `kill` those that run."""
        return self._act("/v1/pause", wire.HoldRequest(nodes=tuple(nodes), force=force, for_s=for_s))

    def resume(self, nodes: Sequence[str]) -> tuple[str, ...]:
        """Let paused members go on."""
        return self._act("/v1/resume", wire.NodesRequest(nodes=tuple(nodes)))

    def move_leader(self, node: str) -> None:
        """Have a member lead. Raises QuorumError when nobody leads now, LabStateError when it cannot."""
        self._post("/v1/leader/move", wire.LeaderRequest(node=node))

    def network(self) -> wire.NetworkAnswer:
        """The links that can have faults, and what is on them. Raises LabStateError if none can; so do the next two."""
        return self._get("/v1/network", wire.NetworkAnswer)

    def inject(
        self, links: Sequence[Link], fault: AnyFault, *, for_s: float | None = None, force: bool = False
    ) -> None:
        """Put a fault on links, for so many seconds or until it is healed."""
        self._post("/v1/network/inject", wire.InjectRequest(links=tuple(links), fault=fault, for_s=for_s, force=force))

    def heal(self, links: Sequence[Link] | None = None, kinds: Sequence[FaultKind] | None = None) -> None:
        """Take faults off links: all, or those of these links and kinds."""
        self._post(
            "/v1/network/heal",
            wire.HealRequest(
                links=None if links is None else tuple(links), kinds=None if kinds is None else tuple(kinds)
            ),
        )

    def damage(self, node: str, part: Part) -> None:
        """Damage the data of a member that is down. Raises LabStateError."""
        self._post("/v1/disk/corrupt", wire.DamageRequest(node=node, part=part))

    def fill_disks(self, nodes: Sequence[str], *, force: bool = False, for_s: float | None = None) -> tuple[str, ...]:
        """Have members' disks full, for so many seconds or until they are healed. Raises QuorumError, LabStateError."""
        return self._act("/v1/disk/full", wire.HoldRequest(nodes=tuple(nodes), force=force, for_s=for_s))

    def limit_databases(self, nodes: Sequence[str], quota: int, *, force: bool = False) -> tuple[str, ...]:
        """Restart members with another quota in bytes, theirs until it is healed. Raises QuorumError."""
        return self._act("/v1/disk/quota", wire.QuotaRequest(nodes=tuple(nodes), quota=quota, force=force))

    def heal_disks(self, nodes: Sequence[str] | None = None) -> tuple[Shortage, ...]:
        """Have disks as they were, these or all; returns what they lacked."""
        body = wire.HealDisksRequest(nodes=None if nodes is None else tuple(nodes))
        content = self._post("/v1/disk/heal", body)
        with self._translated():
            return msgspec.json.decode(content, type=wire.ShortagesAnswer).healed

    def free_space(self) -> Freed:
        """Forget the history of keys, defragment each voting member, disarm NOSPACE. Raises LabStateError."""
        content = self._post("/v1/disk/free", wire.FreeRequest())
        with self._translated():
            return msgspec.json.decode(content, type=Freed)

    def repair(self, node: str) -> None:
        """Make a member anew whose data is lost or damaged; returns when it runs. Raises LabStateError."""
        self._post("/v1/repair", wire.RepairRequest(node=node))

    def heal_all(self) -> Healed:
        """Undo all that was done on purpose: faults of links, defects of leaves, members stopped, failed or paused."""
        content = self._post("/v1/heal", wire.HealAllRequest())
        with self._translated():
            return msgspec.json.decode(content, type=Healed)

    def renew(self, stems: Sequence[str]) -> None:
        """Replace leaves (by file stem) by ones that are valid from now on, on the same keys. Raises LabStateError."""
        self._post("/v1/tls/renew", wire.RenewRequest(leaves=tuple(stems)))

    def rotate_authority(self, *, force: bool = False) -> None:
        """Have another CA in place of the lab's; returns when that is over. Raises QuorumError, LabStateError."""
        self._post("/v1/tls/authority", wire.AuthorityRequest(force=force))

    def spoil(self, stems: Sequence[str], defect: Defect, *, for_s: float | None = None) -> None:
        """Give leaves (by file stem) a defect, for so many seconds or until they are healed. Raises LabStateError."""
        self._post("/v1/tls/inject", wire.DefectRequest(leaves=tuple(stems), defect=defect, for_s=for_s))

    def heal_leaves(self, stems: Sequence[str] | None = None) -> None:
        """Have leaves as they were, these or all."""
        self._post("/v1/tls/heal", wire.HealLeavesRequest(leaves=None if stems is None else tuple(stems)))

    def reset(self) -> ResetOutcome:
        """Make the lab pristine: members run; no key, lease, user, role or alarm is left. Says how it was done."""
        content = self._post("/v1/reset", wire.ResetRequest())
        with self._translated():
            return msgspec.json.decode(content, type=ResetOutcome)

    def tell_chaos(self, entry: AnyEntry) -> None:
        """Have the journal tell of a run of a scenario."""
        self._post("/v1/chaos", wire.ChaosRequest(entry=entry))

    def shutdown(self, *, purge: bool = False) -> None:
        """Ask the daemon to stop the lab and end. Returns when it has taken that on, not when it is done."""
        self._post("/v1/shutdown", wire.ShutdownRequest(purge=purge))

    def events(self, *, since: int = 0, follow: bool = False) -> Iterator[Event]:
        """The journal after `since`, then (`follow`) what comes, until the daemon ends or the iterator is closed."""
        yield from self._stream("/v1/events", {"since": since}, Event, follow=follow)

    def logs(self, nodes: Sequence[str] = (), *, lines: int = 100, follow: bool = False) -> Iterator[dict[str, Any]]:
        """The last `lines` log records of each member (none named: all), then (`follow`) what comes."""
        yield from self._stream("/v1/logs", {"node": nodes, "lines": lines}, dict, follow=follow)

    def _act(self, target: str, body: wire.Request) -> tuple[str, ...]:
        content = self._post(target, body)
        with self._translated():
            return msgspec.json.decode(content, type=wire.NodesAnswer).nodes

    def _post(self, target: str, body: wire.Request) -> bytes:
        return self._call("POST", target, msgspec.json.encode(body))

    def _get(self, target: str, type_: type[T]) -> T:
        content = self._call("GET", target)
        with self._translated():
            return msgspec.json.decode(content, type=type_)

    def _call(self, method: str, target: str, body: bytes | None = None) -> bytes:
        with self._translated(), closing(_Connection(self._path, self._timeout_s)) as connection:
            return _answer(connection, method, target, body).read()

    def _stream(self, path: str, query: Mapping[str, Any], type_: type[T], *, follow: bool) -> Iterator[T]:
        decoder = msgspec.json.Decoder(type_)
        target = f"{path}?{urlencode({**query, 'follow': str(follow).lower()}, doseq=True)}"
        with self._translated(), closing(_Connection(self._path, self._timeout_s)) as connection:
            answer = _answer(connection, "GET", target)
            if follow:
                connection.sock.settimeout(None)
            rest = b""
            # Not readline(): it takes a stream that broke off for one that ended (http.client, _peek_chunked).
            while chunk := answer.read1(_CHUNK):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from map(decoder.decode, lines)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, ConnectionRefusedError):
            raise NotRunningError(
                f"no daemon listens on {self._path}", hint="`etcdlab up` starts the lab; `etcdlab ls` shows all."
            ) from None
        except TimeoutError:
            raise TimedOutError(
                f"the daemon on {self._path} gave no answer within {self._timeout_s:g} s",
                hint="Its daemon.log, beside the lab's plan.json, may say what it is busy with.",
            ) from None
        except (ConnectionError, http.client.IncompleteRead):
            raise NotRunningError(f"the daemon on {self._path} went away before it had answered") from None
        except PermissionError:
            raise ControlError(
                f"the control socket {self._path} may not be used: permission denied",
                hint="Only the lab's owner may, and only while it is writable (`chmod u+w` makes it so).",
            ) from None
        except (OSError, http.client.HTTPException, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ControlError(f"the answer on {self._path} could not be used: {error}") from error


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float | None) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
        if not is_trusted(user := user_of_peer(self.sock)):
            raise ControlError(
                f"the control socket {self._path} is user {user}'s, who has put it in the place of the lab's own",
                hint="Nothing was sent. `etcdlab plan --json` tells the socket; its directory should be yours alone.",
            )


def _answer(connection: _Connection, method: str, target: str, body: bytes | None = None) -> http.client.HTTPResponse:
    connection.request(method, target, body)
    answer = connection.getresponse()
    if answer.status >= http.HTTPStatus.BAD_REQUEST:
        raise _error(msgspec.json.decode(answer.read(), type=wire.ErrorAnswer).error)
    return answer


def _error(body: wire.ErrorBody) -> EtcdlabError:
    """The error that the daemon raised, as far as it travels: class, message, hint."""
    kind = by_code(body.code)
    if issubclass(kind, ProblemsError):
        return kind(body.message.splitlines(), hint=body.hint)
    return kind(body.message, hint=body.hint)
