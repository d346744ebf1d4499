"""Writes a stored conversation as a regression test: a pytest file that drives the bot with ``BotClient``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cometbot.bot import Bot
from cometbot.bursts import is_superseded
from cometbot.channels.base import Channel
from cometbot.cli.pytest_source import (
    assert_list,
    assert_member,
    assert_text,
    make_call,
    make_comment,
    to_literal,
)
from cometbot.cli.recorded_actions import Action, ActionReader, referenced_ids
from cometbot.cli.recorded_conversation import Recorded, Screen, Shown, Users, read_events
from cometbot.events import MessageEvent
from cometbot.inspection.stored_conversations import StoredConversation
from cometbot.models import User
from cometbot.store.tables import DONE
from cometbot.testing.client import load_fake_class

_INDENT = " " * 8
_GROUP = "group-1"


@dataclass(frozen=True, slots=True)
class Subject:
    """The bot under test, the module and the name by which the test imports it, and the channel with its fake.

    ``rich`` and ``card_buttons`` are CometChat's settings of these names.
    """

    bot: Bot
    module: str
    attribute: str
    channel: Channel
    rich: str = "text"
    card_buttons: str = "message"


def write_test(conversation: StoredConversation, subject: Subject, *, keeps_users: bool = False) -> str:
    """Return the source of a test that repeats what the users did, and asserts what the bot said.

    Users and the group get other names unless ``keeps_users`` is set.
    """
    recorded = read_events(conversation.exchanges, subject.channel, subject.bot)
    users = Users(recorded, keeps_names=keeps_users)
    here = conversation.newest.conversation
    group = (here.target if keeps_users else _GROUP) if here.is_group else ""
    body = _Body(subject, users, recorded, group).lines
    if conversation.has_earlier:
        note = "Earlier messages are left out. Set what the handlers have stored because of them: client.state[…] = …"
        body = [*make_comment(note, _INDENT), *body]
    newest = conversation.newest.id
    tools = list(dict.fromkeys(tool.name for item in recorded if item.event for tool in item.event.client_tools))
    opening = _open_client(subject, users, group, tools)
    return "\n".join(
        [
            f'"""The conversation of {newest} with the bot {subject.bot.name}, as it was stored."""',
            "",
            *_imports(subject, {"ClientTool": bool(tools), "User": keeps_users and bool(list(users))}),
            "",
            "",
            f"def test_conversation_of_{newest}() -> None:",
            *opening,
            *body,
            *([] if any(map(_is_statement, body)) else [f"{_INDENT}assert not {_name_client(group)}.said()"]),
            "",
        ]
    )


def _imports(subject: Subject, uses: Mapping[str, bool]) -> Iterator[str]:
    if _is_rich(subject):
        yield from ["from functools import partial", ""]
    if used := [name for name, is_used in uses.items() if is_used]:
        yield f"from cometbot import {', '.join(used)}"
    yield "from cometbot.testing import BotClient"
    if _is_rich(subject):
        yield "from cometbot.testing.fakes.cometchat import CometChatFake"
    yield from ["", f"from {subject.module} import {subject.attribute.partition('.')[0]}"]


def _is_rich(subject: Subject) -> bool:
    return subject.channel.name == "cometchat" and subject.rich != "text"


def _open_client(subject: Subject, users: Users, group: str, client_tools: Sequence[str]) -> list[str]:
    """Return the lines that open the client of the first user, with tools of these names."""
    arguments = [subject.attribute]
    if first := next(iter(users), ""):
        arguments.append(f"user={_user_source(users.to_user(first))}")
    if group:
        arguments.append(f"group={to_literal(group)}")
    channel = to_literal(subject.channel.name)
    if _is_rich(subject):
        more = f", card_buttons={to_literal(subject.card_buttons)}" if subject.card_buttons != "message" else ""
        channel = f"partial(CometChatFake, rich={to_literal(subject.rich)}{more})"
    arguments.append(f"channel={channel}")
    if client_tools:
        arguments.append(f"client_tools=[{', '.join(f'ClientTool({to_literal(name)})' for name in client_tools)}]")
    return make_call("with BotClient(", arguments, " " * 4, f") as {_name_client(group)}:")


def _name_client(group: str) -> str:
    """Return the name of the first user's client."""
    return "user_1" if group else "client"


def _is_statement(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _user_source(user: User) -> str:
    uid = to_literal(user.uid)
    return uid if user.name == user.uid.title() else f"User({uid}, {to_literal(user.name)})"


class _Body:
    """The lines of the test's function, behind that which opens the first client."""

    def __init__(self, subject: Subject, users: Users, recorded: list[Recorded], group: str) -> None:
        self.lines: list[str] = []
        self._bot = subject.bot
        self._group = group
        self._users = users
        self._screen = Screen(load_fake_class(subject.channel.name))
        self._actions = ActionReader(subject.bot, users, self._screen)
        self._referenced = {id for item in recorded for id in referenced_ids(item.event)}
        self._scopes: dict[str, str] = {}
        self._clients = {self._client(next(iter(users), ""))}
        self._clock = recorded[0].message.received_at if recorded else 0.0
        if recorded and subject.channel.name == "simplex" and not self._group:
            self._add_comment("The user connects, and reads what the bot says to new contacts.")
            self.lines.append(f"{_INDENT}client.said()")
        for item in recorded:
            self._add(item)

    def _client(self, uid: str) -> str:
        return f"user_{self._users.number(uid)}" if self._group and uid else _name_client(self._group)

    def _add_comment(self, text: str) -> None:
        self.lines += make_comment(text, _INDENT)

    def _add(self, recorded: Recorded) -> None:
        if recorded.is_internal:
            self._add_timer(recorded, self._screen.show(recorded.exchange))
            return
        action = self._actions.read(recorded)  # before the replies are there: it refers to earlier messages
        uid = recorded.event.sender.uid if recorded.event is not None else ""
        client = self._client(uid)
        if client not in self._clients:
            self._open_other(client, uid)
        for note in action.notes:
            self._add_comment(note)
        shown = self._screen.show(recorded.exchange)
        self._add_scope(client, recorded, shown)
        self._add_action(action, client, recorded, shown)

    def _add_scope(self, client: str, recorded: Recorded, shown: Shown) -> None:
        """Give the user the scope that the event says, or name it as missing where a moderator may have to have one."""
        scope = recorded.event.sender.scope if recorded.event is not None and self._group else ""
        if scope not in ("", self._scopes.get(client, "participant")):
            self._scopes[client] = scope
            self.lines.append(f"{_INDENT}{client}.set_scope({to_literal(scope)})")
        elif shown.moderates and not scope:
            self._add_comment(f"If the bot obeys moderators only: {client}.set_scope({to_literal('moderator')})")

    def _add_action(self, action: Action, client: str, recorded: Recorded, shown: Shown) -> None:
        if action.is_lost:
            self._add_lost(shown)
        elif is_superseded(recorded.message.handler):
            self._add_comment(f"{recorded.message.id} is left out: it was {recorded.message.handler}.")
        elif recorded.message.state != DONE:
            why = recorded.message.error or "it was discarded"
            self._add_comment(f"{recorded.message.id} was not answered: {why}. Assert what the bot should say.")
            self.lines += make_call(f"{client}.{action.method or 'said'}(", action.arguments, _INDENT)
        else:
            is_last = self._ends_burst(recorded)
            begins = f"{client}.{action.method or 'said'}("
            self.lines += make_call(begins if is_last else f"replies = {begins}", action.arguments, _INDENT)
            if is_last:
                self.lines += make_call(f"replies = {client}.advance(", [f"{self._bot.burst_pause:g}"], _INDENT)
                self._clock += self._bot.burst_pause
            self._assert_shown(client, recorded, shown)
            self._name_messages(client, recorded, shown)

    def _ends_burst(self, recorded: Recorded) -> bool:
        """Return True for the newest message of a burst, which its handler gets when the user has paused."""
        handlers = self._bot.routes.find_named(recorded.message.handler)
        return isinstance(recorded.event, MessageEvent) and any(item.concurrency == "burst" for item in handlers)

    def _add_timer(self, recorded: Recorded, shown: Shown) -> None:
        """Add the time that passed until a timer of a dialog."""
        if recorded.due_at is None or not list(self._users):
            self._add_comment(f"{recorded.message.id} cannot be repeated: nobody in this conversation caused it.")
            self._add_lost(shown)
            return
        seconds = max(1, math.ceil(recorded.due_at - self._clock))
        self._clock += seconds
        client = min(self._clients)
        self.lines += make_call(f"replies = {client}.advance(", [str(seconds)], _INDENT)
        self._assert_shown(client, recorded, shown)

    def _add_lost(self, shown: Shown) -> None:
        for text in shown.to_replies().texts:
            self._add_comment(f"The bot then said: {text}")

    def _assert_shown(self, client: str, recorded: Recorded, shown: Shown) -> None:
        replace, replies = self._users.replace_names, shown.to_replies()
        texts = [reply.text for reply in shown.replies]
        known = [replace(text) for text in texts if text is not None]
        if not texts:
            self.lines.append(f"{_INDENT}assert not replies")
        elif len(known) == len(texts):
            self.lines += assert_list("replies.texts", known, _INDENT)
        else:
            self._assert_each(shown)
        for what, labels in (("buttons", replies.buttons), ("choices", replies.choices)):
            if labels:
                self.lines += assert_list(f"replies.{what}", list(map(replace, labels)), _INDENT)
        for edited in shown.edits:
            self.lines += assert_member(f"{client}.said().texts", replace(edited), _INDENT)
        self._assert_reactions(client, recorded, shown)
        self._assert_moderation(client, recorded, shown)
        if shown.elsewhere:
            self._add_comment("What the bot sent to other conversations is not checked.")

    def _assert_each(self, shown: Shown) -> None:
        self.lines.append(f"{_INDENT}assert len(replies) == {len(shown.replies)}")
        for number, reply in enumerate(shown.replies):
            if reply.text is None:
                about = reply.about or "a text with the number of an approval"
                self._add_comment(f"replies[{number}] was {about}.")
            else:
                text = self._users.replace_names(reply.text)
                self.lines += assert_text(f"replies[{number}].text", text, _INDENT)

    def _assert_reactions(self, client: str, recorded: Recorded, shown: Shown) -> None:
        own_id = getattr(recorded.event, "id", "")
        reactions = [reaction for message_id, reaction in shown.reactions if own_id and message_id == own_id]
        if reactions:
            self.lines += assert_list(f"{client}.fake.reactions({client}.message_id)", reactions, _INDENT)

    def _assert_moderation(self, client: str, recorded: Recorded, shown: Shown) -> None:
        """Assert that messages and users are gone, as far as the test has them."""
        event, known = recorded.event, set(self._users)
        own_id, sender = getattr(event, "id", ""), event.sender.uid if event is not None else ""
        if own_id and own_id in shown.deleted:
            self.lines.append(f"{_INDENT}assert {client}.is_deleted")
        for uid in shown.removed:
            if (uid == sender and own_id) or (uid in known and self._client(uid) in self._clients):
                self.lines.append(f'{_INDENT}assert {self._client(uid)}.scope == ""')
        if set(shown.removed) - known or set(shown.deleted) - {own_id}:
            self._add_comment("Who and what else the bot removed is not checked.")

    def _name_messages(self, client: str, recorded: Recorded, shown: Shown) -> None:
        """Give names to the messages that later ones refer to."""
        own_id, number = getattr(recorded.event, "id", ""), recorded.message.id[1:]
        found = [(own_id, f"{client}.message_id", f"message_{number}")]
        for place, reply in enumerate(shown.replies):
            found.append((reply.row.platform_id, f"replies[{place}].id", f"reply_{number}_{place}"))
        for id, source, name in found:
            if id in self._referenced:
                self._actions.variables[id] = name
                self.lines.append(f"{_INDENT}{name} = {source}")

    def _open_other(self, client: str, uid: str) -> None:
        """Open the client of another user of the group."""
        self._clients.add(client)
        first = self._client(next(iter(self._users)))
        arguments = [_user_source(self._users.to_user(uid)), f"group={to_literal(self._group)}"]
        self.lines += make_call(f"{client} = {first}.as_user(", arguments, _INDENT)
