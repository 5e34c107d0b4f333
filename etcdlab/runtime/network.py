"""The lab's fault network as its daemon has it: started or found, told what to do, journalled."""

import contextlib
import itertools
import logging
import subprocess
import sys
from collections.abc import Collection, Iterable
from typing import Final

import msgspec
import trio

from etcdlab.errors import BootError, LabStateError
from etcdlab.model.event import EventKind
from etcdlab.model.link import AnyFault, Link, LinkFault, in_words, kind_of
from etcdlab.model.plan import Plan
from etcdlab.network.wire import End, Heal, Inject, Order, Restore, State
from etcdlab.ownership import is_trusted, user_of_peer
from etcdlab.prepare.labdir import LabDirectory
from etcdlab.prepare.title import NETWORK_MODULE, Role, kill_all
from etcdlab.runtime.journal import Journal

logger = logging.getLogger(__name__)

START_S: Final = 15.0
"""Seconds that the process gets to import and to bind its ports."""
END_S: Final = 5.0
BACKOFF_S: Final = 0.1
LONGEST_BACKOFF_S: Final = 5.0
CHUNK: Final = 65536


class FaultNetwork:
    """The process that carries a lab's links, and what is on them. `run` is its task.

    One that runs since before this daemon is found by its socket, and its word on the faults is taken: some may be over
    by now. One that is started anew is told which faults there were.
    """

    def __init__(self, directory: LabDirectory, plan: Plan, journal: Journal) -> None:
        self.faults: tuple[LinkFault, ...] = journal.past.faults
        self._directory = directory
        self._plan = plan
        self._journal = journal
        self._stream: trio.SocketStream | None = None
        self._sending = trio.Lock()
        self._ordered = 0
        self._carried_out = 0
        self._restored = 0
        self._problem: BootError | None = None
        self._ends = False
        self._changed = trio.Event()

    async def run(self) -> None:
        """Keep it running until `end`."""
        backoff_s, process = BACKOFF_S, None
        stream = await self._find()
        while not self._ends:
            if stream is None:
                try:
                    await self._kill_strays()
                    process = await self._spawn()
                    stream = await trio.open_unix_socket(self._plan.network_socket)
                except (BootError, OSError) as error:
                    self._problem = error if isinstance(error, BootError) else BootError(str(error))
                    logger.error("%s", error)  # noqa: TRY400 - its own traceback is in the log already
                    self._pulse()
                    await trio.sleep(backoff_s)
                    backoff_s = min(2 * backoff_s, LONGEST_BACKOFF_S)
                    continue
            await self._listen(stream, is_new=process is not None)
            stream, backoff_s = None, BACKOFF_S
            if process is not None:
                process.kill()
                await process.wait()
            if not self._ends:
                self._journal.emit(EventKind.NETWORK_LOST)

    async def wait_started(self) -> None:
        """Wait until it carries connections. Raises BootError if it does not start."""
        while self._stream is None:
            if self._problem is not None:
                raise self._problem
            await self._changed.wait()

    async def inject(self, links: Collection[Link], fault: AnyFault, *, for_s: float | None) -> None:
        """Put a fault on links; returns when it is on them. Raises LabStateError."""
        await self._order(Inject(links=tuple(links), fault=fault, for_s=for_s))

    async def heal(self, links: Collection[Link] | None = None, kinds: Collection[str] | None = None) -> None:
        """Take faults away; returns when they are gone. Raises LabStateError."""
        await self._order(
            Heal(links=None if links is None else tuple(links), kinds=None if kinds is None else tuple(kinds))
        )

    async def end(self) -> None:
        """End the process, and with it all connections that it carries."""
        self._ends = True
        self._pulse()
        with trio.move_on_after(END_S):
            stream = self._stream
            if stream is not None:
                await self._send(stream, End())
            while self._stream is not None:
                await self._changed.wait()
        # It has let go of us, and is still a process for a moment; one that does not end is ended.
        await trio.to_thread.run_sync(kill_all, self._directory, Role.NETWORK)

    async def _order(self, order: Order) -> None:
        """Have it carried out, if need be by the process that follows one that died. To order twice does no harm."""
        with trio.move_on_after(START_S):
            while not self._ends:
                if (stream := self._stream) is None:
                    await self._changed.wait()
                    continue
                number = await self._send(stream, order)
                while self._stream is stream and self._carried_out < number:
                    await self._changed.wait()
                if self._stream is stream:
                    return
        why = f": {self._problem}" if self._problem is not None else ""
        raise LabStateError(
            f"the fault network does not run{why}", hint=f"{self._directory.daemon_log} says what became of it."
        )

    async def _send(self, stream: trio.SocketStream, order: Order) -> int:
        async with self._sending:
            self._ordered += 1
            number = self._ordered
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # its listener notices, too
                await stream.send_all(msgspec.json.encode(order) + b"\n")
            return number

    async def _find(self) -> trio.SocketStream | None:
        try:
            stream = await trio.open_unix_socket(self._plan.network_socket)
        except (OSError, RuntimeError):
            return None
        if is_trusted(user_of_peer(stream.socket)):
            return stream
        await stream.aclose()
        return None

    async def _kill_strays(self) -> None:
        """One that a daemon began, and was killed before it could be reached, would take the ports, or stay."""
        if self._journal.past.sequence:  # else the lab is new
            await trio.to_thread.run_sync(kill_all, self._directory, Role.NETWORK)

    async def _spawn(self) -> trio.Process:
        """Start the process. Raises BootError if it does not carry connections in time."""
        process = await trio.lowlevel.open_process(
            [sys.executable, "-P", "-m", NETWORK_MODULE, str(self._directory.path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            cwd="/",
            start_new_session=True,
        )
        assert process.stdout is not None
        said = b""
        with trio.move_on_after(START_S):
            async with process.stdout as stdout:
                while not said.endswith(b"\n") and (data := await stdout.receive_some(CHUNK)):
                    said += data
        if said == b"ready\n":
            return process
        process.kill()
        await process.wait()
        raise BootError(
            f"the fault network did not start: {said.decode(errors='replace').strip() or 'it said nothing'}",
            hint=f"{self._directory.daemon_log} may say more.",
        )

    async def _listen(self, stream: trio.SocketStream, *, is_new: bool) -> None:
        """Take in what it says, until it ends."""
        self._stream, self._problem = stream, None
        self._ordered = self._carried_out = self._restored = 0
        rest = b""
        async with stream:
            if is_new and self.faults:
                self._restored = await self._send(stream, Restore(faults=self.faults))
            self._pulse()
            try:
                async for data in stream:
                    *lines, rest = (rest + data).split(b"\n")
                    for line in lines:
                        self._take_in(msgspec.json.decode(line, type=State))
            except trio.BrokenResourceError:
                pass
        self._stream = None
        self._pulse()

    def _take_in(self, state: State) -> None:
        if state.carried_out >= self._restored:
            self._tell(self.faults, state.faults)
            self.faults = state.faults
        self._carried_out = state.carried_out
        self._pulse()

    def _tell(self, before: Collection[LinkFault], now: Collection[LinkFault]) -> None:
        """Journal what has changed; what took another's place heals nothing."""
        places = {(active.link, type(active.fault)) for active in now}
        gone = [active for active in before if (active.link, type(active.fault)) not in places]
        for alike in _alike(gone):
            self._emit(EventKind.FAULT_HEALED, alike)
        for alike in _alike(active for active in now if active not in before):
            self._emit(EventKind.FAULT_INJECTED, alike)

    def _emit(self, kind: EventKind, alike: list[LinkFault]) -> None:
        fault, links = alike[0].fault, [active.link for active in alike]
        until_s = alike[0].until_s
        detail = {
            "text": f"{fault} {in_words(links)}",
            "links": msgspec.to_builtins(links),
            "fault": msgspec.to_builtins(fault),
            "since_s": alike[0].since_s,
        }
        if until_s is not None and kind is EventKind.FAULT_INJECTED:
            detail |= {"text": f"{detail['text']} for {until_s - alike[0].since_s:g} s", "until_s": until_s}
        self._journal.emit(kind, **detail)

    def _pulse(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def _alike(faults: Iterable[LinkFault]) -> list[list[LinkFault]]:
    """Those that one injection put on several links, together."""

    def injection(active: LinkFault) -> tuple[float, str]:
        return active.since_s, kind_of(active.fault)

    ordered = sorted(faults, key=lambda active: (injection(active), active.link))
    return [list(group) for _, group in itertools.groupby(ordered, injection)]
