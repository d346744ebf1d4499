"""The actions of the users in a stored conversation, as calls of ``BotClient``."""

from __future__ import annotations

import json
import keyword
import mimetypes
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from cometbot.action_values import decode_value
from cometbot.bot import Bot
from cometbot.cli.pytest_source import to_list, to_literal
from cometbot.cli.recorded_conversation import Recorded, Screen, Users, find_decision, strip_mention
from cometbot.events import (
    ActionEvent,
    ContactEvent,
    ConversationStarted,
    DeleteEvent,
    EditEvent,
    Event,
    MembershipEvent,
    MessageEvent,
    ReactionEvent,
)
from cometbot.field_values import split_options
from cometbot.models import Attachment
from cometbot.questions import ACTION_PREFIX

_NO_HANDLERS = ("", "dialog")
"""What stands for the handler of an event that none has handled; the second, if what it answers was over."""

_STAND_IN_NOTE = "The content of files is not stored. Replace the stand-in if the bot reads it."


@dataclass(frozen=True, slots=True)
class Action:
    """A method of the user's client with its arguments as source. ``notes`` are comments to stand before it.

    An empty ``method`` means that there is nothing to call. With ``is_lost``, what the user did cannot be repeated.
    """

    method: str = ""
    arguments: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    is_lost: bool = False


@dataclass(slots=True)
class ActionReader:
    """Converts the events of a conversation to actions, in order.

    ``variables`` has the expression for each id of a message that a later one refers to.
    """

    bot: Bot
    users: Users
    screen: Screen
    variables: dict[str, str] = field(default_factory=dict)
    _last_ids: dict[str, str] = field(default_factory=dict)
    _returned: set[str] = field(default_factory=set)

    def read(self, recorded: Recorded) -> Action:
        """Return what the user did."""
        event = recorded.event
        if event is None:
            return Action(notes=(f"{recorded.message.id} cannot be repeated: {recorded.problem}.",), is_lost=True)
        action = self._read_resume(event) if recorded.message.handler not in _NO_HANDLERS else None
        action = action or self._read(event)
        if action is not None:
            return action
        what = f"{recorded.message.id} cannot be repeated: {_describe(event)}."
        return Action(notes=(what,), is_lost=True)

    def _read(self, event: Event) -> Action | None:
        uid = event.sender.uid
        if isinstance(event, MessageEvent):
            self._last_ids[uid] = event.id
            return self._read_message(event)
        if isinstance(event, ActionEvent):
            return self._read_press(event)
        if isinstance(event, ContactEvent) and event.action == "connected":
            return Action()
        if isinstance(event, ConversationStarted):
            return Action("start")
        if isinstance(event, MembershipEvent):
            method = {"joined": "join", "left": "leave"}.get(event.action)
            return Action(method) if method else None
        if isinstance(event, EditEvent) and event.message.id == self._last_ids.get(uid):
            return Action("edit", (to_literal(self.users.replace_mentions(event.message.text)),))
        if isinstance(event, DeleteEvent) and event.message_id == self._last_ids.get(uid):
            return Action("delete")
        if isinstance(event, ReactionEvent) and self.screen.is_last(event.message_id):
            return Action("react", (to_literal(event.reaction), *([] if event.added else ["added=False"])))
        return None

    def _read_message(self, event: MessageEvent) -> Action | None:
        text, is_mention = strip_mention(event.text, self.bot.ids)
        text = self.users.replace_mentions(text)
        if event.attachments:
            return self._read_file(event, text)
        if not text.strip() and not is_mention:
            return None
        if self.screen.has_approval and (decision := find_decision(text)):
            return Action("press", (to_literal(decision),))
        places = [("thread", event.thread_id), ("quote", event.quote.id if event.quote else "")]
        found = [f"{name}={self.variables[id]}" for name, id in places if id in self.variables]
        lost = [f"Its {name} began earlier, and is left out." for name, id in places if id and id not in self.variables]
        mention = ["mention=True"] if is_mention else []
        return Action("send", (to_literal(text), *found, *mention), tuple(lost))

    def _read_file(self, event: MessageEvent, caption: str) -> Action:
        file = event.attachments[0]
        name = _file_name(file)
        arguments = ['b"stand-in"', f"name={to_literal(name)}"]
        if caption.strip():
            arguments.append(f"caption={to_literal(caption)}")
        others = len(event.attachments) - 1
        notes = [_STAND_IN_NOTE, *([f"The message had {others} more files."] if others else [])]
        return Action("send_image" if event.type == "image" else "send_file", tuple(arguments), tuple(notes))

    def _read_press(self, event: ActionEvent) -> Action | None:
        if (call := self._find_call(event)) is not None:
            return self._read_result(event, call)
        offer = self.screen.find_offer(event.name, event.value, event.message_id)
        if offer is not None:
            return Action("press", (to_literal(offer.label),))
        fields = self.screen.find_fields()
        if event.value or fields is None:
            return None
        values = {name: self._form_value(fields.get(name, ()), text) for name, text in event.values.items()}
        return Action(
            "fill",
            tuple(f"{name}={value}" for name, value in values.items())
            if _are_names(values)
            else ("{" + ", ".join(f"{to_literal(name)}: {value}" for name, value in values.items()) + "}",),
        )

    def _read_resume(self, event: Event) -> Action | None:
        """Return the answer to a question that names it, and no message with its buttons; None for another event."""
        if not isinstance(event, ActionEvent) or event.message_id or not event.name.startswith(ACTION_PREFIX):
            return None
        if event.values or self._find_call(event) or self.screen.find_offer(event.name, event.value, ""):
            return None
        value = decode_value(event.value)
        text = "/cancel" if event.cancels else value if isinstance(value, str) else json.dumps(value)
        return Action("send", (to_literal(text),))

    def _find_call(self, event: ActionEvent) -> str | None:
        """Return the id of the client's call whose result an event is, None if it is none."""
        id = event.name.removeprefix(ACTION_PREFIX)
        return id if id != event.name and any(call.id == id for call in self.screen.calls) else None

    def _read_result(self, event: ActionEvent, call: str) -> Action | None:
        """Return the result of a call, if the test kit returns it to that one: the newest that waits."""
        waiting = [item.id for item in self.screen.calls if item.id not in self._returned]
        self._returned.add(call)
        if event.cancels or event.values or waiting[-1:] != [call]:
            return None
        value = decode_value(event.value)
        return Action("answer_call", (to_literal(value if isinstance(value, str) else event.value),))

    @staticmethod
    def _form_value(options: Iterable[str], text: str) -> str:
        """Return the source of a field's value: a list if it is several of these options."""
        chosen = split_options(text, list(options)) if options else None
        return to_list(chosen) if chosen is not None else to_literal(text)


def referenced_ids(event: Event | None) -> Iterator[str]:
    """Yield the ids of the messages that an event's thread or quote refers to."""
    if isinstance(event, MessageEvent):
        yield from filter(None, (event.thread_id, event.quote.id if event.quote else ""))


def _are_names(values: Mapping[str, str]) -> bool:
    return all(name.isidentifier() and not keyword.iskeyword(name) for name in values)


def _file_name(file: Attachment) -> str:
    if file.name:
        return file.name
    return f"file{mimetypes.guess_extension(file.mime_type) or '.bin'}"


def _describe(event: Event) -> str:
    """Return what an event is that no method of the client causes."""
    if isinstance(event, ActionEvent):
        return f"the button {event.name!r} stands in no stored message"
    if isinstance(event, EditEvent | DeleteEvent | ReactionEvent):
        return f"{type(event).__name__} of a message that is not the last one"
    action = f" {event.action}" if isinstance(event, MembershipEvent | ContactEvent) else ""
    kind = f" of the type {event.type}" if isinstance(event, MessageEvent) else ""
    return f"{type(event).__name__}{action}{kind}"
