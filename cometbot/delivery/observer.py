"""What delivery tells of its work to whoever counts it."""

from __future__ import annotations


class Observer:
    """Hears of everything that happens, in the thread where it happens; does nothing by itself. Must not raise or
    block."""

    def received(self, bot: str, outcome: str) -> None:
        """A callback or its like came in: ``received``, ``duplicate``, ``ignored`` or ``refused``."""

    def handled(self, bot: str, seconds: float, outcome: str) -> None:
        """An event was worked on: ``done``, ``unhandled``, ``stopped``, ``retried``, ``failed`` or ``dead``."""

    def failed(self, bot: str, event: str, error: BaseException) -> None:
        """An event was given up because its handler raised ``error``, or because what it answered cannot be said."""

    def sent(self, bot: str, seconds: float, outcome: str) -> None:
        """A request to a platform ended: ``sent``, ``held``, ``unknown`` or ``dead``."""

    def storage_full(self) -> None:
        """A file was refused because all files together, or the disk, have no room for it."""

    def database_full(self) -> None:
        """A user's write was refused because the database, or its disk, has no room for it."""

    def recovered(self, bot: str) -> None:
        """A conversation was taken over from a process that died."""

    def store_failed(self, kind: str) -> None:
        """The database refused something that needs a repair; see :data:`cometbot.store.failures.KINDS`."""
