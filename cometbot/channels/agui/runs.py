"""Requests become events: each is handled once, whatever the client repeats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cometbot.channels.agui import parsing
from cometbot.channels.agui.ids import make_conversation
from cometbot.channels.agui.run_input import RunInput
from cometbot.channels.agui.thread_runs import StoredRun, ThreadRuns
from cometbot.channels.base import DeliveryService, IncomingEvent
from cometbot.chat import Chat, ChatConversation, Scope
from cometbot.errors import AlreadyExists
from cometbot.http.errors import HttpError
from cometbot.models import Conversation
from cometbot.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Run:
    """A request that is handled, or was.

    ``key`` is that of its event. Its answer are the rows after the time ``after``, but none before the ends of the
    earlier requests in ``pending``, up to its own end. ``is_new`` is False for an equal request. ``to_notify`` is the
    conversation that the caller must notify of the event, empty if none.
    """

    conversation: ChatConversation
    key: str
    after: int
    pending: frozenset[str]
    is_new: bool = True
    to_notify: str = ""

    @classmethod
    def from_stored(cls, conversation: ChatConversation, run: StoredRun, *, is_new: bool, to_notify: str = "") -> Run:
        """Return the run for what its thread remembers of it."""
        return cls(conversation, run.key, run.after, frozenset(run.pending), is_new, to_notify)


def begin_run(
    chat: Chat, delivery: DeliveryService, scope: Scope, run_input: RunInput, user: str, raw: Mapping[str, Any]
) -> Run:
    """Store a request durably, to be handled, or return the equal one that was stored before.

    Raises :class:`HttpError` with 403 if the thread belongs to another user, :class:`StoreBusy`, and
    :class:`StorageFull` for a new request.
    """

    def work(connection: Transaction) -> Run:
        stored = _lock_thread(connection, chat, scope, run_input.thread_id, user)
        runs = ThreadRuns(connection, chat, stored)
        asked = runs.leave_out_old_message(run_input)
        equal = runs.find_equal(asked)
        if equal is not None:
            return Run.from_stored(stored, equal, is_new=False)
        chat.quota.check(connection)
        run = runs.add(asked)
        conversation = make_conversation(scope.bot, stored.id, user)
        must_notify = [delivery.enqueue_in(connection, event) for event in _make_events(conversation, run, asked, raw)]
        to_notify = str(conversation.key) if any(must_notify) else ""
        return Run.from_stored(stored, run, is_new=True, to_notify=to_notify)

    return chat.commit(work)


def _make_events(
    conversation: Conversation, run: StoredRun, run_input: RunInput, raw: Mapping[str, Any]
) -> Iterator[IncomingEvent]:
    """Yield the event of a request, and before it that which leaves an interrupt unanswered, if it does."""
    user = conversation.target
    if run.cancels:
        yield IncomingEvent(conversation, run.cancels, parsing.make_body(raw, user, "resume"), user)
    yield IncomingEvent(conversation, run.key, parsing.make_body(raw, user, run_input.kind), user)


def _lock_thread(connection: Transaction, chat: Chat, scope: Scope, thread: str, user: str) -> ChatConversation:
    """Return the thread, which is created if it is new, and lock it until the end of the transaction."""
    if chat.conversations.get(connection, scope, thread) is None:
        with suppress(AlreadyExists):  # another process was faster
            chat.conversations.create(connection, scope, user, id=thread)
    stored = chat.conversations.update(connection, scope, thread, {})
    assert stored is not None
    if stored.owner != user:
        raise HttpError(403, "ERR_FORBIDDEN", "The thread belongs to another user. Begin a new one.")
    return stored
