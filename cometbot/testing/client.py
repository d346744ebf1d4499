"""The client for testing a bot."""

from __future__ import annotations

import copy
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from cometbot.approvals import APPROVALS_KEY, approval_buttons
from cometbot.bot import Bot
from cometbot.channels.base import Channel
from cometbot.delivery import DeadLetter
from cometbot.delivery.incoming_files import read_file
from cometbot.dialogs import DIALOGS_KEY, OpenDialog
from cometbot.durations import Duration, to_seconds
from cometbot.errors import BotError, ConfigurationError
from cometbot.events import BlockEvent, CampaignEvent, Event, PresenceEvent
from cometbot.file_links import find_file_url
from cometbot.messages import APPROVAL_ACTION, Capabilities, ClientCall, Media
from cometbot.models import SCOPES, ClientTool, Conversation, Group, User
from cometbot.moderation import Verdict
from cometbot.providers import Provider
from cometbot.quick_replies import QUICK_REPLIES_KEY
from cometbot.store.dialogs import DialogRow
from cometbot.testing.fakes.base import Actor, Fake
from cometbot.testing.fakes.memory import MemoryFake
from cometbot.testing.forms import FormAnswer, answer_field, fill_form, find_quick_reply
from cometbot.testing.harness import BotHarness, StoredState
from cometbot.testing.moderation import ask_moderation
from cometbot.testing.replies import Replies, SentMessage
from cometbot.testing.user_files import make_attachment
from cometbot.testing.waiting_step import WaitingStep, to_waiting_step
from cometbot.token_usage import ModelUsage

ChannelName = Literal["fake", "cometchat", "chat_api", "platform", "simplex", "agui"]

_APP_EVENTS = (BlockEvent, CampaignEvent, PresenceEvent)
"""The events that never happen in a conversation of the bot."""

Scope = Literal["owner", "admin", "moderator", "participant"]

_FAKE_CLASSES: dict[str, tuple[str, str, str]] = {
    "cometchat": ("cometbot.testing.fakes.cometchat", "CometChatFake", ""),
    "chat_api": ("cometbot.testing.fakes.chat_api", "ChatApiFake", "chat"),
    "platform": ("cometbot.testing.fakes.platform", "PlatformFake", "chat"),
    "simplex": ("cometbot.testing.fakes.simplex", "SimplexFake", "simplex"),
    "agui": ("cometbot.testing.fakes.agui", "AguiFake", "chat"),
}
"""Module, class and extra of each channel's fake, imported when a test uses it."""


class BotClient:
    """A user who writes to ``bot`` and receives its replies.

    ::

        client = BotClient(bot)
        assert client.send("hi").text == "Hello!"

    The client uses the same code as production, over a database in memory and without threads, sockets or waiting. When
    a call returns, everything that it caused is done. Each call returns the messages that the bot sent to this user's
    conversation because of it. The clock stands still at ``now`` (Unix seconds) until :meth:`advance`.

    The platform is a fake that supports everything, or what ``capabilities`` say (``TEXT_ONLY``). ``channel`` selects
    another one: ``"cometchat"`` uses CometChat's payloads and a simulated CometChat, ``"simplex"`` a fake SimpleX CLI,
    ``"chat_api"``, ``"platform"`` and ``"agui"`` the real servers in memory. A function that makes a :class:`Fake` for
    a bot selects any other.

    In a ``group`` the user becomes a member with the first action there. :meth:`join` sends the bot the event of
    joining; call it before any other action, or after :meth:`leave`. The bot is in every group and receives no event of
    its own joining.

    The platform also stands for the channels named in ``also``, for a bot that names another one
    (``Group("managers", channel="cometchat")``): there, that is a group of the same platform.

    ``apps`` are the names of the bot's CometChat apps (``COMETCHAT_APPS``). The user is in the first, which is
    ``ctx.app``. The platform stands for the others, too (``bot.send(app="shop_us", group="team")``).

    ``provide`` replaces what the bot provides (:meth:`Bot.provide`): an object by its class, or a function or class
    that makes the object.

    ``client_tools`` are those that the user's client offers with each message (``ctx.client_tools``). A call of one is
    among the bot's messages, a :class:`ClientCall`, and :meth:`answer_call` returns its result to the bot.

    A handler that waits (``ctx.ask``, ``ctx.approve``, ``ctx.call``, ``ctx.sleep``) is run a second time with the same
    answers, without effect. If it takes another path, the call raises :class:`BotError`, which names the step; not with
    ``check_paths=False``.

    An exception of a handler is raised by the call. With ``raise_errors=False`` the bot sends its error message as in
    production, and :attr:`dead_letters` has the cause.
    """

    def __init__(
        self,
        bot: Bot,
        *,
        user: str | User = "maria",
        group: str = "",
        channel: ChannelName | Callable[[Bot], Fake] = "fake",
        capabilities: Capabilities | None = None,
        raise_errors: bool = True,
        now: float | None = None,
        provide: Mapping[Any, Any] | None = None,
        check_paths: bool = True,
        also: Sequence[str] = (),
        apps: Sequence[str] = (),
        client_tools: Sequence[ClientTool] = (),
    ) -> None:
        providers = {kind: Provider.from_value(kind, value) for kind, value in (provide or {}).items()}
        self._harness = BotHarness(
            bot,
            _fake_factory(channel, capabilities),
            now=now,
            raise_errors=raise_errors,
            providers=providers,
            check_paths=check_paths,
            also=also,
            apps=apps,
        )
        self._actor = Actor(_to_user(user), group)
        self._last_id = ""
        self._client_tools = _check_tools(client_tools, self.channel)

    def __repr__(self) -> str:
        place = f" in {self._actor.group}" if self._actor.group else ""
        return f"<BotClient {self._actor.user.uid}{place} with {self._harness.bot.name}>"

    def __enter__(self) -> BotClient:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the database and other resources. This also happens when the client is garbage-collected."""
        self._harness.close()

    @property
    def bot(self) -> Bot:
        """The bot under test."""
        return self._harness.bot

    @property
    def channel(self) -> Channel:
        """The bot's channel.

        On the fake platform it is a :class:`FakeChannel`, with its ``requests`` and ``faults``.
        """
        return self._harness.fake.channel

    @property
    def fake(self) -> Fake:
        """The fake of the platform."""
        return self._harness.fake

    @property
    def user(self) -> User:
        """The user."""
        return self._actor.user

    @property
    def conversation(self) -> Conversation:
        """The conversation of this user: with the bot alone, or in the group."""
        return self.fake.conversation(self._actor)

    @property
    def message_id(self) -> str:
        """The platform's id of this user's last message. Raises :class:`BotError` if there is none."""
        if not self._last_id:
            raise BotError(f"{self.user.uid} has sent no message yet. Call send() first.")
        return self._last_id

    @property
    def state(self) -> StoredState:
        """The bot's state for this conversation (``ctx.state``), to read and to set."""
        return StoredState(self._harness, "conversation", str(self.conversation.key))

    @property
    def user_state(self) -> StoredState:
        """The bot's state for this user (``ctx.user_state``), to read and to set."""
        key, person = self.conversation.key, self.fake.stable_id(self.user, self._actor.group)
        return StoredState(self._harness, "user", f"{key.channel}/{key.account}/{key.bot}/{person}")

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """The dead letters, newest first."""
        return self._harness.delivery.dead_letters.list()

    @property
    def usage(self) -> list[ModelUsage]:
        """The calls of models that handlers have reported with ``ctx.usage``, of all users, in order."""
        return self._harness.usage

    @property
    def scope(self) -> str:
        """The user's scope in the group (``owner`` … ``participant``); empty for a user who is no member of it."""
        self._harness.run_until_idle()
        return self.fake.get_scope(self._actor)

    def set_scope(self, scope: Scope) -> None:
        """Make the user an ``owner``, ``admin``, ``moderator`` or ``participant`` of the group, without an event.

        Where the platform has no such scope, it raises :class:`Unsupported`.
        """
        if scope not in SCOPES or not self._actor.group:
            raise BotError(f"set_scope: expected one of {', '.join(SCOPES)}, for a user in a group; got {scope!r}")
        self.fake.set_scope(self._actor, scope)

    @property
    def is_deleted(self) -> bool:
        """True if the user's last message has been deleted, by the user or by a moderator."""
        self._harness.run_until_idle()
        return self.fake.is_deleted(self._actor, self.message_id)

    def as_user(self, user: str | User, *, group: str = "") -> BotClient:
        """Return a client for another user of the same platform, alone with the bot or in ``group``."""
        other = copy.copy(self)
        other._actor = Actor(_to_user(user), group)
        other._last_id = ""
        return other

    def in_group(self, group: str) -> BotClient:
        """Return a client for the same user in a group."""
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
        """Send a text and return the bot's replies.

        ``user`` and ``group`` replace the client's own for this call. ``thread`` is the id of the thread's first
        message, ``quote`` that of the quoted message. ``mention`` puts a mention of the bot before the text.
        """
        if user is not None or group is not None:
            other = self.as_user(
                self.user if user is None else user, group=self._actor.group if group is None else group
            )
            return other.send(text, thread=thread, quote=quote, mention=mention)
        return self._send(text, thread_id=thread, quote_id=quote, mention=mention)

    def send_image(self, image: str | Path | bytes, *, caption: str = "", name: str = "", thread: str = "") -> Replies:
        """Send a picture and return the bot's replies. ``image`` is a URL, a path, or bytes."""
        return self.send_file(
            image, caption=caption, name=name or ("photo.png" if isinstance(image, bytes) else ""), thread=thread
        )

    def send_file(self, file: str | Path | bytes, *, caption: str = "", name: str = "", thread: str = "") -> Replies:
        """Send a file and return the bot's replies.

        ``file`` is a URL, a path, or bytes. The type is derived from the name.
        """
        return self._send(caption, thread_id=thread, attachments=[make_attachment(self.fake, file, name)])

    def press(self, button: str | int) -> Replies:
        """Press a button or select a choice, by its label or number, and return the bot's replies.

        The buttons of newer messages have precedence. If the platform shows buttons as text, the user sends the label
        or number, or ``approve 17`` for ``Approve``. Raises :class:`BotError`, with the available buttons, if there is
        no such button.
        """
        said, offer = find_quick_reply(button, self._sent_here(), self._valid_quick_replies())
        if said is None:
            return self._send(offer.value if offer.name.startswith(APPROVAL_ACTION) else str(button))
        return self._act(partial(self.fake.press, self._actor, said, offer))

    def choose(self, choice: str | int) -> Replies:
        """Like :meth:`press`, for choices."""
        return self.press(choice)

    def fill(self, values: Mapping[str, FormAnswer] | None = None, /, **named: FormAnswer) -> Replies:
        """Fill in the newest form and return the bot's replies. Fields are given by name, several values as a list.

        Fields with a default and optional ones may be left out. Raises :class:`BotError` for missing or unknown fields
        and for invalid options. If the bot asks field by field, the user answers one field after the other until an
        answer is refused, and the replies are those to the last answer.
        """
        given = {**(values or {}), **named}
        if (asked := self._asked_field()) is not None:
            return self._fill_by_text(given, asked)
        said, answers = fill_form(given, self._sent_here(), self._valid_quick_replies())
        if said is None:
            return self._send("\n".join(f"{name}: {value}" for name, value in answers.items()))
        return self._act(partial(self.fake.submit, self._actor, said, answers))

    def answer_call(self, result: Any, *, call: SentMessage | None = None) -> Replies:
        """Return the result of a call of the client's tool, and return the bot's replies.

        ``result`` is the text of the result, or else JSON. ``call`` is by default the newest one that waits. Raises
        :class:`BotError` if none does.
        """
        message = call.message if call is not None else self._find_call()
        if not isinstance(message, ClientCall):
            raise BotError("answer_call: the bot waits for no call of a tool of this client")
        content = result if isinstance(result, str) else json.dumps(result)
        return self._act(partial(self.fake.answer_call, self._actor, message, content))

    def edit(self, text: str) -> Replies:
        """Edit the user's last message and return the bot's replies."""
        return self._act(partial(self.fake.edit, self._actor, self.message_id, text))

    def delete(self) -> Replies:
        """Delete the user's last message and return the bot's replies."""
        return self._act(partial(self.fake.delete, self._actor, self.message_id))

    def react(self, reaction: str, *, to: SentMessage | None = None, added: bool = True) -> Replies:
        """React to the message ``to``, by default the bot's last one here, and return the bot's replies."""
        said = self.said()
        if to is None and not said:
            raise BotError("the bot has sent no message here to react to")
        return self._act(partial(self.fake.react, self._actor, (to or said[-1]).id, reaction, added=added))

    def start(self) -> Replies:
        """Open the conversation with the bot, before anything is written there, and return the bot's messages.

        In a group, the bot is added to it. Nothing happens if it has begun: on a platform that reports the beginning,
        the first action opens the conversation, too. Raises :class:`BotError` on a platform that does not report it.
        """
        self._harness.run_until_idle()
        before = {said.id for said in self.fake.said()}
        self.fake.start(self._actor)
        self._harness.run_until_idle()
        return Replies(
            (said for said in self._sent_here() if said.id not in before), self._stored_quick_replies() or ()
        )

    def join(self, group: str = "") -> Replies:
        """Join ``group``, by default the client's own, and return the bot's messages there."""
        return self._change_membership(group, self.fake.join)

    def leave(self, group: str = "") -> Replies:
        """Leave ``group``, by default the client's own, and return the bot's messages there."""
        return self._change_membership(group, self.fake.leave)

    def event(self, event: Event | type[Event], **fields: Any) -> Replies:
        """Deliver any event and return the bot's replies. It is given whole, or as its class and its specific fields.

        Events that concern no conversation, such as the presence of users, happen in that of the app, as on the
        platform.

        ::

            client.event(ContactEvent, action="request")
        """
        if isinstance(event, type):
            conversation = self.conversation
            if issubclass(event, _APP_EVENTS):
                names = (conversation.channel, conversation.account, conversation.bot)
                conversation = Conversation.of_app(*names, event.__name__)
            common = {"conversation": conversation, "sender": self.user, "sent_at": self._harness.database.now}
            group = Group(self._actor.group) if self._actor.group else None
            event = event(**{"key": f"test:{next(self._harness.numbers)}", **common, "group": group, **fields})
        return self._act(partial(self.fake.deliver, event))

    def moderate(
        self,
        text: str = "",
        *,
        file: str | Path | bytes | None = None,
        name: str = "",
        context: Sequence[str | tuple[str, str]] = (),
    ) -> Verdict:
        """Return what the bot says about a message of this user to somebody else (:meth:`Bot.moderate`).

        ::

            assert client.moderate("Win at our casino!").match
            assert not client.moderate("ok", context=[("tom", "Lunch at noon?")]).match

        ``file`` is a URL, a path, or bytes with a ``name`` such as ``"photo.png"``; ``text`` is its caption then. In a
        ``group`` the message is for the group. ``context`` are the texts before it, oldest first: of this user, or of
        another, as ``(uid, text)``. Raises what the function raises, and :class:`BotError` if the bot has none or it
        returns no decision. There is no time limit.
        """
        fake = self.fake
        return ask_moderation(
            self.bot,
            text,
            sender=self.user,
            group=self._actor.group,
            context=context,
            attachment=None if file is None else make_attachment(self.fake, file, name),
            sent_at=self._harness.database.now,
            read_file=partial(
                read_file, self._harness.delivery.store.files, fake.channel, fake.channel.client(self.bot.name)
            ),
        )

    def advance(self, duration: Duration) -> Replies:
        """Advance the clock and return the bot's messages meanwhile: timeouts, sleeps that end, retried handlers.

        ``duration`` is a number of seconds, a text such as ``"2h"``, or a ``timedelta``.
        """
        seconds = duration if isinstance(duration, int | float) else to_seconds(duration, "advance")
        return self._act(lambda: None, seconds)

    @property
    def waiting(self) -> WaitingStep | None:
        """What a handler waits for in this user's conversation, the newest question first, or None."""
        return next(map(to_waiting_step, self._waiting_rows()), None)

    def restart(self, bot: Bot | None = None) -> None:
        """Go on as the next process does, with the same database and platform; open dialogs go on.

        ``bot`` is the bot with new code, of the same name; without it, the code stays.
        """
        bot = bot or self.bot
        if bot.name != self.bot.name:
            raise BotError(f"restart: expected a bot named {self.bot.name!r}, got {bot.name!r}")
        self._harness.restart(bot)

    def said(self, *, user: str = "", group: str = "") -> Replies:
        """Return all messages of the bot in this conversation, with ``user``, or in ``group``, without deleted ones."""
        self._harness.run_until_idle()
        if user or group:
            return self.as_user(user or self.user, group=group).said()
        return Replies(self._sent_here(), self._stored_quick_replies() or ())

    def download(self, said: SentMessage | None = None) -> bytes:
        """Return the content of a file that the bot sent from its own, by default with its newest message here.

        It comes as the user's app gets it: from the platform, or from the bot's server at the file's address. Raises
        :class:`BotError` if the message has no such file, or if that was deleted.
        """
        if said is None:
            said = next(reversed(self.said()), None)
        if said is None:
            raise BotError("download: the bot has sent no message here")
        content = self.fake.read_file(said)
        if content is not None:
            return content
        url = said.message.url if isinstance(said.message, Media) else find_file_url(said.text)
        if not url:
            raise BotError(f"download: the message {said.text!r} has no file")
        return self._harness.download(url)

    def said_elsewhere(self) -> Replies:
        """Return all messages of the bot in other conversations."""
        self._harness.run_until_idle()
        here = self.conversation.id
        return Replies(said for said in self.fake.said() if said.conversation.id != here)

    def _waiting_rows(self) -> list[DialogRow]:
        user, group = self.user, self._actor.group
        uids = {self.fake.uid(user, group), self.fake.stable_id(user, group)}
        return self._harness.list_waiting(self.conversation, uids)

    def _find_call(self) -> ClientCall | None:
        """Return the newest call of a tool of this user's client that waits for its result."""
        waiting = {f"{row.id}.{row.waiting.step}" for row in self._waiting_rows()}
        messages = (said.message for said in reversed(self._sent_here()))
        return next((item for item in messages if isinstance(item, ClientCall) and item.id in waiting), None)

    def _asked_field(self) -> DialogRow | None:
        """Return the newest dialog of this user that asks for a field of a form."""
        return next((row for row in self._waiting_rows() if row.waiting.asked_field), None)

    def _fill_by_text(self, values: Mapping[str, FormAnswer], asked: DialogRow) -> Replies:
        next_asked: DialogRow | None = asked
        replies = Replies()
        while next_asked is not None and (next_asked.id, next_asked.waiting.step) == (asked.id, asked.waiting.step):
            if next_asked.waiting.attempts > asked.waiting.attempts:
                break
            asked = next_asked
            replies = self.send(answer_field(values, asked.waiting), mention=bool(self._actor.group))
            next_asked = self._asked_field()
        return replies

    def _send(self, text: str, **more: Any) -> Replies:
        if self._client_tools:
            more["client_tools"] = self._client_tools

        def say() -> None:
            self._last_id = self.fake.say(self._actor, text, **more)

        return self._act(say)

    def _act(self, act: Callable[[], None], seconds: float = 0.0) -> Replies:
        self._harness.run_until_idle()
        before = {said.id for said in self._sent_here()}
        act()
        if seconds:
            self._harness.advance(seconds)
        else:
            self._harness.run_until_idle()
        return Replies(
            (said for said in self._sent_here() if said.id not in before), self._stored_quick_replies() or ()
        )

    def _sent_here(self) -> list[SentMessage]:
        here = self.conversation.id
        return [said for said in self.fake.said() if said.conversation.id == here]

    def _valid_quick_replies(self) -> list[Any]:
        """Return the quick replies that the user may write, newest last: also those of questions that wait for them."""
        user = self.fake.stable_id(self.user, self._actor.group)
        asked = [OpenDialog.from_json(item) for item in self.state.get(DIALOGS_KEY) or () if item["user"] == user]
        of_questions = [offered for dialog in reversed(asked) for offered in dialog.offers]
        waiting = sorted(map(int, (self.state.get(APPROVALS_KEY) or {}).get("open", ())))
        of_approvals = [
            {"offers": [[offer.label, offer.name, offer.value] for offer in approval_buttons(number)]}
            for number in waiting
        ]
        return [*of_approvals, *of_questions, *(self._stored_quick_replies() or ())]

    def _stored_quick_replies(self) -> Any:
        """Return the quick replies that the bot has stored for this conversation."""
        return self.state.get(QUICK_REPLIES_KEY)

    def _change_membership(self, group: str, act: Callable[[Actor], None]) -> Replies:
        client = self.in_group(group or self._actor.group)
        if not client._actor.group:
            raise BotError("missing group. Pass it, as in client.join('ops').")
        return client._act(partial(act, client._actor))


def _fake_factory(channel: str | Callable[[Bot], Fake], capabilities: Capabilities | None) -> Callable[[Bot], Fake]:
    if channel == "fake":
        return MemoryFake if capabilities is None else partial(MemoryFake, capabilities=capabilities)
    if capabilities is not None:
        raise ConfigurationError("capabilities: only the fake platform accepts them; other channels have their own")
    if callable(channel):
        return channel
    return load_fake_class(channel)


def load_fake_class(channel: str) -> type[Fake]:
    """Return the fake of a channel. Raises :class:`ConfigurationError` if its packages are not installed."""
    if channel == "fake":
        return MemoryFake
    if channel not in _FAKE_CLASSES:
        names = ", ".join(["fake", *_FAKE_CLASSES])
        raise ConfigurationError(f"channel: expected one of {names}, or a function that makes a Fake; got {channel!r}")
    module, name, extra = _FAKE_CLASSES[channel]
    try:
        fake: type[Fake] = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"the channel {channel!r} needs packages that are not installed ({error.name}); "
            f"install them with: pip install 'cometbot[{extra}]'"
        ) from error
    return fake


def _check_tools(tools: Sequence[ClientTool], channel: Channel) -> tuple[ClientTool, ...]:
    if tools and ClientCall not in channel.capabilities.native:
        raise ConfigurationError(f"client_tools: the clients of the channel {channel.name} have no tools")
    return tuple(tools)


def _to_user(user: str | User) -> User:
    return user if isinstance(user, User) else User(user, user.title())
