"""The requests of one thread: those that are remembered, with the rows of their messages and answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from cometbot.channels.agui import parsing, rows
from cometbot.channels.agui.ids import end_id, make_digest, to_plain_id
from cometbot.channels.agui.run_input import RunInput
from cometbot.chat import Chat, ChatConversation, ChatMessage, Data, Draft
from cometbot.store.database import Transaction

REPEAT_INTERVAL = 60.0
"""Seconds after the answer to a request within which an equal one gets that answer, and runs no handler."""

KEPT_RUNS = 20
"""The newest requests of a thread whose answers are kept."""

_PAGE_SIZE = 100
_RUNS_FIELD = "runs"
_DELETED_FIELD = "deleted_before"
"""The time up to which the rows of a thread are deleted."""


@dataclass(slots=True)
class StoredRun:
    """A request as its thread remembers it, in the data of the conversation.

    ``request`` is the same for equal requests. ``key`` is that of the event: ``request``, with a number behind it if an
    event of that key has been handled before. ``run_id`` is the client's. ``after`` and ``pending`` are those of
    :class:`~cometbot.channels.agui.runs.Run`. ``number`` counts the requests of the thread. With ``has_row``, the
    messages that the client has sent are still stored. ``cancels`` is the key of the event by which it leaves an
    interrupt unanswered first, empty if it does not.
    """

    request: str
    key: str
    run_id: str
    after: int
    pending: list[str]
    number: int
    has_row: bool = True
    cancels: str = ""


class ThreadRuns:
    """The requests of the thread ``stored``, in one transaction. Those who change it lock the thread before."""

    def __init__(self, connection: Transaction, chat: Chat, stored: ChatConversation) -> None:
        self._connection = connection
        self._chat = chat
        self._stored = stored
        self._runs = [StoredRun(**item) for item in stored.data.get(_RUNS_FIELD, ())]

    def leave_out_old_message(self, run_input: RunInput) -> RunInput:
        """Return a request without its last message if it cancels interrupts and the message was handled before them.

        That is so with clients that do not keep what the bot has asked.
        """
        if not run_input.cancels_first:
            return run_input
        key = run_input.event_key
        is_repeated = any((run.request, run.cancels) == (key, run_input.resume_key) for run in self._runs)
        if is_repeated or not self._was_handled(key):
            return run_input
        return replace(run_input, messages=run_input.messages[:-1])

    def find_equal(self, run_input: RunInput) -> StoredRun | None:
        """Return the equal request that is being handled, was answered a moment ago, or has the same run id."""
        key = run_input.event_key
        found = next((run for run in reversed(self._runs) if run.request == key), None)
        if found is None or found.run_id == to_plain_id(run_input.run_id):
            return found
        end = self._find_end(found.key)
        is_recent = end is None or self._chat.database.clock() * 1000 - end.at <= REPEAT_INTERVAL * 1000
        return found if is_recent else None

    def add(self, run_input: RunInput) -> StoredRun:
        """Store a new request with its messages, and return it. Delete what is not needed any more."""
        request, pending = run_input.event_key, self._find_pending()
        number = max((run.number for run in self._runs), default=0) + 1
        run = StoredRun(
            request=request,
            key=f"{request}:{number}" if self._was_handled(request) else request,
            run_id=to_plain_id(run_input.run_id),
            after=self._find_last_end(),
            pending=pending,
            number=number,
            cancels=run_input.resume_key if run_input.cancels_first else "",
        )
        self._delete_ended_requests(pending)
        payload = {"kind": rows.REQUEST, "messages": parsing.to_history_rows(run_input)}
        row_id = f"run_{make_digest(f'{self._stored.id}/{run.key}')}"
        draft = Draft(self._stored.owner, payload, client_id=run.key, id=row_id)
        self._chat.messages.post(self._connection, self._stored.scope, self._stored.id, draft)
        self._save([*self._runs, run])
        return run

    def find_handled_request(self) -> ChatMessage | None:
        """Return the row of the oldest request that has not ended, which is being handled; else of the newest."""
        newest = None
        for run in self._runs:
            row = self._find_request(run)
            if row is not None and self._find_end(run.key) is None:
                return row
            newest = row or newest
        return newest

    def _was_handled(self, request: str) -> bool:
        """Return True if an earlier request had this key."""
        return any(run.request == request for run in self._runs) or self._find_end(request) is not None

    def _find_pending(self) -> list[str]:
        """Return the keys of the requests that have not ended. Those without a row have."""
        return [run.key for run in self._runs if run.has_row and self._find_end(run.key) is None]

    def _find_request(self, run: StoredRun) -> ChatMessage | None:
        if not run.has_row:
            return None
        return self._chat.messages.find_by_client_id(self._connection, self._stored.scope, self._stored.id, run.key)

    def _find_end(self, key: str) -> ChatMessage | None:
        return self._chat.messages.get(self._connection, self._stored.scope, end_id(self._stored.id, key))

    def _find_last_end(self) -> int:
        """Return the time of the newest end of a request; 0 if there is none.

        What a dead letter that is tried again says has no request: it opens the next answer.
        """
        cursor = ""
        while True:
            page = self._chat.messages.list_newest(
                self._connection, self._stored.scope, self._stored.id, cursor=cursor, limit=_PAGE_SIZE
            )
            for row in page.items:
                if row.payload.get("kind") == rows.END and not row.payload["generation"]:
                    return row.at
            if not page.next:
                return 0
            cursor = page.next

    def _delete_ended_requests(self, pending: Sequence[str]) -> None:
        """Delete the messages of requests that have ended: the new one brings them again."""
        for run in self._runs:
            row = self._find_request(run) if run.key not in pending else None
            if row is not None:
                self._delete(row)
            run.has_row = run.has_row and run.key in pending

    def _save(self, runs: Sequence[StoredRun]) -> None:
        """Store the newest requests; what the bot said before them is deleted, since nobody can ask for it again."""
        kept = runs[-KEPT_RUNS:]
        data: Data = {_RUNS_FIELD: [asdict(run) for run in kept]}
        if len(runs) > KEPT_RUNS:
            before = kept[0].after
            self._delete_rows(self._stored.data.get(_DELETED_FIELD, 0), before)
            data = {**data, _DELETED_FIELD: before}
        self._chat.conversations.update(self._connection, self._stored.scope, self._stored.id, data)

    def _delete_rows(self, after: int, before: int) -> None:
        """Delete the rows between two times, but no ends: they say which keys are used."""
        for row in list_after(self._connection, self._chat, self._stored, after):
            if row.at > before:
                return
            if row.payload.get("kind") != rows.END:
                self._delete(row)

    def _delete(self, row: ChatMessage) -> None:
        self._chat.messages.delete(self._connection, self._stored.scope, row.id)


def list_after(connection: Transaction, chat: Chat, stored: ChatConversation, at: int) -> Iterator[ChatMessage]:
    """Yield the rows of a thread after a time, oldest first."""
    while True:
        page = chat.messages.list_after(connection, stored.scope, stored.id, at, _PAGE_SIZE)
        yield from page.items
        if not page.next:
            return
        at = page.items[-1].at
