"""The people of the fake CLI as tests use them, whether it runs in this process or another one."""

from __future__ import annotations

import base64
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from cometbot.channels.simplex.protocol.objects import CliObject, find, find_object, is_object, read_object
from cometbot.testing.simplex.api_objects import JsonObject
from cometbot.testing.simplex.server import CliFault


def _read_author(whole: JsonObject) -> str:
    """Return the name of an item's author; empty for the bot's own items."""
    if find(whole, "chatItem.chatDir.type").endswith("Snd"):
        return ""
    author = find_object(whole, "chatItem.chatDir.groupMember") or find_object(whole, "chatInfo.contact")
    return str(author.get("localDisplayName", ""))


def _read_own_reactions(reactions: list[JsonObject]) -> tuple[str, ...]:
    return tuple(entry["reaction"]["emoji"] for entry in reactions if entry["userReacted"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Line(CliObject):
    """A message in a chat of the fake CLI in its current state. ``by`` is empty for the bot's own."""

    chat: Annotated[str, "ref"]
    item_id: Annotated[int, "chatItem.meta.itemId"]
    by: Annotated[str, _read_author, ""]
    text: Annotated[str, "chatItem.content.msgContent.text"] = ""
    content: Annotated[JsonObject, "chatItem.content.msgContent"] = field(repr=False)
    quote_id: Annotated[int | None, "chatItem.quotedItem.itemId"] = None
    file_path: Annotated[str, "chatItem.file.fileSource.filePath"] = ""
    is_live: Annotated[bool, "chatItem.meta.itemLive"] = False
    is_edited: Annotated[bool, "chatItem.meta.itemEdited"] = False
    is_deleted: Annotated[bool, is_object, "chatItem.meta.itemDeleted"] = False
    ttl: Annotated[int | None, "chatItem.meta.itemTimed.ttl"] = None
    mentions: Annotated[tuple[str, ...], tuple, "chatItem.mentions"] = ()
    reactions: Annotated[tuple[str, ...], _read_own_reactions, "chatItem.reactions"] = ()


class People(ABC):
    """The actions of people, the bot's messages as they see them, and the faults of the fake CLI."""

    @abstractmethod
    def do(self, name: str, /, **arguments: Any) -> Any:
        """Perform one of the fake CLI's actions by name and return its result."""

    def connect(self, name: str, *, is_bot: bool = False) -> Person:
        """Return a new person who is connected with the bot."""
        return Person(self, self.do("connect", name=name, is_bot=is_bot), name)

    def request(self, name: str) -> Person | int:
        """Have a new person follow the bot's address.

        Returns the person, or the id of the request that the bot must answer. By a business address the person has a
        group of their own.
        """
        found = str(self.do("request", name=name))
        return int(found) if found.isdigit() else Person(self, found, name)

    def publish(self, name: str, kind: Literal["address", "invitation", "group"] = "address") -> str:
        """Return a link by which the bot connects with a person, or joins a group, of this name."""
        return str(self.do("publish", name=name, kind=kind))

    def follow(self, link: str, name: str) -> Person | int:
        """Follow a link that the bot created, as a new person; return the person, or the id of a request.

        A one-time link is used up by this. By a group's link the person joins the group. Raises :class:`ValueError` for
        a link that is not the bot's.
        """
        found = str(self.do("follow", link=link, name=name))
        return int(found) if found.isdigit() else Person(self, found, name)

    def business(self, name: str) -> Person:
        """Return a new customer in a business chat of their own."""
        return Person(self, self.do("business", name=name), name)

    def add_group(
        self, name: str, members: Sequence[Person | str] = (), *, role: str = "admin", invited: bool = False
    ) -> FakeGroup:
        """Return a new group with the bot in it.

        The first member owns it. With ``invited`` the bot has to join first.
        """
        names = [member if isinstance(member, str) else member.name for member in members]
        return FakeGroup(self, self.do("add_group", name=name, members=names, role=role, invited=invited))

    def lines(self, chat: str = "") -> list[Line]:
        """Return all messages of a chat, or of all chats, in the order of their creation."""
        items = self.do("lines", chat=chat)
        return [read_object(Line, item) for item in items if "msgContent" in item["chatItem"]["content"]]

    def said(self, chat: str = "") -> list[Line]:
        """Return the bot's messages without deleted ones."""
        return [line for line in self.lines(chat) if not line.by and not line.is_deleted]

    def file_of(self, line: Line) -> bytes | None:
        """Return the content of the file of a bot's message, or None if it is not uploaded yet."""
        content = self.do("upload", file_id=find(line.raw, "chatItem.file.fileId"))
        return None if content is None else base64.b64decode(content)

    def texts(self, chat: str = "") -> list[str]:
        """Return the texts of the bot's messages."""
        return [line.text for line in self.said(chat)]

    def wait_for(self, is_so: Callable[[], object], timeout: float = 10.0) -> None:
        """Wait until ``is_so()`` is true.

        Raises :class:`AssertionError` with the bot's texts after ``timeout`` seconds.
        """
        ends_at = time.monotonic() + timeout
        while not is_so():
            if time.monotonic() > ends_at:
                raise AssertionError(f"it did not come about within {timeout:g} s; the bot said {self.texts()}")
            time.sleep(0.01)

    @property
    def commands(self) -> list[str]:
        """The received command strings in order."""
        return list(self.do("commands"))

    @property
    def clients(self) -> int:
        """The number of connected clients."""
        return int(self.do("clients"))

    def misbehave(self, *faults: CliFault, on: str = "") -> None:
        """Apply one fault to each of the next commands that begin with ``on``."""
        for fault in faults:
            self.do("misbehave", fault=fault, on=on)

    def drop(self) -> None:
        """Break all connections without a closing handshake."""
        self.do("drop")

    def emit(self, record: JsonObject) -> None:
        """Send any event to the bot."""
        self.do("emit", record=record)


@dataclass(frozen=True)
class _Chat:
    """A chat with the bot, as it is on the people's side."""

    people: People = field(repr=False)
    chat: str

    def edit(self, item_id: int, text: str, *, live: bool = False) -> None:
        """Edit a message of a person."""
        self.people.do("edit", chat=self.chat, item_id=item_id, text=text, live=live)

    def delete(self, item_id: int) -> None:
        """Delete a message of a person."""
        self.people.do("delete", chat=self.chat, item_id=item_id)

    def said(self) -> list[Line]:
        """Return the bot's messages in this chat."""
        return self.people.said(self.chat)

    def texts(self) -> list[str]:
        """Return the texts of the bot's messages in this chat."""
        return self.people.texts(self.chat)

    def _say(self, name: str, text: str, file: tuple[str, bytes] | None, **options: Any) -> int:
        file_name, content = file or ("", b"")
        sent_file = {"file_name": file_name, "file_content": base64.b64encode(content).decode()}
        return int(self.people.do("say", chat=self.chat, name=name, text=text, **sent_file, **options))

    def _react(self, name: str, item_id: int, emoji: str, added: bool) -> None:
        self.people.do("react", chat=self.chat, item_id=item_id, emoji=emoji, name=name, added=added)


@dataclass(frozen=True)
class Person(_Chat):
    """A person in a chat with the bot: a contact, or a customer in a business chat."""

    name: str

    @property
    def contact_id(self) -> int:
        """The id of the contact, or of the business chat's group."""
        return int(self.chat[1:])

    def say(
        self,
        text: str,
        *,
        quote_id: int | None = None,
        file: tuple[str, bytes] | None = None,
        content: JsonObject | None = None,
        foreign: bool = False,
        live: bool = False,
        ttl: int | None = None,
        silent: bool = False,
    ) -> int:
        """Write a message and return its id.

        ``file`` is its name and content. A ``foreign`` file is on servers that the CLI does not use. A ``silent``
        message is stored without an event for the bot.
        """
        options = {"quote_id": quote_id, "content": content, "live": live, "silent": silent}
        return self._say(self.name, text, file, foreign=foreign, ttl=ttl, **options)

    def react(self, item_id: int, emoji: str, *, added: bool = True) -> None:
        """Add a reaction to a message, or remove it."""
        self._react(self.name, item_id, emoji, added)

    def leave(self) -> None:
        """Remove the connection. A customer leaves the business chat."""
        if self.chat.startswith("@"):
            self.people.do("leave_contact", chat=self.chat)
        else:
            self.people.do("leave", chat=self.chat, name=self.name)


@dataclass(frozen=True)
class FakeGroup(_Chat):
    """A group that the bot is in, or is invited to."""

    @property
    def group_id(self) -> int:
        """The id of the group."""
        return int(self.chat[1:].partition("(")[0])

    def scope(self, member_id: int | None = None) -> FakeGroup:
        """Return the chat of one member (None: of the bot) with the moderators."""
        member = "" if member_id is None else f":{member_id}"
        return FakeGroup(self.people, f"#{self.group_id}(_support{member})")

    def say(
        self,
        who: Person | str,
        text: str,
        *,
        mention: bool = False,
        quote_id: int | None = None,
        file: tuple[str, bytes] | None = None,
        content: JsonObject | None = None,
        live: bool = False,
        silent: bool = False,
    ) -> int:
        """Write a message as a member and return its id. ``mention`` puts a mention of the bot before the text."""
        options = {"quote_id": quote_id, "content": content, "live": live, "silent": silent}
        return self._say(_name_of(who), text, file, mention=mention, **options)

    def react(self, who: Person | str, item_id: int, emoji: str, *, added: bool = True) -> None:
        """Add a reaction to a message, or remove it."""
        self._react(_name_of(who), item_id, emoji, added)

    def join(self, who: Person | str, *, role: str = "member", silently: bool = False) -> int:
        """Add a member and return its id. With ``silently`` the bot receives no event."""
        return int(self.people.do("join", chat=self.chat, name=_name_of(who), role=role, silently=silently))

    def leave(self, who: Person | str) -> None:
        """Have a member leave the group."""
        self.people.do("leave", chat=self.chat, name=_name_of(who))


def _name_of(who: Person | str) -> str:
    return who if isinstance(who, str) else who.name
