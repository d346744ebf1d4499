"""A second run of each handler that waits, which must take the path of the first."""

from __future__ import annotations

from typing import Any

from cometbot.bot import Bot
from cometbot.channels.base import Channel
from cometbot.delivery import Delivery
from cometbot.delivery.dry_run import DryRunSink
from cometbot.delivery.stored_dialogs import make_stored_dialog
from cometbot.dispatch import ErrorClasses, dispatch
from cometbot.errors import BotError
from cometbot.models import Conversation, User
from cometbot.sinks import Trigger
from cometbot.steps import OPEN, TURN, DialogEvent, DialogId, StoredDialog
from cometbot.store.dialogs import INTERNAL_PREFIX, DialogRow


class PathChecks:
    """Runs each suspended handler of ``delivery`` once more, up to the step that it waits at.

    The second run gets the stored results; it stores and says nothing. Errors in ``reraise`` go through.
    """

    def __init__(self, delivery: Delivery, reraise: ErrorClasses) -> None:
        self._delivery = delivery
        self._reraise = reraise
        self._checked: set[tuple[DialogId, str, int]] = set()

    def check_new(self) -> None:
        """Check the runs that were suspended since the last call.

        Raises :class:`BotError`, which names the step, for a handler that takes another path.
        """
        with self._delivery.database.read() as connection:
            rows = self._delivery.store.dialogs.list(connection)
        for row in rows:
            run = (row.id, row.waiting.asked_by, row.waiting.step)
            if row.status == OPEN and run not in self._checked:
                self._checked.add(run)
                self._check(row)

    def _check(self, row: DialogRow) -> None:
        store = self._delivery.store
        with store.database.read() as connection:
            conversation = store.leases.find(connection, row.conversation_key)
            opening = store.mailbox.get(connection, int(row.id.event[1:]))
            steps = store.dialogs.load_steps(connection, row.id)
        bot = self._delivery.bots.get(conversation.bot) if conversation is not None else None
        if conversation is None or opening is None or bot is None:
            return
        channel = self._delivery.handled_channels.of(conversation)
        stored = make_stored_dialog(channel, conversation, row, steps, opening)
        sink = _SecondRunSink(self._delivery, channel, bot, stored)
        sink.conversation_of_run = conversation
        outcome = dispatch(bot, _make_event(row, conversation), sink, reraise=self._reraise)
        change = outcome.dialog
        is_same = change is not None and change.waiting is not None and change.waiting.step == row.waiting.step
        if outcome.error is not None or not (is_same or outcome.stopped_by):
            end = f"it raised {outcome.error!r}" if outcome.error is not None else "it did not wait there"
            step = f"step {row.waiting.step + 1}, ctx.{row.waiting.kind}"
            raise BotError(
                f"{row.handler} waits at {step}, and a second run with the same answers took another path: {end}"
            ) from outcome.error


class _SecondRunSink(DryRunSink):
    def __init__(self, delivery: Delivery, channel: Channel, bot: Bot, stored: StoredDialog) -> None:
        super().__init__(delivery, channel, bot)
        self._real_client = channel.client(bot.name)
        self._stored = stored

    @property
    def client(self) -> Any:
        return self._real_client

    @property
    def trigger(self) -> Trigger:
        waiting, now = self._stored.waiting, self._delivery.database.clock()
        asked_by = DialogId.parse(waiting.asked_by)
        assert asked_by is not None
        return Trigger(asked_by.event, asked_by.generation, int(asked_by.event[1:]), now, now)

    def load_dialog(self, dialog: DialogId) -> StoredDialog | None:
        return self._stored


def _make_event(row: DialogRow, conversation: Conversation) -> DialogEvent:
    """Return an event that continues a dialog without an answer."""
    return DialogEvent(
        key=f"{INTERNAL_PREFIX}{TURN}:{row.id}.{row.waiting.step}",
        conversation=conversation,
        sender=User(""),
        dialog=row.id,
        step=row.waiting.step,
        result={"ended": TURN},
    )
