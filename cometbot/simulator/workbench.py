"""The page's interface to the bot's process: its status, its output, and what happened to its messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class Workbench:
    """The process that runs the bots beside the simulator. This base class knows nothing about the bots.

    Called often and from any thread. All values are JSON values.
    """

    def status(self) -> Mapping[str, Any]:
        """Return the status of the bot's process.

        ``state`` is ``running``, ``failed`` (and no other process serves) or ``unknown``. ``bot`` is the location of
        the code, ``starts`` the number of starts, ``files`` the changed files. ``fault`` is the error for which the
        newest code does not run: ``text``, ``place`` (file and line), ``code`` (that line) and ``trace``; None if it
        runs. ``commands`` lists for each bot's uid its commands: ``name`` with the slash, ``usage``, ``description``.
        """
        return {"state": "unknown"}

    def output(self) -> Sequence[Mapping[str, Any]]:
        """Return the newest lines that the bot printed or logged, oldest first: ``id``, ``at``, ``level``, ``text``."""
        return ()

    def handled(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the state of the newest messages, by bot and message (``helpdesk/17``).

        The fields are ``state`` (``waiting``, ``running``, ``done``, ``dead``, ``discarded``), ``handler``, ``error``,
        ``seconds``, and ``event``: the bot's id of the message (``m12``), which the ``muid`` of its replies contains
        too.
        """
        return {}

    def dead_letters(self) -> Sequence[Mapping[str, Any]]:
        """Return the dead letters, newest first.

        The fields are those of :class:`cometbot.inspection.dead_letters.DeadLetter`.
        """
        return ()

    def dialogs(self) -> Sequence[Mapping[str, Any]]:
        """Return the dialogs that wait for an answer or a time, those that changed last first.

        The fields are those of :class:`cometbot.inspection.dialog_list.DialogInfo`.
        """
        return ()

    def expire(self, name: str) -> bool:
        """Let the time come that the dialog ``name`` waits for. Return False if it waits for none (any more)."""
        return False

    def jobs(self) -> Sequence[Mapping[str, Any]]:
        """Return the jobs that are still to come, the next first, and the newest broadcasts.

        The fields are those of :class:`cometbot.inspection.job_list.JobInfo`, or of
        :class:`cometbot.inspection.broadcast_list.BroadcastInfo`.
        """
        return ()

    def run_job(self, name: str) -> bool:
        """Run the job ``name`` now. Return False if there is none (any more)."""
        return False

    def retry(self, name: str) -> bool:
        """Retry the dead letter ``name``. Return False if there is none."""
        return False

    def discard(self, name: str) -> bool:
        """Discard the dead letter ``name``. Return False if there is none."""
        return False
