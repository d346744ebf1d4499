"""The client that a bot's author tests a bot with."""

from __future__ import annotations

import copy
import importlib
import mimetypes
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from cometbot.bot import Bot
from cometbot.channels.base import Capabilities, Channel
from cometbot.delivery import DeadLetter
from cometbot.errors import BotError, ConfigurationError
from cometbot.events import Event
from cometbot.models import Attachment, Conversation, Group, User
from cometbot.quick_replies import QUICK_REPLIES_KEY
from cometbot.testing.double import Double, Seat
from cometbot.testing.fake_double import FakeDouble
from cometbot.testing.forms import OpenOffers, fill_form
from cometbot.testing.harness import BotHarness, StoredState
from cometbot.testing.replies import Replies, Said

ChannelName = Literal["fake", "cometchat", "chat_api", "platform", "simplex"]

_DOUBLE_CLASSES: dict[str, tuple[str, str, str]] = {
    "cometchat": ("cometbot.testing.cometchat", "CometChatDouble", ""),
    "chat_api": ("cometbot.testing.chat_api", "ChatApiDouble", "chat"),
    "platform": ("cometbot.testing.platform", "PlatformDouble", "chat"),
    "simplex": ("cometbot.testing.simplex.double", "SimplexDouble", "simplex"),
}
"""Module, class and extra of each channel's double, imported when a test asks for it."""


class BotClient:
    """A user who talks to ``bot``, and sees what it answers.

    ::

        client = BotClient(bot)
        assert client.send("hi").text == "Hello!"

    Behind it stands what runs in production, over a database in memory and without threads, sockets or waiting: when a
    call returns, all that it caused is done. Each returns what the bot said in this user's conversation because of
    it. Time stands still, from ``now`` (Unix seconds) on, until :meth:`advance`.

    The platform is a fake one that shows everything, or what ``capabilities`` say (``TEXT_ONLY``). ``channel`` names
    another: ``"cometchat"`` uses CometChat's payloads and a simulated CometChat, ``"simplex"`` a fake SimpleX CLI,
    ``"chat_api"`` and ``"platform"`` the real servers in memory; a function that makes a :class:`Double` for a bot
    brings any other.

    In a ``group`` the user is a member from the first thing that he does there. :meth:`join` tells the bot that he
    came; it comes before anything else, or after :meth:`leave`. The bot is in every group and never hears its own
    joining.

    What a handler raises is raised here. With ``raise_errors=False`` the bot apologises as in production, and
    :attr:`dead_letters` has the cause.
    """

    def __init__(
        self,
        bot: Bot,
        *,
        user: str | User = "maria",
        group: str = "",
        channel: ChannelName | Callable[[Bot], Double] = "fake",
        capabilities: Capabilities | None = None,
        raise_errors: bool = True,
        now: float | None = None,
    ) -> None:
        self._harness = BotHarness(bot, _double_factory(channel, capabilities), now=now, raise_errors=raise_errors)
        self._seat = Seat(_to_user(user), group)
        self._last_id = ""

    def __repr__(self) -> str:
        place = f" in {self._seat.group}" if self._seat.group else ""
        return f"<BotClient {self._seat.user.uid}{place} with {self._harness.bot.name}>"

    def __enter__(self) -> BotClient:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back the database and what else is held; happens by itself when nobody has the client any more."""
        self._harness.close()

    @property
    def bot(self) -> Bot:
        """The bot that is talked to."""
        return self._harness.bot

    @property
    def channel(self) -> Channel:
        """The bot's channel; on the fake platform a :class:`FakeChannel`, with its ``requests`` and ``errors``."""
        return self._harness.double.channel

    @property
    def double(self) -> Double:
        """The platform."""
        return self._harness.double

    @property
    def user(self) -> User:
        """Who talks."""
        return self._seat.user

    @property
    def conversation(self) -> Conversation:
        """Where this user's words are said: with the bot alone, or in the group."""
        return self.double.conversation(self._seat)

    @property
    def message_id(self) -> str:
        """The platform's id of what this user wrote last. Raises :class:`BotError` before anything was written."""
        if not self._last_id:
            raise BotError(f"{self.user.uid} has written nothing yet; send() something first")
        return self._last_id

    @property
    def state(self) -> StoredState:
        """What the bot remembers about this conversation (``ctx.state``), to read and to set."""
        return StoredState(self._harness, "conversation", str(self.conversation.key))

    @property
    def user_state(self) -> StoredState:
        """What the bot remembers about this user (``ctx.user_state``), to read and to set."""
        key, person = self.conversation.key, self.double.lasting_id(self.user, self._seat.group)
        return StoredState(self._harness, "user", f"{key.channel}/{key.account}/{key.bot}/{person}")

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """What failed for good, the newest first."""
        return self._harness.delivery.dead_letters.list()

    def as_user(self, user: str | User, *, group: str = "") -> BotClient:
        """Another user of the same platform, alone with the bot or in ``group``."""
        other = copy.copy(self)
        other._seat = Seat(_to_user(user), group)
        other._last_id = ""
        return other

    def in_group(self, group: str) -> BotClient:
        """The same user in a group."""
        return self.as_user(self.user, group=group)

    def send(
        self,
        text: str,
        *,
        user: str | User | None = None,
        group: str | None = None,
        thread: str = "",
        quote: str = "",
        mention: bool = False,
    ) -> Replies:
        """What the bot answers to a text.

        ``user`` and ``group`` stand in for the client's own this once. ``thread`` is the id of the message that the
        thread hangs on, ``quote`` of the one that is quoted; ``mention`` speaks to the bot by name.
        """
        if user is not None or group is not None:
            other = self.as_user(
                self.user if user is None else user, group=self._seat.group if group is None else group
            )
            return other.send(text, thread=thread, quote=quote, mention=mention)
        return self._send(text, thread_id=thread, quote_id=quote, mention=mention)

    def send_image(self, image: str | Path | bytes, *, caption: str = "", name: str = "", thread: str = "") -> Replies:
        """What the bot answers to a picture: a URL, a file or its name, or bytes."""
        return self.send_file(
            image, caption=caption, name=name or ("photo.png" if isinstance(image, bytes) else ""), thread=thread
        )

    def send_file(self, file: str | Path | bytes, *, caption: str = "", name: str = "", thread: str = "") -> Replies:
        """What the bot answers to a file: a URL, a file or its name, or bytes; the name tells its kind."""
        return self._send(caption, thread_id=thread, attachments=[self._attachment(file, name)])

    def press(self, button: str | int) -> Replies:
        """What the bot answers when the user presses a button, named by its label or number, or takes a choice.

        Newer messages come first. Where the platform shows buttons as text, the user writes the label or number. Raises
        :class:`BotError`, with what is on offer, if that is not.
        """
        said, offer = OpenOffers(self._sent_here(), self._stored_offers()).find(button)
        if said is None:
            return self._send(str(button))
        return self._act(partial(self.double.press, self._seat, said, offer))

    def choose(self, choice: str | int) -> Replies:
        """As :meth:`press`, said of choices."""
        return self.press(choice)

    def fill(self, values: Mapping[str, str | Sequence[str]] | None = None, /, **named: str | Sequence[str]) -> Replies:
        """What the bot answers when the user fills in the newest form; fields by name, several values as a list.

        Fields with a default may be left out. Raises :class:`BotError` for fields that are missing or unknown, and
        for values that are no option.
        """
        said, answers = fill_form({**(values or {}), **named}, self._sent_here(), self._stored_offers())
        if said is None:
            return self._send("\n".join(f"{name}: {value}" for name, value in answers.items()))
        return self._act(partial(self.double.submit, self._seat, said, answers))

    def edit(self, text: str) -> Replies:
        """What the bot answers when the user changes what he wrote last."""
        return self._act(partial(self.double.edit, self._seat, self.message_id, text))

    def delete(self) -> Replies:
        """What the bot answers when the user takes back what he wrote last."""
        return self._act(partial(self.double.delete, self._seat, self.message_id))

    def react(self, reaction: str, *, to: Said | None = None, added: bool = True) -> Replies:
        """What the bot answers to a reaction on ``to``, by default on what it said last here."""
        said = self.said()
        if to is None and not said:
            raise BotError("the bot has said nothing here that one could react to")
        return self._act(partial(self.double.react, self._seat, (to or said[-1]).id, reaction, added=added))

    def join(self, group: str = "") -> Replies:
        """What the bot says in ``group`` (or the client's own) when the user joins it."""
        return self._change_membership(group, self.double.join)

    def leave(self, group: str = "") -> Replies:
        """What the bot says in ``group`` (or the client's own) when the user leaves it."""
        return self._change_membership(group, self.double.leave)

    def event(self, event: Event | type[Event], **fields: Any) -> Replies:
        """What the bot answers to any event, given whole or as its class and the fields that are its own.

        ::

            client.event(ContactEvent, action="request")
        """
        if isinstance(event, type):
            common = {"conversation": self.conversation, "sender": self.user, "sent_at": self._harness.database.now}
            group = Group(self._seat.group) if self._seat.group else None
            event = event(**{"key": f"test:{next(self._harness.numbers)}", **common, "group": group, **fields})
        return self._act(partial(self.double.take, event))

    def advance(self, seconds: float) -> Replies:
        """What the bot says here while time passes, such as what retried handlers and held replies say."""
        return self._act(lambda: None, seconds)

    def said(self, *, user: str = "", group: str = "") -> Replies:
        """All that the bot has said and not taken back in this conversation, with ``user``, or in ``group``."""
        self._harness.run_until_idle()
        if user or group:
            return self.as_user(user or self.user, group=group).said()
        return Replies(self._sent_here(), self._stored_offers() or ())

    def said_elsewhere(self) -> Replies:
        """All that the bot has said in other conversations than this one."""
        self._harness.run_until_idle()
        here = self.conversation.id
        return Replies(said for said in self.double.said() if said.conversation.id != here)

    def _send(self, text: str, **more: Any) -> Replies:
        def say() -> None:
            self._last_id = self.double.say(self._seat, text, **more)

        return self._act(say)

    def _act(self, act: Callable[[], None], seconds: float = 0.0) -> Replies:
        self._harness.run_until_idle()
        before = {said.id for said in self._sent_here()}
        act()
        if seconds:
            self._harness.advance(seconds)
        else:
            self._harness.run_until_idle()
        return Replies((said for said in self._sent_here() if said.id not in before), self._stored_offers() or ())

    def _sent_here(self) -> list[Said]:
        here = self.conversation.id
        return [said for said in self.double.said() if said.conversation.id == here]

    def _stored_offers(self) -> Any:
        """What the bot itself holds to be on offer here."""
        return self.state.get(QUICK_REPLIES_KEY)

    def _change_membership(self, group: str, act: Callable[[Seat], None]) -> Replies:
        client = self.in_group(group or self._seat.group)
        if not client._seat.group:
            raise BotError("name the group: client.join('ops')")
        return client._act(partial(act, client._seat))

    def _attachment(self, file: str | Path | bytes, name: str) -> Attachment:
        if isinstance(file, str) and file.startswith(("http://", "https://")):
            return _describe(file, name or file.rpartition("/")[2], None)
        name = name or ("file.bin" if isinstance(file, bytes) else Path(file).name)
        content = file if isinstance(file, bytes) else _read(Path(file))
        url = self.double.upload(name, content, mimetypes.guess_type(name)[0] or "")
        return _describe(url, name, len(content))


def _double_factory(
    channel: str | Callable[[Bot], Double], capabilities: Capabilities | None
) -> Callable[[Bot], Double]:
    if channel == "fake":
        return FakeDouble if capabilities is None else partial(FakeDouble, capabilities=capabilities)
    if capabilities is not None:
        raise ConfigurationError("only the fake platform takes capabilities; other channels have their own")
    if callable(channel):
        return channel
    if channel not in _DOUBLE_CLASSES:
        names = ", ".join(["fake", *_DOUBLE_CLASSES])
        raise ConfigurationError(
            f"channel: expected one of {names}, or a function that makes a Double; got {channel!r}"
        )
    module, name, extra = _DOUBLE_CLASSES[channel]
    try:
        double: Callable[[Bot], Double] = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"the channel {channel!r} needs packages that are not installed ({error.name}); "
            f"install them with: pip install 'cometbot[{extra}]'"
        ) from error
    return double


def _to_user(user: str | User) -> User:
    return user if isinstance(user, User) else User(user, user.title())


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _describe(url: str, name: str, size: int | None) -> Attachment:
    mime_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Attachment(url, name, mime_type, Path(name).suffix[1:], size)
