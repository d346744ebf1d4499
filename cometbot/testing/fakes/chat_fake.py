"""The base of the fakes whose users and messages are rows of the delivery's database."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from werkzeug.test import Client, TestResponse

from cometbot import private_files
from cometbot.bot import Bot
from cometbot.channels.base import Channel, OutgoingRequest
from cometbot.chat import Chat, ChatConversation, ChatMessage, Scope
from cometbot.chat.models import Page
from cometbot.delivery import Delivery
from cometbot.errors import BotError, NotFound, OutcomeUnknown, Rejected, Unreachable
from cometbot.testing.fakes.base import Fake, Fault
from cometbot.testing.replies import SentMessage
from cometbot.testing.wsgi import make_channel_app

ChannelType = TypeVar("ChannelType", bound=Channel)
Item = TypeVar("Item")

_PAGE_SIZE = 100
_ERRORS: dict[Fault, Exception] = {
    "failed": OutcomeUnknown("500", status=500),
    "failed_after_acting": OutcomeUnknown("500", status=500),
    "unreachable": Unreachable("the database is away"),
    "refused": Rejected("no", code="refused", status=403),
}


class FakeWeb:
    """The files that users have put into the web, by their URLs. See :class:`~cometbot.http.file_fetcher.Fetcher`."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def fetch(self, url: str, to: Path, *, limit: int, timeout: float) -> str:
        """Write the file at ``url`` to ``to`` and return the last part of the URL. Raises the errors of a fetcher."""
        content = self._files.get(url)
        if content is None:
            raise NotFound(f"GET {url}: the file's server answered 404", status=404)
        if len(content) > limit:
            raise Rejected(f"GET {url}: the file is larger than {limit} bytes, the limit", code="file_too_large")
        private_files.write_bytes(to, content)
        return url.rpartition("/")[2]

    def close(self) -> None:
        """Do nothing, since nothing is open."""


class FaultyChannel(Channel):
    """A mixin for channels: injects ``faults`` into their requests. A ``rate_limited`` one is not supported."""

    faults: list[Fault]

    def send(self, sending: OutgoingRequest, *, timeout: float) -> str:
        if not self.faults:
            return super().send(sending, timeout=timeout)  # type: ignore[safe-super]
        fault = self.faults.pop(0)
        if fault == "failed_after_acting":
            super().send(sending, timeout=timeout)  # type: ignore[safe-super]
        raise _ERRORS[fault]


class ChatFake(Fake, Generic[ChannelType]):
    """A real channel over the delivery's database, whose users send its requests without sockets.

    A subclass sets ``_channel`` in :meth:`use_database`.
    """

    def __init__(self, bot: Bot, scope: Scope) -> None:
        super().__init__(bot)
        self._scope = scope
        self._channel: ChannelType | None = None
        self._client: Client | None = None

    @property
    def channel(self) -> ChannelType:
        if self._channel is None:
            raise BotError(f"{type(self).__name__} has no database yet. Call use_database() first.")
        return self._channel

    @property
    @abstractmethod
    def chat(self) -> Chat:
        """The users, conversations and messages of the channel."""

    @abstractmethod
    def _to_sent_message(self, message: ChatMessage, conversation: ChatConversation) -> SentMessage | None:
        """Return a message of the bot as users see it, or None for a row that they do not see."""

    def attach(self, delivery: Delivery) -> None:
        self._client = Client(make_channel_app(self.channel, delivery), use_cookies=False)

    def said(self) -> list[SentMessage]:
        found: list[SentMessage | None] = []
        with self.chat.database.read() as connection:
            for conversation in _read_pages(partial(self.chat.conversations.list, connection, self._scope)):
                messages = _read_pages(
                    partial(self.chat.messages.list_newest, connection, self._scope, conversation.id)
                )
                found += [
                    self._to_sent_message(message, conversation) for message in reversed(messages) if message.is_bot
                ]
        return sorted((said for said in found if said is not None), key=lambda said: said.at)

    def _request(self, method: str, path: str, **options: Any) -> TestResponse:
        if self._client is None:
            raise BotError(f"{type(self).__name__} has no delivery yet. Call attach() first.")
        response = self._client.open(path, method=method, **options)
        assert response.status_code < 300, f"{method} {path}: expected success, got {response.status}: {response.text}"
        return response


def _read_pages(list_page: Callable[..., Page[Item]]) -> list[Item]:
    page = list_page(limit=_PAGE_SIZE)
    found = list(page.items)
    while page.next:
        page = list_page(cursor=page.next, limit=_PAGE_SIZE)
        found += page.items
    return found
