"""An interpreter for a daemon, started before it is known which lab it will be for.

`up` starts two interpreters, its own and the daemon's, and either imports for longer than etcd boots. On two cores they
overlap, the more the earlier the second one starts: before this process imports the command line, 45 ms of every `up`
are saved. So this module needs little itself, and not even `typing`, which takes 9 ms.
"""

from __future__ import annotations

import socket
import subprocess
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class Interpreter:
    """A daemon without a lab: it imports what it needs, then waits to be told. Leave the context and it is gone,
    unless somebody took it.
    """

    def __init__(self) -> None:
        channel, its_end = socket.socketpair()
        with its_end:
            process = subprocess.Popen(
                # Without -P it would import from its directory too, where a container may have somebody's project.
                [sys.executable, "-P", "-m", "etcdlab.daemon"],
                stdin=its_end.fileno(),
                stdout=subprocess.PIPE,
                cwd="/",
                start_new_session=True,
            )
        self._spare: tuple[subprocess.Popen[bytes], socket.socket] | None = (process, channel)

    def tell(self, word: bytes) -> None:
        """Send it something that it is to know before anybody takes it. Raises BrokenPipeError if it died."""
        assert self._spare is not None
        self._spare[1].sendall(word)

    def take(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        """The process and this end of its standard input, a socket; from now on they are the caller's to end."""
        assert self._spare is not None
        spare, self._spare = self._spare, None
        return spare

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._spare is not None:
            process, channel = self.take()
            with process, channel:
                process.kill()  # it has nothing yet that could be lost
