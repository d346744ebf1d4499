"""Outgoing messages. A message is a value; the channel renders it, or sends its text form instead."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from os import PathLike
from pathlib import PurePath
from typing import Any, ClassVar, Literal

from cometbot.action_values import encode_value
from cometbot.errors import MessageError
from cometbot.field_values import check_field, choices_of, describe_value, label_of
from cometbot.fields import Choice as Choice
from cometbot.fields import Field as Field
from cometbot.file_sources import FileData, to_bytes
from cometbot.message_checks import require, require_sequence, require_texts
from cometbot.models import Conversation
from cometbot.presses import Limited
from cometbot.text import find_texts, replace_surrogates

MAX_MESSAGE_LENGTH = 1_000_000
"""The characters that all texts of one message have together at most, metadata and data included."""

MediaKind = Literal["image", "audio", "video", "file"]

APPROVAL_ACTION = "cometbot:approve:"
"""The prefix of the actions of an approval's buttons. As text, users write the value of the button: ``approve 17``."""

_ANSWER_HINT_END = "”, or write it out."


@dataclass(frozen=True, slots=True)
class QuickReply:
    """An answer that a message offers: ``label`` is shown, ``name`` and ``value`` are returned.

    ``value`` is a text in the form of :mod:`cometbot.action_values`.
    """

    label: str
    name: str
    value: str
    number: int = 0


@dataclass(frozen=True, kw_only=True)
class Message:
    """The base class of all messages.

    ``metadata`` (JSON for clients, not shown) and ``tags`` are sent where the platform supports them.
    """

    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()

    def to_text(self) -> str:
        """Return this message as text, for platforms that cannot show it.

        Choices are numbered as in :meth:`offers`. The text is readable without rendering: it contains no Markdown of
        its own, and its parts are paragraphs, because some clients show a single line break as a space.
        """
        raise NotImplementedError  # pragma: no cover - every message class has its own

    def offers(self) -> tuple[QuickReply, ...]:
        """Return the quick replies of this message, numbered from 1 in the order shown."""
        return ()


@dataclass(frozen=True)
class Text(Message):
    """A text, rendered as Markdown where the platform supports it."""

    text: str

    def __post_init__(self) -> None:
        if not (isinstance(self.text, str) and self.text.strip()):
            raise MessageError("a Text needs some text")

    def to_text(self) -> str:
        return self.text


@dataclass(frozen=True)
class Media(Message):
    """A picture, sound, video or file: one at a ``url`` that the reader's app can load, or one that the bot has.

    ``data`` is the content as bytes, a figure of matplotlib or an image of Pillow; ``path`` names a local file. Both
    are stored when the message is said: a later change of the file changes nothing. ``size`` is in bytes. What is not
    given is guessed: ``kind`` and ``mime_type`` from the content, and from a URL otherwise; ``name`` from the path or
    the URL. ``is_stored`` is set by cometbot, for a file that it serves itself.
    """

    url: str = ""
    kind: MediaKind | None = None
    name: str = ""
    mime_type: str = ""
    size: int | None = None
    caption: str = ""
    data: FileData | None = field(default=None, kw_only=True, repr=False)
    path: str | PathLike[str] | None = field(default=None, kw_only=True)
    is_stored: bool = field(default=False, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        has = {"url": bool(self.url), "data": self.data is not None, "path": self.path is not None}
        given = [name for name, is_given in has.items() if is_given]
        require(len(given) == 1, f"a Media needs either a url, data or a path, not {' and '.join(given) or 'nothing'}")
        require(
            not self.url or self.is_stored or is_web_url(self.url),
            f"a Media needs an http(s) URL that the reader's app can load, not {self.url!r}; a local file is given as "
            "path=",
        )
        require(
            self.kind in (None, "image", "audio", "video", "file"),
            f"a Media's kind is image, audio, video or file, not {self.kind!r}",
        )
        require_texts(self, "name", "mime_type", "caption")
        if self.data is not None:
            content, name = to_bytes(self.data)
            require(bool(content), "a Media's data is empty; a file has at least one byte")
            object.__setattr__(self, "data", content)
            object.__setattr__(self, "name", self.name or name)
        if self.path is not None:
            require(isinstance(self.path, str | PathLike), f"a Media's path is a path, not {type(self.path).__name__}")
            object.__setattr__(self, "path", PurePath(self.path))
            object.__setattr__(self, "name", self.name or PurePath(self.path).name)

    @property
    def is_local(self) -> bool:
        """True if the bot has the content, which is not stored yet."""
        return not self.url

    def to_text(self) -> str:
        return paragraphs(self.caption, self.name, self.url)


@dataclass(frozen=True, slots=True)
class Button:
    """A button: ``action`` names the handler (default: ``value``, else the label); or ``url`` opens a page.

    ``value`` is passed to the handler (default: the label): a text, or any other JSON value; see :attr:`Context.value`.
    """

    label: str
    action: str = ""
    value: Any = ""
    url: str = ""

    def __post_init__(self) -> None:
        require_texts(self, "label", "action", "url")
        object.__setattr__(self, "value", "" if self.value is None else self.value)
        encode_value(self.value, f"the value of the Button {self.label!r}")
        require(bool(self.label.strip()), "a Button needs a label")
        require(not (self.url and self.action), "a Button has an action or a url, not both")


@dataclass(frozen=True)
class Card(Message, Limited):
    """A card with a title, a text, a picture and buttons.

    ``by``, ``expires`` and ``once`` limit who may press a button, until when, and how often.
    """

    title: str = ""
    text: str = ""
    image: str = ""
    buttons: Sequence[Button] = ()

    def __post_init__(self) -> None:
        require_texts(self, "title", "text", "image")
        require(bool(self.title or self.text or self.image), "a Card needs a title, a text or an image")
        require_sequence(self, "buttons", Button)
        self.check_limits(has_buttons=any(not button.url for button in self.buttons))

    def to_text(self) -> str:
        return paragraphs(*self._parts(1), *_answer_hint(self.offers()))

    def offers(self) -> tuple[QuickReply, ...]:
        return _number_offers(_button_offers(self.buttons))

    def _parts(self, first: int) -> list[str]:
        numbers = count(first)
        buttons = [
            f"{button.label}: {button.url}" if button.url else f"{next(numbers)}. {button.label}"
            for button in self.buttons
            if not button.action.startswith(APPROVAL_ACTION)
        ]
        return [self.title, self.text, self.image, *buttons]


@dataclass(frozen=True)
class Carousel(Message):
    """Several cards side by side. Their buttons are numbered consecutively."""

    cards: Sequence[Card]

    def __post_init__(self) -> None:
        require_sequence(self, "cards", Card)
        require(bool(self.cards), "a Carousel needs at least one Card")

    def to_text(self) -> str:
        parts: list[str] = []
        number = 1
        for card in self.cards:
            parts += card._parts(number)
            number += len(card.offers())
        return paragraphs(*parts, *_answer_hint(self.offers()))

    def offers(self) -> tuple[QuickReply, ...]:
        return _number_offers(offer for card in self.cards for offer in card.offers())


@dataclass(frozen=True)
class Choices(Message, Limited):
    """A question with answers to choose from, each a text or a :class:`Choice`.

    ``action`` names the handler (``@bot.action("colour")``). Without it, each choice's own value, a text, names its
    handler. ``by``, ``expires`` and ``once`` limit who may choose, until when, and how often.
    """

    text: str
    options: Sequence[Choice[Any] | str]
    action: str = ""

    def __post_init__(self) -> None:
        require_texts(self, "text", "action")
        require_sequence(self, "options", Choice, lambda item: Choice(item) if isinstance(item, str) else item)
        _require_values(self)
        require(bool(self.text.strip()), "a Choices needs a question as its text")
        require(bool(self.options), "a Choices needs at least one option")
        self.check_limits(has_buttons=True)

    def to_text(self) -> str:
        options = [f"{offer.number}. {offer.label}" for offer in self.offers()]
        return paragraphs(self.text, *options, *_answer_hint(self.offers()))

    def offers(self) -> tuple[QuickReply, ...]:
        choices = [option for option in self.options if isinstance(option, Choice)]
        return _number_offers(
            QuickReply(item.label, self.action or str(item.value or item.label), encode_value(item.value) or item.label)
            for item in choices
        )


@dataclass(frozen=True)
class Location(Message):
    """A place, in degrees north and east."""

    latitude: float
    longitude: float
    label: str = ""
    address: str = ""

    def __post_init__(self) -> None:
        require_texts(self, "label", "address")
        for degrees in (self.latitude, self.longitude):
            require(isinstance(degrees, int | float), f"a Location's degrees are numbers, not {type(degrees).__name__}")
        require(-90 <= self.latitude <= 90, f"a latitude is between -90 and 90, not {self.latitude}")
        require(-180 <= self.longitude <= 180, f"a longitude is between -180 and 180, not {self.longitude}")

    def to_text(self) -> str:
        place = f"{self.latitude:.6f},{self.longitude:.6f}"
        link = f"https://www.openstreetmap.org/?mlat={self.latitude:.6f}&mlon={self.longitude:.6f}"
        return paragraphs(self.label, self.address, place, link)


@dataclass(frozen=True)
class Form(Message, Limited):
    """A form to fill in, asked with ``ctx.ask(form)``, or sent and handled by ``@bot.action(form.action)``.

    As text, each field is a line such as ``Name: Maria``. ``ctx.ask`` asks field by field where a platform has no
    forms; ``skip`` is then the word that leaves a field out. ``by``, ``expires`` and ``once`` limit who may fill in a
    form that is sent, until when, and how often.
    """

    title: str
    fields: Sequence[Field]
    action: str = ""
    submit: str = "Send"
    skip: str = "Skip"

    HINT: ClassVar[str] = "Answer with these lines filled in."

    def __post_init__(self) -> None:
        require_texts(self, "title", "action", "submit", "skip")
        require_sequence(self, "fields", Field)
        require(bool(self.title.strip()), "a Form needs a title")
        require(bool(self.skip.strip()), "a Form needs a word that leaves out a field: skip")
        require(bool(self.fields), "a Form needs at least one Field")
        names = [item.name for item in self.fields]
        require(len(set(names)) == len(names), f"a Form's fields need different names, not {names}")
        for item in self.fields:
            check_field(item)
            is_taken = item.optional and self.skip.casefold() in [
                option.label.casefold() for option in choices_of(item)
            ]
            what = f"an option of the field {item.name!r} is {self.skip!r}, which leaves it out"
            require(not is_taken, f"{what}; set another word with skip=")
        self.check_limits(has_buttons=True)

    def to_text(self) -> str:
        return paragraphs(self.title, *map(_describe_field, self.fields), self.HINT)


def _check_sent_form(form: Form) -> None:
    require(
        bool(form.action.strip()),
        "a Form that is sent needs an action: the name of the handler that gets the answers. To get them where you "
        "are, call ctx.ask(form)",
    )
    checked = [item.name for item in form.fields if item.validate is not None]
    require(not checked, f"the validate of a Field works in ctx.ask(form) only, so {checked} of this form need none")


def _describe_field(item: Field) -> str:
    """Return the line of a form in which a field is filled in: ``Size: (one of S / L, optional)``."""
    labels = " / ".join(option.label for option in choices_of(item))
    few = {"select": "one of ", "multi_select": "any of "}.get(item.kind, "")
    expected = few + labels if few else describe_value(item)
    note = ", ".join(filter(None, (expected, "optional" if item.optional else "")))
    return f"{label_of(item)}:" + (f" ({note})" if note else "")


@dataclass(frozen=True)
class Custom(Message):
    """A message of the platform's own format: ``type`` and ``data`` are passed on unchanged.

    ``text`` is shown on other platforms.
    """

    type: str
    data: Mapping[str, Any]
    text: str = ""

    def __post_init__(self) -> None:
        require_texts(self, "type", "text")
        require(bool(self.type.strip()), "a Custom needs a type")
        require(isinstance(self.data, Mapping), "a Custom's data is a mapping")

    def to_text(self) -> str:
        return self.text or f"[{self.type}]"


@dataclass(frozen=True)
class ClientCall(Message):
    """A call of a tool of the client's. ``ctx.call`` sends it, and waits for the result.

    ``id`` names the call: it is that of its dialog and step.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""

    def __post_init__(self) -> None:
        require_texts(self, "name", "id")
        require(bool(self.name.strip()), "a ClientCall needs the name of a tool")
        require(isinstance(self.arguments, Mapping), "a ClientCall's arguments are a mapping")

    def to_text(self) -> str:
        return f"[{self.name} {json.dumps(dict(self.arguments), ensure_ascii=False)}]"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The capabilities of a channel. Messages beyond them are sent as text.

    ``native`` are the message classes that the channel renders natively. ``text_limit`` is the longest text in UTF-8
    bytes. ``stream_interval`` is the seconds between two edits of a streamed message (None: a stream is sent as one
    message). With ``deltas``, the channel shows a stream piece by piece before the message exists, at that interval.
    With ``look_up``, it can find out afterwards if a message arrived. With ``groups``, a conversation can have several
    users; without ``group_forms``, forms are texts there, because nobody could tell who has submitted one. With
    ``edit``, messages can be edited, except those of the native classes in ``uneditable``. With ``status``, it shows
    for a moment what a handler is doing (``ctx.status``). With ``tool_calls``, it shows which tools an agent calls.
    With ``members``, it lists the members of a group with their scopes. With ``moderate``, the bot can remove members
    and delete their messages, with ``ban`` also ban them.
    """

    native: frozenset[type[Message]] = frozenset({Text})
    text_limit: int = 4000
    edit: bool = False
    delete: bool = False
    react: bool = False
    threads: bool = False
    history: bool = False
    look_up: bool = False
    stream_interval: float | None = None
    deltas: bool = False
    groups: bool = True
    group_forms: bool = True
    uneditable: frozenset[type[Message]] = frozenset()
    status: bool = False
    tool_calls: bool = False
    members: bool = False
    moderate: bool = False
    ban: bool = False

    def can_edit(self, message: Message | None) -> bool:
        """Return True if ``message`` can be edited once it is sent."""
        kind = type(message)
        return self.edit and not (kind in self.native and kind in self.uneditable)

    def without_streams(self) -> Capabilities:
        """Return these capabilities with a stream sent as one message, and without what is shown for a moment."""
        return replace(self, stream_interval=None, deltas=False, status=False, tool_calls=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One operation of a bot on a platform: send, edit or delete a message, react to one, or moderate a member.

    ``target`` is the ordinal of the event's own earlier operation that an edit, a deletion or a reaction refers to;
    ``target_event`` names the event (``m12.0``) if it was said for an earlier one of the same dialog.
    ``message_id`` is the platform's id of any other message. ``user`` is the uid of the member whom ``kick``, ``ban``
    and ``unban`` are about. ``reply_to`` is the id of the message that this one answers, empty if there is none.
    ``stream_id`` names the stream whose pieces were shown before, empty if none were. ``is_growing`` announces that
    edits which continue the text follow soon, and ``mark`` is what the message becomes if none follows. ``ending`` is
    set for the text of a stream that was broken off: its end, which says so, behind a text that may be shorter than
    what was shown. ``is_beside`` is set if it answers an event beside the one that is being handled. ``approval`` is
    what storing the operation changes among the approvals that wait in its conversation (:mod:`cometbot.approvals`).

    Lone surrogates in any text become U+FFFD. Raises :class:`MessageError` for a message with more than
    :data:`MAX_MESSAGE_LENGTH` characters.
    """

    conversation: Conversation
    kind: Literal["send", "edit", "delete", "react", "kick", "ban", "unban"] = "send"
    message: Message | None = None
    thread_id: str = ""
    quote_id: str = ""
    reply_to: str = ""
    target: int | None = None
    target_event: str = ""
    message_id: str = ""
    reaction: str = ""
    user: str = ""
    stream_id: str = ""
    is_growing: bool = False
    mark: Message | None = None
    ending: str | None = None
    is_beside: bool = False
    approval: Mapping[str, Any] | None = None

    @property
    def is_dropped(self) -> bool:
        """True if outgoing middleware dropped the message: the operation takes an ordinal, and does nothing."""
        return self.message is None and self.kind in ("send", "edit")

    def __post_init__(self) -> None:
        if isinstance(self.message, Form):
            _check_sent_form(self.message)
        texts = find_texts(self.message)
        check_length(sum(map(len, texts)))
        if not all(map(str.isascii, texts)):
            object.__setattr__(self, "message", replace_surrogates(self.message))
        if self.reaction:
            object.__setattr__(self, "reaction", replace_surrogates(self.reaction))


MESSAGE_CLASSES: tuple[type[Message], ...] = (Text, Media, Card, Carousel, Choices, Location, Form, Custom)
"""The classes of messages that a bot can send. A :class:`ClientCall` is sent by ``ctx.call`` alone."""


def check_length(length: int) -> None:
    """Raise :class:`MessageError` if a message has too many characters."""
    if length > MAX_MESSAGE_LENGTH:
        raise MessageError(
            f"a message has at most {MAX_MESSAGE_LENGTH} characters, this one has {length}; send it as a file, or in "
            "parts"
        )


def to_messages(answer: object) -> list[Message]:
    """Return the messages in a handler's return value: None, a str, a message, or a list or tuple of these.

    Raises :class:`MessageError` with the type of anything else.
    """
    if answer is None:
        return []
    if isinstance(answer, str):
        return [Text(answer)] if answer.strip() else []
    if isinstance(answer, ClientCall):
        raise MessageError(f"a call of the client's tool {answer.name} is sent by ctx.call, which waits for its result")
    if isinstance(answer, Message):
        return [answer]
    if isinstance(answer, list | tuple):
        return [message for part in answer for message in to_messages(part)]
    raise MessageError(
        f"a handler returns a str, a message such as Card, a list of these, or None; not {type(answer).__name__}"
    )


def is_web_url(url: object) -> bool:
    """Return True for an http(s) URL."""
    return isinstance(url, str) and url.startswith(("https://", "http://"))


def _require_values(message: Choices) -> None:
    """Check the values of the choices. None becomes an empty text."""
    choices = [item for item in message.options if isinstance(item, Choice)]
    for choice in choices:
        encode_value(choice.value, f"the value of the Choice {choice.label!r}")
        is_text = choice.value is None or isinstance(choice.value, str)
        require(
            is_text or bool(message.action),
            f"a Choices whose values are no texts needs an action, the name of its handler; {choice.label!r} has "
            f"{choice.value!r}",
        )
    texts = tuple(replace(item, value="") if item.value is None else item for item in choices)
    object.__setattr__(message, "options", texts)


def _button_offers(buttons: Sequence[Button]) -> Iterator[QuickReply]:
    for button in buttons:
        if not button.url:
            text = button.value if isinstance(button.value, str) else ""
            value = encode_value(button.value) or button.label
            yield QuickReply(button.label, button.action or text or button.label, value)


def _number_offers(offers: Iterator[QuickReply] | Sequence[QuickReply]) -> tuple[QuickReply, ...]:
    return tuple(QuickReply(o.label, o.name, o.value, number) for number, o in enumerate(offers, start=1))


def remove_answer_hint(text: str) -> str:
    """Return ``text`` without the last line of :meth:`Message.to_text` that explains how to answer."""
    body, _, last = text.rstrip().rpartition("\n")
    line = last.strip("_* ")
    is_hint = line == Form.HINT or (line.startswith("Answer ") and line.endswith(_ANSWER_HINT_END))
    return body.rstrip() if is_hint and body else text


def _answer_hint(offers: Sequence[QuickReply]) -> list[str]:
    if written := [f"“{offer.value}”" for offer in offers if offer.name.startswith(APPROVAL_ACTION)]:
        return [f"Write {' or '.join(written)}."]
    return [f"Answer {offers[-1].number} for “{offers[-1].label}{_ANSWER_HINT_END}"] if offers else []


def paragraphs(*parts: str) -> str:
    """Return the parts of a text that are not empty, with a blank line between them."""
    return "\n\n".join(part for part in parts if part)
