"""The requests of a thread: each is handled once, whatever the client repeats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from cometbot.channels.agui import parsing, rows
from cometbot.channels.agui.ids import end_id, make_conversation, make_digest, to_plain_id
from cometbot.channels.agui.run_input import RunInput
from cometbot.channels.base import DeliveryService, IncomingEvent
from cometbot.chat import Chat, ChatConversation, ChatMessage, Draft, Scope
from cometbot.errors import AlreadyExists
from cometbot.http.errors import HttpError
from cometbot.store.database import Transaction

REPEAT_INTERVAL = 60.0
"""Seconds after the answer to a request within which an equal one gets that answer, and runs no handler."""

KEPT_RUNS = 20
"""The newest requests of a thread whose answers are kept."""

_PAGE_SIZE = 100
_RUNS_FIELD = "runs"
_DELETED_FIELD = "deleted_before"
"""The time up to which the rows of a thread are deleted."""

JsonObject = dict[str, Any]


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


class Runs:
    """The requests of all threads, in the data of their conversations. See :class:`Run`."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    def begin(
        self, delivery: DeliveryService, scope: Scope, run_input: RunInput, user: str, raw: Mapping[str, Any]
    ) -> Run:
        """Store a request durably, to be handled, or return the equal one that was stored before.

        Raises :class:`HttpError` with 403 if the thread belongs to another user, :class:`StorageFull`, and
        :class:`StoreBusy`.
        """

        def work(connection: Transaction) -> Run:
            self._chat.quota.check(connection)
            stored = self._lock_thread(connection, scope, run_input.thread_id, user)
            found = self._leave_out_old_message(connection, stored, run_input)
            equal = self._find_equal(connection, stored, found)
            return equal or self._store(connection, delivery, stored, found, raw)

        return self._chat.commit(work)

    def find_handled_request(self, connection: Transaction, stored: ChatConversation) -> ChatMessage | None:
        """Return the row of the oldest request that has not ended, which is being handled; else of the newest."""
        newest = None
        for entry in _entries(stored):
            if not entry["has_row"]:
                continue
            row = self._chat.messages.find_by_client_id(connection, stored.scope, stored.id, entry["key"])
            if row is None:
                continue
            newest = row
            if self._find_end(connection, stored, entry["key"]) is None:
                break
        return newest

    def _lock_thread(self, connection: Transaction, scope: Scope, thread: str, user: str) -> ChatConversation:
        """Return the thread, which is created if it is new, and lock it until the end of the transaction."""
        conversations = self._chat.conversations
        if conversations.get(connection, scope, thread) is None:
            with suppress(AlreadyExists):  # another process was faster
                conversations.create(connection, scope, user, id=thread)
        stored = conversations.update(connection, scope, thread, {})
        assert stored is not None
        if stored.owner != user:
            raise HttpError(403, "ERR_FORBIDDEN", "The thread belongs to another user. Begin a new one.")
        return stored

    def _leave_out_old_message(
        self, connection: Transaction, stored: ChatConversation, run_input: RunInput
    ) -> RunInput:
        """Return a request without its last message if it cancels interrupts and the message was handled before them.

        That is so with clients that do not keep what the bot has asked.
        """
        if not run_input.cancels_first:
            return run_input
        base = run_input.event_key
        repeated = {"base": base, "cancels": run_input.resume_key}
        is_repeated = any(repeated.items() <= entry.items() for entry in _entries(stored))
        if is_repeated or not self._was_handled(connection, stored, _entries(stored), base):
            return run_input
        return replace(run_input, messages=run_input.messages[:-1])

    def _find_equal(self, connection: Transaction, stored: ChatConversation, run_input: RunInput) -> Run | None:
        """Return the equal request that is being handled, was answered a moment ago, or has the same run id."""
        base = run_input.event_key
        entry = next((entry for entry in reversed(_entries(stored)) if entry["base"] == base), None)
        if entry is None:
            return None
        end = self._find_end(connection, stored, entry["key"])
        now = self._chat.database.clock() * 1000
        if end is not None and entry["run"] != to_plain_id(run_input.run_id) and now - end.at > REPEAT_INTERVAL * 1000:
            return None
        return Run(stored, entry["key"], entry["after"], frozenset(entry["pending"]), is_new=False)

    def _store(
        self,
        connection: Transaction,
        delivery: DeliveryService,
        stored: ChatConversation,
        run_input: RunInput,
        raw: Mapping[str, Any],
    ) -> Run:
        base, entries = run_input.event_key, _entries(stored)
        number = max((entry["number"] for entry in entries), default=0) + 1
        key = f"{base}:{number}" if self._was_handled(connection, stored, entries, base) else base
        pending = self._find_pending(connection, stored, entries)
        self._remove_ended_requests(connection, stored, entries, pending)
        after = self._find_last_end(connection, stored)
        entry = {
            "base": base,
            "key": key,
            "run": to_plain_id(run_input.run_id),
            "after": after,
            "pending": pending,
            "number": number,
            "has_row": True,
            **({"cancels": run_input.resume_key} if run_input.cancels_first else {}),
        }
        payload = {"kind": rows.REQUEST, "messages": parsing.to_history_rows(run_input)}
        draft = Draft(stored.owner, payload, client_id=key, id=f"run_{make_digest(f'{stored.id}/{key}')}")
        self._chat.messages.post(connection, stored.scope, stored.id, draft)
        self._save_entries(connection, stored, [*entries, entry])
        conversation = make_conversation(stored.scope.bot, stored.id, stored.owner)
        if run_input.cancels_first:
            body = parsing.make_body(raw, stored.owner, "resume")
            delivery.enqueue_in(connection, IncomingEvent(conversation, run_input.resume_key, body, stored.owner))
        body = parsing.make_body(raw, stored.owner, run_input.kind)
        must_notify = delivery.enqueue_in(connection, IncomingEvent(conversation, key, body, stored.owner))
        return Run(stored, key, after, frozenset(pending), to_notify=str(conversation.key) if must_notify else "")

    def _find_pending(
        self, connection: Transaction, stored: ChatConversation, entries: Sequence[JsonObject]
    ) -> list[str]:
        """Return the keys of the requests that have not ended. The rows of the others may be deleted already."""
        keys = [entry["key"] for entry in entries if entry["has_row"]]
        return [key for key in keys if self._find_end(connection, stored, key) is None]

    def _save_entries(self, connection: Transaction, stored: ChatConversation, entries: list[JsonObject]) -> None:
        """Store the newest requests; what the bot said before them is deleted, since nobody can ask for it again."""
        kept = entries[-KEPT_RUNS:]
        data: JsonObject = {_RUNS_FIELD: kept}
        if len(entries) > KEPT_RUNS:
            before, after = kept[0]["after"], stored.data.get(_DELETED_FIELD, 0)
            for row in list_after(connection, self._chat, stored, after):
                if row.at > before:
                    break
                if row.payload.get("kind") != rows.END:  # these say which keys are used
                    self._chat.messages.delete(connection, stored.scope, row.id)
            data[_DELETED_FIELD] = before
        self._chat.conversations.update(connection, stored.scope, stored.id, data)

    def _was_handled(
        self, connection: Transaction, stored: ChatConversation, entries: Sequence[JsonObject], base: str
    ) -> bool:
        """Return True if an earlier request had this key."""
        is_kept = any(entry["base"] == base for entry in entries)
        return is_kept or self._find_end(connection, stored, base) is not None

    def _find_end(self, connection: Transaction, stored: ChatConversation, key: str) -> ChatMessage | None:
        return self._chat.messages.get(connection, stored.scope, end_id(stored.id, key))

    def _find_last_end(self, connection: Transaction, stored: ChatConversation) -> int:
        """Return the time of the newest end of a request; 0 if there is none.

        What a dead letter that is tried again says has no request: it opens the next answer.
        """
        cursor = ""
        while True:
            page = self._chat.messages.list_newest(connection, stored.scope, stored.id, cursor=cursor, limit=_PAGE_SIZE)
            for row in page.items:
                if row.payload.get("kind") == rows.END and not row.payload["generation"]:
                    return row.at
            if not page.next:
                return 0
            cursor = page.next

    def _remove_ended_requests(
        self, connection: Transaction, stored: ChatConversation, entries: Sequence[JsonObject], pending: Sequence[str]
    ) -> None:
        """Delete the messages of requests that have ended: the new one brings them again."""
        for entry in entries:
            if entry["has_row"] and entry["key"] not in pending:
                entry["has_row"] = False
                row = self._chat.messages.find_by_client_id(connection, stored.scope, stored.id, entry["key"])
                if row is not None:
                    self._chat.messages.delete(connection, stored.scope, row.id)


def list_after(connection: Transaction, chat: Chat, stored: ChatConversation, at: int) -> Iterator[ChatMessage]:
    """Yield the rows of a thread after a time, oldest first."""
    while True:
        page = chat.messages.list_after(connection, stored.scope, stored.id, at, _PAGE_SIZE)
        yield from page.items
        if not page.next:
            return
        at = page.items[-1].at


def _entries(stored: ChatConversation) -> list[JsonObject]:
    found = stored.data.get(_RUNS_FIELD)
    return list(found) if isinstance(found, list) else []
