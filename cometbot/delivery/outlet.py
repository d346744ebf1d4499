"""Where a running handler's words go: into the outbox first, then to the platform."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import Connection

from cometbot.context import Outlet
from cometbot.delivery.leases import Lease
from cometbot.delivery.mailbox import Mail
from cometbot.delivery.outbox import READY, SENDING, Draft, Note
from cometbot.delivery.sending import Attempt
from cometbot.errors import LeaseLost
from cometbot.events import MessageEvent
from cometbot.messages import Capabilities, Operation
from cometbot.models import Conversation

if TYPE_CHECKING:
    from cometbot.bot import Bot
    from cometbot.delivery.lane import Equipment

log = logging.getLogger(__name__)

AFTER_FAILURE = 1_000_000
"""The first ordinal of what is said because a handler failed."""


class LaneOutlet(Outlet):
    """What one event's handler says, does and remembers (see ``context.Outlet``).

    Ordinals are given in the order of the calls. An ordinal that an earlier run of the same event stored already
    keeps what it has: the new words are dropped, so that two answers never mix.
    """

    def __init__(self, equipment: Equipment, lease: Lease, mail: Mail) -> None:
        self._equipment = equipment
        self._store = equipment.store
        self._lease = lease
        self._mail = mail
        self._channel = equipment.channels[lease.conversation.channel]
        self._guard = threading.Lock()
        self._ordinal = 0
        self._notes: list[Note] = []
        self._ids: dict[int, str | None] = {}
        self._earlier: set[int] = set()
        self._blocked = False
        self._lost = False
        if mail.is_rerun:
            self._recall()

    def _recall(self) -> None:
        outbox, mail = self._store.outbox, self._mail
        for reply in self._equipment.look(lambda connection: outbox.of_event(connection, mail.event, mail.generation)):
            self._earlier.add(reply.ordinal)
            if reply.part == 0:
                self._ids[reply.ordinal] = reply.platform_id

    @property
    def capabilities(self) -> Capabilities:
        """What the channel can carry; without the process that sends there is nothing to show a growing text in."""
        known = self._channel.capabilities
        return known if self._channel.sends else replace(known, stream_interval=None)

    @property
    def client(self) -> Any:
        return self._channel.client(self._lease.conversation.bot)

    def begin(self, handler: str, timeout: float | None) -> None:
        if self._lost:
            raise LeaseLost
        self._equipment.running.begin(self._lease, self._mail, self, handler, timeout)

    def fail(self) -> None:
        with self._guard:
            self._ordinal = max(self._ordinal, AFTER_FAILURE)

    def conversation(self, bot: Bot, user: str, group: str) -> Conversation:
        return self._channel.conversation(bot, user=user, group=group)

    def load_state(self, scope: str, owner: str) -> dict[str, str]:
        if self._mail.remembered is not None and (scope, owner) == ("conversation", self._lease.lane):
            return dict(self._mail.remembered)
        return self._equipment.look(lambda connection: self._store.state.load(connection, scope, owner))

    def history(self, conversation: Conversation, limit: int) -> list[MessageEvent]:
        return self._channel.history(conversation, limit)

    def platform_id(self, ordinal: int) -> str | None:
        return self._ids.get(ordinal)

    def sketch(self, ordinal: int, text: str) -> None:
        message_id = self._ids.get(ordinal)
        if message_id and not self._lost and self._equipment.process.remaining() > 0:
            with suppress(Exception):
                self._channel.sketch(self._lease.conversation, message_id, text)

    def piece(self, stream_id: str, sequence: int, text: str | None) -> None:
        if not self._lost and self._equipment.process.remaining() > 0:
            with suppress(Exception):
                self._channel.piece(self._lease.conversation, stream_id, sequence, text)

    def post(self, operation: Operation) -> int:
        draft = self.draft(operation)
        if draft is None:
            return self._ordinal - 1
        attempts = self.commit([draft], [operation])
        if attempts:
            self.noted(self._equipment.sender.send_all(self._lease, attempts))
        return draft.ordinal

    def draft(self, operation: Operation) -> Draft | None:
        """The operation under the next ordinal, rendered; None if that ordinal is stored already."""
        with self._guard:
            ordinal, self._ordinal = self._ordinal, self._ordinal + 1
        if ordinal in self._earlier:
            return None
        parts = self._channel.render(operation)
        lane = str(operation.conversation.key)
        return Draft(self._mail.event, self._mail.generation, ordinal, lane, parts, operation.target)

    def commit(
        self,
        drafts: Sequence[Draft],
        operations: Iterable[Operation],
        more: Callable[[Connection, bool], None] = lambda connection, sends: None,
    ) -> list[Attempt]:
        """One durable commit of drafts, of what is known by now, and of ``more``, which is told whether there is
        something to be sent now; returns that, in order.

        It is repeated while the database does not take it and the lease holds. Raises :class:`LeaseLost`.
        """
        elsewhere = {str(operation.conversation.key): operation.conversation for operation in operations}
        elsewhere.pop(self._lease.lane, None)

        def work(connection: Connection) -> tuple[list[Attempt], int]:
            noted = self._enter(connection, elsewhere)
            attempts = self._add(connection, drafts)
            more(connection, bool(attempts))
            return attempts, noted

        attempts, noted = self._equipment.persist(work)
        with self._guard:
            del self._notes[:noted]
        for lane in elsewhere:
            self._equipment.wake(lane, to_send=True)
        return attempts

    def _enter(self, connection: Connection, elsewhere: Mapping[str, Conversation]) -> int:
        """How many notes of what became of replies are in the database now.

        This conversation and those that get something are locked in the same order everywhere, so that no two lanes
        wait for each other.
        """
        if self._lost:
            raise LeaseLost
        for lane in sorted([self._lease.lane, *elsewhere]):
            if lane == self._lease.lane:
                self._store.leases.check(connection, self._lease)
            else:
                self._store.leases.announce(connection, elsewhere[lane])
        notes = self.notes
        self._store.record(connection, self._lease, notes)
        return len(notes)

    def _add(self, connection: Connection, drafts: Sequence[Draft]) -> list[Attempt]:
        here = [draft for draft in drafts if draft.lane == self._lease.lane]
        self._store.outbox.add(connection, [draft for draft in drafts if draft.lane != self._lease.lane])
        if not here:
            return []
        is_free, is_probing = self._may_send(connection)
        stored = self._store.outbox.add(connection, here, SENDING if is_free else READY)
        return [Attempt(reply, probing=is_probing) for reply in stored] if is_free else []

    def _may_send(self, connection: Connection) -> tuple[bool, bool]:
        """Whether nothing stands before this conversation's next reply, and whether that tries out an ended pause."""
        if not self._channel.sends or self._blocked:
            return False, False
        if self._store.outbox.next(connection, self._lease.lane) is not None:
            return False, False
        wait = self._store.pauses.wait(connection, self._lease.conversation.key, self._equipment.sender.policy.timeout)
        return wait.seconds <= 0, wait.probing

    @property
    def is_untouched(self) -> bool:
        """Whether nothing is known that the next commit has to carry, or that stands against sending."""
        with self._guard:
            return self._channel.sends and not (self._notes or self._blocked or self._lost)

    def noted(self, notes: Iterable[Note]) -> None:
        """Keep what became of replies until the next commit carries it."""
        with self._guard:
            for note in notes:
                self._notes.append(note)
                self._blocked = self._blocked or not note.is_final
                if note.reply.part == 0:
                    self._ids[note.reply.ordinal] = note.platform_id

    @property
    def notes(self) -> list[Note]:
        """What became of replies and is not in the database yet."""
        with self._guard:
            return list(self._notes)

    def give_up(self) -> None:
        """Let nothing more be said: the conversation goes on without this handler."""
        self._lost = True
