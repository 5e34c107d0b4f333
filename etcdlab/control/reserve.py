"""Descriptors kept back, so that clients are answered also when this process may open no more."""

import logging
import os
from typing import Final

logger = logging.getLogger(__name__)
SIZE: Final = 16
"""Clients that are served so, or refused, at a time."""
FOR_REFUSALS: Final = 8
"""Those of them that are refused. That can take 0.2 s: one at a time, forty silent clients made others wait for 6 s."""


class Reserve:
    """So many descriptors. `is_used` from when one had to be given up until there are others to be had."""

    def __init__(self) -> None:
        self._held: list[int] = []
        self.is_used = False
        self.fill()

    @property
    def is_low(self) -> bool:
        """Whether the rest is for refusals."""
        return len(self._held) < FOR_REFUSALS

    def give(self) -> bool:
        """Close one, for whoever opens the next. False when there is none."""
        if not self.is_used:
            self.is_used = True
            logger.warning("no more files can be opened: clients are served from a reserve of descriptors")
        if not self._held:
            return False
        os.close(self._held.pop())
        return True

    def fill(self) -> None:
        """Open what was given up, as far as possible."""
        try:
            while len(self._held) <= SIZE:
                self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            return
        os.close(self._held.pop())  # the one too many, which tells that there are others
        if self.is_used:
            self.is_used = False
            logger.warning("files can be opened again")

    def close(self) -> None:
        """Give up all."""
        while self._held:
            os.close(self._held.pop())
