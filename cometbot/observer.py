"""The interface through which delivery reports its work to metrics."""

from __future__ import annotations


class Observer:
    """Receives every event of delivery, in the thread where it happens; its methods do nothing by default.

    A subclass must not raise or block. ``app`` is the name of the app, where a process serves several of one platform.
    """

    def received(self, bot: str, outcome: str, *, app: str = "") -> None:
        """Record that a callback or a similar request was received.

        ``outcome``: ``received``, ``duplicate``, ``ignored`` or ``refused``.
        """

    def handled(self, bot: str, seconds: float, outcome: str, *, app: str = "") -> None:
        """Record that an event was processed.

        ``outcome``: ``done``, ``unhandled``, ``stopped``, ``retried``, ``failed`` (an error was raised, and the message
        is a dead letter) or ``dead`` (it was given up for its deadline, or because it ended its process too often).
        """

    def failed(self, bot: str, event: str, error: BaseException) -> None:
        """Record that an event was given up.

        Its body did not parse, its handler raised ``error``, or its reply could not be rendered.
        """

    def sent(self, bot: str, seconds: float, outcome: str, *, app: str = "") -> None:
        """Record that a request to a platform ended: ``sent``, ``held``, ``unknown`` or ``dead``."""

    def question_answered(self, bot: str, seconds: float) -> None:
        """Record that an answer came ``seconds`` after its question, or after the question was repeated."""

    def dialog_ended(self, bot: str, outcome: str) -> None:
        """Record that a dialog ended.

        ``outcome``: ``done``, ``cancelled``, ``timeout``, ``given_up``, ``replaced`` or ``refused`` (how its last
        question ended, if that was not by an answer), ``failed`` or ``restarted`` (its handler's code has changed).
        """

    def approval_ended(self, bot: str, outcome: str) -> None:
        """Record that an approval ended.

        ``outcome``: ``approved``, ``declined``, ``expired``, ``withdrawn``, or ``refused`` (the platform has refused
        its card).
        """

    def moderated(self, bot: str, seconds: float, outcome: str, *, app: str = "") -> None:
        """Record that a request of CometChat's moderation was answered after ``seconds``.

        ``outcome``: ``match`` or ``no_match`` (what the bot said of the message), ``late``, ``failed`` (its function
        raised an error or returned no decision), ``busy`` (all threads were taken) or ``refused``.
        """

    def model_called(self, bot: str, model: str, *, input: int, output: int, cached: int) -> None:
        """Record the tokens of a call of a model that a handler has reported, once the database has stored them.

        ``cached`` is the part of ``input`` that the provider had in its cache.
        """

    def alert_ended(self, kind: str, outcome: str) -> None:
        """Record that an alert about a problem of this ``kind`` was ``sent``, or that it ``failed``."""

    def broadcast(self, bot: str, outcome: str, count: int) -> None:
        """Record what became of ``count`` recipients of a broadcast.

        ``outcome``: ``queued`` (the outbox has the message), ``opted_out``, ``refused`` (no such conversation, or the
        message cannot be shown there) or ``dropped`` (by outgoing middleware).
        """

    def storage_full(self) -> None:
        """Record that a file was refused because the limit for all files, or the disk, has no room for it."""

    def database_full(self) -> None:
        """Record that a user's write was refused because the database, or its disk, has no room for it."""

    def recovered(self, bot: str) -> None:
        """Record that a conversation was taken over from a process that died."""

    def load_measured(self, running: int, waiting: int) -> None:
        """Record about every second how many conversations this process works on, and how many wait for a thread."""

    def store_failed(self, kind: str) -> None:
        """Record that the database refused something that needs a repair; see :data:`cometbot.store.failures.KINDS`."""
