"""Whether members' handshakes are refused just now, by their logs: why a lab may not be whole."""

from typing import Final

import trio

RECENT_S: Final = 10.0
"""A member that is refused dials again several times a second."""
_MARK: Final = b'"rejected connection on peer endpoint"'
_OF_TLS: Final = (b"tls: ", b"x509: ", b"transport: ")


class Refusals:
    """Who was dialled by peers, and refused them or was refused, as members' logs tell. etcd 3.4 does not."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def on_line(self, name: str, line: bytes) -> None:
        """Take in a line of a member's log."""
        if _MARK in line and any(word in line for word in _OF_TLS):
            self._last[name] = trio.current_time()

    def problem(self) -> str:
        """What is wrong, or "". Whose certificates it is about takes reading them."""
        now = trio.current_time()
        names = sorted(name for name, last in self._last.items() if now - last <= RECENT_S)
        if not names:
            return ""
        return (
            f"handshakes of peers with {', '.join(names)} fail, within the last {RECENT_S:g} s: `etcdlab tls refusals` "
            "says whose certificates were refused, and why"
        )
