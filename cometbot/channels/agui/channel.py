"""The AG-UI channel: what a bot says is stored in its thread, and read by the requests that are open there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cometbot.bot import Bot
from cometbot.channels.agui import parsing, rows
from cometbot.channels.agui.ids import (
    ACCOUNT,
    CHANNEL,
    TO_USER_PREFIX,
    end_id,
    make_conversation,
    scope_of,
    stream_message_id,
)
from cometbot.channels.agui.settings import AguiSettings
from cometbot.channels.agui.thread_runs import ThreadRuns, list_after
from cometbot.channels.base import FILE_TIMEOUT, Channel, DeliveryService, EventEnd, IncomingEvent, OutgoingRequest
from cometbot.chat import EVENT_CREATED, Chat, ChatConversation, Data, Draft
from cometbot.errors import BotError, MessageError, NotFound, StoreBusy, Unreachable
from cometbot.events import Event, MessageEvent
from cometbot.http.file_fetcher import Fetcher, FileFetcher, read_url
from cometbot.messages import Capabilities, ClientCall, Operation, Text
from cometbot.models import Attachment, Conversation
from cometbot.store.database import Transaction
from cometbot.text import replace_surrogates

TEXT_LIMIT = 4_000_000
"""UTF-8 bytes of one text: as many as a message may have. The protocol has no limit."""

CAPABILITIES = Capabilities(
    native=frozenset({Text, ClientCall}),
    text_limit=TEXT_LIMIT,
    history=True,
    look_up=True,
    stream_interval=0.05,
    deltas=True,
    groups=False,
    tool_calls=True,
)


class AguiChannel(Channel):
    """The threads of all bots of this server, in the tables of ``chat``.

    The client brings the whole conversation with each request, so only the last requests of a thread and what the bot
    has said since are stored. What a bot says while no request is open waits for the next one.

    ``observe`` is called for each request with the bot's name (empty if no bot was found) and ``received``,
    ``duplicate`` or ``refused``. ``on_database_full`` is called for each request that is refused because the database
    has no room. ``fetcher`` loads the files of users, which are anywhere in the web.
    """

    name = CHANNEL
    has_stored_conversations = True
    reports_ends = True
    capabilities = CAPABILITIES

    def __init__(
        self,
        chat: Chat,
        settings: AguiSettings,
        *,
        observe: Callable[[str, str], None] | None = None,
        on_database_full: Callable[[], None] = lambda: None,
        fetcher: FileFetcher | None = None,
    ) -> None:
        self._fetcher = fetcher or Fetcher(allow_private=settings.allow_private_files)
        self.chat = chat
        self.settings = settings
        self.observe = observe or (lambda bot, outcome: None)
        self.on_database_full = on_database_full

    @property
    def account(self) -> str:
        return ACCOUNT

    def conversation(self, bot: Bot, *, user: str = "", group: str = "") -> Conversation:
        """Return the newest thread of ``user`` with ``bot``. Raises :class:`BotError` for a group, or without a user.

        A user without a thread has a conversation that nothing can be sent to: only clients begin threads.
        """
        if group or not user:
            raise BotError("AG-UI has no groups: a conversation is the thread of a user")
        with self.chat.database.read() as connection:
            page = self.chat.conversations.list_owned(connection, scope_of(bot.name), user, limit=1)
        return make_conversation(bot.name, page.items[0].id if page.items else f"{TO_USER_PREFIX}{user}", user)

    def parse(self, incoming: IncomingEvent) -> Event:
        return parsing.parse(incoming)

    def render(self, operation: Operation) -> list[dict[str, Any]]:
        """Return the row that :meth:`send` stores. Raises :class:`MessageError` for what the protocol does not have."""
        if operation.kind != "send" or operation.message is None:
            raise MessageError(f"AG-UI does not support operations of kind {operation.kind}")
        row = rows.make_message_row(operation.message, operation.stream_id, operation.ending)
        return [row | {"answers": operation.reply_to} if operation.is_beside else row]

    def render_end(self, end: EventEnd) -> Mapping[str, Any]:
        return rows.make_end_row(end)

    def send(self, sending: OutgoingRequest, *, timeout: float) -> str:
        """Store a row like :meth:`Channel.send`. It happens in the database, so the outcome is never unknown.

        Raises :class:`Unreachable` if the database is busy, and :class:`NotFound` if the user has no thread.
        """
        try:
            # No fsync: the outbox still holds the reply. If a power cut undoes this commit, the reply is sent again.
            return self.chat.commit(lambda connection: self._store(connection, sending), durable=False, timeout=timeout)
        except StoreBusy as error:
            raise Unreachable(f"the database is busy: {error}") from None

    def find_sent(self, sending: OutgoingRequest, *, timeout: float) -> str | None:
        where = sending.conversation
        with self.chat.database.read() as connection:
            found = self.chat.messages.find_by_client_id(connection, scope_of(where.bot), where.id, sending.client_id)
        return found.id if found else None

    def stream_delta(self, conversation: Conversation, stream_id: str, sequence: int, text: str | None) -> None:
        data = {
            "stream": stream_id,
            "number": sequence,
            "text": None if text is None else replace_surrogates(text),
        }
        self.chat.feed.publish_ephemeral(scope_of(conversation.bot).topic(conversation.id), rows.DELTA, data)

    def show_tool_call(self, conversation: Conversation, call_id: str, name: str, arguments: Mapping[str, Any]) -> None:
        called = {"kind": rows.TOOL_CALLED, "id": call_id, "name": name, "arguments": dict(arguments)}
        self._publish(conversation, called)

    def show_tool_result(self, conversation: Conversation, call_id: str, content: str) -> None:
        self._publish(conversation, {"kind": rows.TOOL_RETURNED, "id": call_id, "content": content})

    def _publish(self, conversation: Conversation, data: Data) -> None:
        """Publish something that open requests show and no later one repeats. It may be longer than a notification."""
        scope = scope_of(conversation.bot)

        def add(connection: Transaction) -> None:
            self.chat.feed_table.add(connection, scope, conversation.id, EVENT_CREATED, data)

        self.chat.commit(add, durable=False)

    def history(self, conversation: Conversation, limit: int) -> list[MessageEvent]:
        """Return the messages of the request that is being handled, else of the last one, and what was said since."""
        scope = scope_of(conversation.bot)
        with self.chat.database.read() as connection:
            stored = self.chat.conversations.get(connection, scope, conversation.id)
            if stored is None:
                return []
            request = ThreadRuns(connection, self.chat, stored).find_handled_request()
            if request is None:
                return []
            since = list(list_after(connection, self.chat, stored, request.at))
        sent = parsing.to_history(request.payload["messages"], request.client_id, conversation, request.at / 1000)
        said = [parsing.to_text_event(row, conversation) for row in since if row.payload.get("kind") == rows.TEXT]
        return [*sent, *said][-max(limit, 1) :]

    def read_file(self, file: Attachment, client: Any, *, limit: int, timeout: float = FILE_TIMEOUT) -> bytes:
        return read_url(self._fetcher, file.url, limit=limit, timeout=timeout)

    def refresh(self) -> None:
        """Delete expired data."""
        self.chat.clean_up()

    def attach(self, delivery: DeliveryService) -> None:
        """Store nothing: the views have the delivery."""

    def close(self) -> None:
        self._fetcher.close()
        self.chat.close()

    def _store(self, connection: Transaction, sending: OutgoingRequest) -> str:
        """Store a row of the bot, and return its id. In a thread that was deleted, nothing is stored."""
        where, payload = sending.conversation, sending.payload
        stored = self.chat.conversations.get(connection, scope_of(where.bot), where.id)
        if stored is None:
            if where.id.startswith(TO_USER_PREFIX):
                raise NotFound(f"{where.target} has no thread with {where.bot}; only clients of AG-UI begin one")
            return sending.client_id
        draft = Draft(
            where.bot,
            payload,
            is_bot=True,
            client_id=sending.client_id,
            id=self._choose_id(connection, stored, payload),
        )
        return self.chat.messages.post(connection, stored.scope, stored.id, draft).message.id

    def _choose_id(self, connection: Transaction, stored: ChatConversation, payload: Mapping[str, Any]) -> str:
        """Return the id under which others look for a row; empty if there is none, or another row has it already."""
        wanted = ""
        if payload["kind"] == rows.END and not payload["generation"]:
            wanted = end_id(stored.id, payload["event"])
        elif "stream" in payload:
            wanted = stream_message_id(payload["stream"])
        is_free = wanted and self.chat.messages.get(connection, stored.scope, wanted) is None
        return wanted if is_free else ""
