"""Where a running handler's words go: into the outbox first, then to the platform."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import Connection

from cometbot.delivery.leases import Lease
from cometbot.delivery.mailbox import Mail
from cometbot.delivery.outbox import READY, SENDING, Draft, Note
from cometbot.delivery.sending import Attempt
from cometbot.errors import LeaseLost
from cometbot.events import MessageEvent
from cometbot.messages import Capabilities, Operation
from cometbot.models import Conversation

if TYPE_CHECKING:
    from cometbot.delivery.lane import Equipment

log = logging.getLogger(__name__)


class LaneOutlet:
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
        self.awaken: set[str] = set()
        if mail.is_rerun:
            self._recall()

    def _recall(self) -> None:
        with self._store.database.read() as connection:
            for reply in self._store.outbox.of_event(connection, self._mail.event, self._mail.generation):
                self._earlier.add(reply.ordinal)
                if reply.part == 0:
                    self._ids[reply.ordinal] = reply.platform_id

    @property
    def capabilities(self) -> Capabilities:
        return self._channel.capabilities

    @property
    def client(self) -> Any:
        return self._channel.client(self._lease.conversation.bot)

    def begin(self, handler: str, timeout: float | None) -> None:
        self._equipment.running.begin(self._lease, self._mail, self, handler, timeout)

    def load_state(self, scope: str, owner: str) -> dict[str, str]:
        with self._store.database.read() as connection:
            return self._store.state.load(connection, scope, owner)

    def history(self, conversation: Conversation, limit: int) -> list[MessageEvent]:
        return self._channel.history(conversation, limit)

    def platform_id(self, ordinal: int) -> str | None:
        return self._ids.get(ordinal)

    def sketch(self, ordinal: int, text: str) -> None:
        message_id = self._ids.get(ordinal)
        if message_id and not self._lost and self._equipment.process.remaining() > 0:
            with suppress(Exception):
                self._channel.sketch(self._lease.conversation, message_id, text)

    def post(self, operation: Operation) -> int:
        draft = self.draft(operation)
        if draft is None:
            return self._ordinal - 1
        with self._store.database.write() as connection:
            self.check(connection)
            attempts = self.store(connection, [draft], [operation])
        self.wake_others()
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

    def store(self, connection: Connection, drafts: Sequence[Draft], operations: Iterable[Operation]) -> list[Attempt]:
        """Store drafts in their conversations; returns those that may be sent now, in order."""
        here = [draft for draft in drafts if draft.lane == self._lease.lane]
        probing = False
        if here:
            free, probing = self._may_send(connection)
            stored = self._store.outbox.add(connection, here, SENDING if free else READY)
            attempts = [Attempt(reply, probing=probing) for reply in stored] if free else []
        else:
            attempts = []
        for operation in operations:
            if str(operation.conversation.key) != self._lease.lane:
                self._store.leases.announce(connection, operation.conversation)
                self.awaken.add(str(operation.conversation.key))
        self._store.outbox.add(connection, [draft for draft in drafts if draft.lane != self._lease.lane])
        return attempts

    def _may_send(self, connection: Connection) -> tuple[bool, bool]:
        """Whether nothing stands before this conversation's next reply, and whether that tries out an ended pause."""
        if self._blocked or self._store.outbox.next(connection, self._lease.lane) is not None:
            return False, False
        wait = self._store.pauses.wait(connection, self._lease.conversation.key, self._equipment.sender.policy.timeout)
        return wait.seconds <= 0, wait.probing

    def check(self, connection: Connection) -> None:
        """Note what is known by now, if the lease still holds. Raises :class:`LeaseLost`."""
        if self._lost:
            raise LeaseLost
        self._store.leases.check(connection, self._lease)
        self._store.record(connection, self._lease, self.take_notes())

    def noted(self, notes: Iterable[Note]) -> None:
        """Keep what became of replies until the next commit carries it."""
        with self._guard:
            for note in notes:
                self._notes.append(note)
                self._blocked = self._blocked or not note.is_final
                if note.reply.part == 0:
                    self._ids[note.reply.ordinal] = note.platform_id

    def take_notes(self) -> list[Note]:
        """What is not in the database yet, handed over."""
        with self._guard:
            notes, self._notes = self._notes, []
            return notes

    def give_up(self) -> None:
        """Let nothing more be said: the conversation goes on without this handler."""
        self._lost = True

    def wake_others(self) -> None:
        """Wake the other conversations that something was said in."""
        while self.awaken:
            self._equipment.wake(self.awaken.pop())
