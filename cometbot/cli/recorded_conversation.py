"""The parts of a stored conversation: its events, its users under other names, and what the bot showed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from cometbot.bot import Bot
from cometbot.channels.base import Channel, IncomingEvent
from cometbot.errors import CometbotError
from cometbot.events import ActionEvent, Event, MessageEvent
from cometbot.field_values import choices_of, option_value
from cometbot.file_links import find_file_url
from cometbot.inspection.stored_conversations import Exchange, StoredReply
from cometbot.inspection.stored_messages import StoredMessage
from cometbot.messages import APPROVAL_ACTION, ClientCall, Form, QuickReply
from cometbot.models import User
from cometbot.steps import ELAPSED, TIMEOUT
from cometbot.store.dialogs import INTERNAL_PREFIX
from cometbot.testing.fakes.base import Fake
from cometbot.testing.replies import Replies, SentMessage

_MENTION = re.compile(r"<@uid:([^<>]+)>")
_DECISION = re.compile(r"(?:^|> ?)(approve|decline) #?\d+[ .!]*$", re.IGNORECASE)
_APPROVAL_HINT = re.compile(r"“(?:approve|decline) \d+”")
_SENDS = ("send", "thread", "say")
_TIMER = re.compile(rf"{INTERNAL_PREFIX}(?:{ELAPSED}|{TIMEOUT}):.*\.(\d+\.\d{{3}})")


@dataclass(frozen=True, slots=True)
class Recorded:
    """A stored message with its event; ``event`` is None if it cannot be read, and ``problem`` says why."""

    exchange: Exchange
    event: Event | None = None
    problem: str = ""

    @property
    def message(self) -> StoredMessage:
        """The stored message."""
        return self.exchange.message

    @property
    def is_internal(self) -> bool:
        """True if nobody sent it: cometbot let a dialog go on."""
        return self.message.event.startswith(INTERNAL_PREFIX)

    @property
    def due_at(self) -> float | None:
        """The time of the timer that let a dialog go on, None if it was none."""
        found = _TIMER.fullmatch(self.message.event)
        return float(found[1]) if found else None


def read_events(exchanges: Iterable[Exchange], channel: Channel, bot: Bot) -> list[Recorded]:
    """Return the messages with their events, without what the bot itself said."""
    own = {uid.casefold() for uid in bot.ids}
    recorded: list[Recorded] = []
    for exchange in exchanges:
        item = _read(exchange, channel)
        if item.event is not None and item.event.sender.uid.casefold() in own:
            continue
        if recorded and item.is_internal and item.due_at is None and is_decision(recorded[-1].event):
            recorded[-1] = _with_replies(recorded[-1], exchange.replies)
        else:
            recorded.append(item)
    return recorded


def is_decision(event: Event | None) -> bool:
    """Return True for an event that decides about an approval: its handler then goes on, in a message of its own."""
    if isinstance(event, ActionEvent):
        return event.name.startswith(APPROVAL_ACTION)
    return isinstance(event, MessageEvent) and find_decision(event.text) != ""


def find_decision(text: str) -> str:
    """Return the label of the button of an approval that ``text`` stands for, empty for other texts."""
    found = _DECISION.search(text)
    return found[1].capitalize() if found else ""


def _with_replies(recorded: Recorded, more: tuple[StoredReply, ...]) -> Recorded:
    exchange = recorded.exchange
    return replace(recorded, exchange=replace(exchange, replies=(*exchange.replies, *more)))


def _read(exchange: Exchange, channel: Channel) -> Recorded:
    message = exchange.message
    if not message.body:
        return Recorded(exchange, problem="its content was erased")
    if message.event.startswith(INTERNAL_PREFIX):
        return Recorded(exchange)
    incoming = IncomingEvent(
        message.conversation, message.event, message.body, message.sender, received_at=message.received_at
    )
    try:
        return Recorded(exchange, channel.parse(incoming))
    except CometbotError as error:
        return Recorded(exchange, problem=str(error))


class Users:
    """The users of a conversation, who are called ``user-1``, ``user-2`` … unless ``keeps_names`` is set."""

    def __init__(self, recorded: Iterable[Recorded], *, keeps_names: bool) -> None:
        self._keeps_names = keeps_names
        events = [item.event for item in recorded if item.event is not None]
        self._users = {event.sender.uid: event.sender for event in events}
        self._stand_ins = {uid: f"user-{number}" for number, uid in enumerate(self._users, start=1)}
        written = "\n".join(event.text for event in events if isinstance(event, MessageEvent))
        self._names = {} if keeps_names else dict(self._find_names(written))

    def __iter__(self) -> Iterator[str]:
        return iter(self._users)

    def number(self, uid: str) -> int:
        """Return the number of a user, from 1."""
        return list(self._users).index(uid) + 1

    def to_user(self, uid: str) -> User:
        """Return the user as the test calls them. Their name is that which ``BotClient`` gives to a mere uid."""
        if self._keeps_names:
            return User(uid, self._users[uid].name)
        stand_in = self._stand_ins[uid]
        return User(stand_in, stand_in.title())

    def replace_mentions(self, text: str) -> str:
        """Return a text with the stand-ins of the users that it mentions."""
        if self._keeps_names:
            return text
        return _MENTION.sub(lambda found: f"<@uid:{self._stand_ins.get(found[1], found[1])}>", text)

    def replace_names(self, text: str) -> str:
        """Return a text of the bot with the stand-ins of the users that it names."""
        text = self.replace_mentions(text)
        for name, stand_in in self._names.items():
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", stand_in, text)
        return text

    def _find_names(self, written: str) -> Iterator[tuple[str, str]]:
        """Yield the names to replace: not those that users wrote themselves, since their texts stay as they are."""
        for uid, stand_in in self._stand_ins.items():
            for name, other in ((self._users[uid].name, stand_in.title()), (uid, stand_in)):
                if name and not name.isdecimal() and name not in written:
                    yield name, other


@dataclass(frozen=True, slots=True)
class ShownReply:
    """A message of the bot. ``sent`` is None if it is not known what users saw.

    ``about`` says what it was then, or if it has an address that no other run has.
    """

    row: StoredReply
    sent: SentMessage | None
    offers: tuple[QuickReply, ...] = ()
    about: str = ""

    @property
    def text(self) -> str | None:
        """The text that users saw, None if it is not known or not the same in another run."""
        if self.sent is None or self.about or _APPROVAL_HINT.search(self.sent.text):
            return None
        return self.sent.text

    @property
    def asks_for_approval(self) -> bool:
        """True for the card of an approval."""
        has_buttons = any(offer.name.startswith(APPROVAL_ACTION) or find_decision(offer.value) for offer in self.offers)
        return has_buttons or (self.sent is not None and _APPROVAL_HINT.search(self.sent.text) is not None)


@dataclass(slots=True)
class Shown:
    """The messages and changes that the bot showed for one message.

    ``edits`` are the new texts of earlier messages, ``reactions`` those to the message of the platform's id.
    ``deleted`` are the ids of messages that the bot has deleted as a moderator, ``removed`` the uids of users whom it
    has removed or banned; ``moderates`` is true if it has done anything of that.
    """

    replies: list[ShownReply] = field(default_factory=list)
    edits: list[str] = field(default_factory=list)
    reactions: list[tuple[str, str]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    moderates: bool = False
    elsewhere: int = 0

    def to_replies(self) -> Replies:
        """Return the messages as a test gets them, without those that are not known."""
        return Replies(reply.sent for reply in self.replies if reply.sent is not None)


class Screen:
    """The bot's messages of a conversation as users saw them, read with the ``fake`` of its channel."""

    def __init__(self, fake: type[Fake]) -> None:
        self._fake = fake
        self._all: list[ShownReply] = []

    def show(self, exchange: Exchange) -> Shown:
        """Carry out the requests that answered a message, and return what users saw."""
        shown = Shown(elsewhere=len({row.ordinal for row in exchange.replies if row.is_elsewhere}))
        for row in exchange.replies:
            if not row.is_elsewhere:
                self._carry_out(row, exchange.message, shown)
        self._all += shown.replies
        return shown

    def find_offer(self, name: str, value: str, message_id: str) -> QuickReply | None:
        """Return the button or choice with this action and value, of the newest message that has it."""
        for reply in reversed(self._all):
            for offer in reply.offers:
                is_here = message_id in ("", reply.row.platform_id)
                if is_here and (offer.name, offer.value) == (name, value):
                    return offer
        return None

    @property
    def calls(self) -> list[ClientCall]:
        """The calls of the client's tools, in order."""
        messages = (reply.sent.message for reply in self._all if reply.sent is not None)
        return [message for message in messages if isinstance(message, ClientCall)]

    def find_fields(self) -> dict[str, list[str]] | None:
        """Return the fields of the newest form, each with the options of which several may be chosen."""
        for reply in reversed(self._all):
            if reply.sent is not None and isinstance(reply.sent.message, Form):
                fields = reply.sent.message.fields
                return {
                    item.name: [option_value(option) for option in choices_of(item)]
                    if item.kind == "multi_select"
                    else []
                    for item in fields
                }
        return None

    @property
    def has_approval(self) -> bool:
        """True if the bot has asked here for an approval."""
        return any(reply.asks_for_approval for reply in self._all)

    def is_last(self, platform_id: str) -> bool:
        """Return True if this is the bot's newest message."""
        return bool(self._all) and self._all[-1].row.platform_id == platform_id

    def _carry_out(self, row: StoredReply, message: StoredMessage, shown: Shown) -> None:
        operation = row.payload.get("op")
        if not row.payload:
            shown.replies.append(ShownReply(row, None, about="a message whose content was erased"))
        elif operation in _SENDS:
            shown.replies.append(self._read(row, message))
        elif operation == "react":
            emoji = row.payload.get("reaction") or row.payload.get("emoji")
            shown.reactions.append((_get_target_id(row), str(emoji)))
        elif operation in ("kick", "ban", "unban", "remove"):
            shown.moderates = True
            shown.removed += [str(row.payload["user"])] if operation != "unban" else []
        elif operation == "moderate":
            shown.moderates = True
            shown.deleted.append(_get_target_id(row))
        elif operation in ("edit", "delete"):
            self._change(row, message, shown)

    def _change(self, row: StoredReply, message: StoredMessage, shown: Shown) -> None:
        place = next((index for index, reply in enumerate(shown.replies) if _is_target(row, reply.row)), None)
        changed = self._read(row, message)
        if place is None:
            if row.payload["op"] == "edit" and changed.text is not None:
                shown.edits.append(changed.text)
            elif row.payload["op"] == "delete" and row.target is None:
                shown.moderates = True
                shown.deleted.append(_get_target_id(row))
        elif row.payload["op"] == "delete":
            del shown.replies[place]
        else:
            shown.replies[place] = replace(changed, row=shown.replies[place].row)

    def _read(self, row: StoredReply, message: StoredMessage) -> ShownReply:
        found = self._fake.read_request(row.payload)
        if found is None:
            media = row.payload.get("media") or {}
            name = media.get("name") or media.get("url") or row.payload.get("file", "unknown")
            return ShownReply(row, None, about=f"a file: {name}")
        sent = SentMessage(row.platform_id, message.conversation, found.message)
        url = find_file_url(sent.text)
        about = f"a file of the bot: {url.rpartition('/')[2]}" if url else ""
        return ShownReply(row, sent, found.offers, about)


def strip_mention(text: str, own_ids: Sequence[str]) -> tuple[str, bool]:
    """Return a text without a mention of the bot at its beginning, and whether there was one."""
    found = _MENTION.match(text)
    if found is None or found[1].casefold() not in {uid.casefold() for uid in own_ids}:
        return text, False
    return text[found.end() :].removeprefix(" "), True


def _get_target_id(row: StoredReply) -> str:
    return str(row.payload.get("message") or row.payload.get("item") or row.payload.get("message_id") or "")


def _is_target(row: StoredReply, of: StoredReply) -> bool:
    if row.target is None:
        return bool(of.platform_id) and of.platform_id == _get_target_id(row)
    return (row.target_event or row.event, row.target, 0) == (of.event, of.ordinal, of.part)
