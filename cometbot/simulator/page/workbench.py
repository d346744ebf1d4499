"""What the page shows beside the simulated app: the bot that is being written, and what becomes of its messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Workbench(Protocol):
    """Whoever runs the bots beside the simulator. Called often, and from any thread; values are JSON values."""

    def status(self) -> Mapping[str, Any]:
        """What became of the bot's process.

        ``state`` is ``running``, ``failed`` (and no other process serves) or ``unknown``. ``bot`` is where the code
        is, ``starts`` how often it was started, ``files`` what had been changed. ``fault`` says why the newest code
        does not run: ``text``, ``place`` (file and line), ``code`` (that line) and ``trace``; None if it does.
        ``commands`` lists for each bot's uid its commands: ``name`` with the slash, ``usage``, ``description``.
        """
        ...

    def output(self) -> Sequence[Mapping[str, Any]]:
        """The newest lines that the bot printed and logged, oldest first: ``id``, ``at``, ``level``, ``text``."""
        ...

    def handled(self) -> Mapping[str, Mapping[str, Any]]:
        """What became of the newest messages, by bot and message (``helpdesk/17``): ``state`` (``waiting``,
        ``running``, ``done``, ``dead``, ``discarded``), ``handler``, ``error``, ``seconds``, and ``event``: what the
        bot knows it by (``m12``), which the ``muid`` of its answers names too."""
        ...

    def dead_letters(self) -> Sequence[Mapping[str, Any]]:
        """What failed for good, the newest first, as :class:`cometbot.delivery.dead_letters.DeadLetter` has it."""
        ...

    def retry(self, name: str) -> bool:
        """Whether ``name`` was a dead letter, which is being done again now."""
        ...

    def discard(self, name: str) -> bool:
        """Whether ``name`` was a dead letter; it is none any more."""
        ...


class NullWorkbench(Workbench):
    """A simulator by itself: nobody knows what the bots do."""

    def status(self) -> Mapping[str, Any]:
        return {"state": "unknown"}

    def output(self) -> Sequence[Mapping[str, Any]]:
        return ()

    def handled(self) -> Mapping[str, Mapping[str, Any]]:
        return {}

    def dead_letters(self) -> Sequence[Mapping[str, Any]]:
        return ()

    def retry(self, name: str) -> bool:
        return False

    def discard(self, name: str) -> bool:
        return False
