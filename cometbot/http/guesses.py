"""Slows down who guesses a secret."""

from __future__ import annotations

import time
from collections.abc import Callable

from cometbot.http.rates import Rates

OF_ADDRESS = 30
OF_ALL = 300
_MINUTE = 60.0
_ALL = ""


class Guesses:
    """Counts wrong keys, by address and of all addresses together; in this process alone.

    A key from an address without wrong keys is always compared, so that nobody is locked out by what others send. An
    address that sent 30 wrong keys within a minute has to wait before its next key is compared. While all addresses
    together sent 300, this holds for each address that sent any.
    """

    def __init__(
        self, of_address: int = OF_ADDRESS, of_all: int = OF_ALL, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._of_address = Rates(of_address, _MINUTE, clock=clock)
        self._of_all = Rates(of_all, _MINUTE, clock=clock)

    def wait(self, address: str) -> float:
        """Return the seconds until a key from ``address`` is compared, 0 if it is now."""
        own = self._of_address.peek(address)
        if own > 0 or not self._of_address.has_used(address):
            return own
        return self._of_all.peek(_ALL)

    def count_wrong(self, address: str) -> None:
        """Count a wrong key from ``address``."""
        self._of_address.wait(address)
        self._of_all.wait(_ALL)
