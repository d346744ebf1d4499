"""A fake for SimpleX: the fake CLI and its users, used by the real channel over a real WebSocket."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cometbot.bot import Bot
from cometbot.channels.simplex.channel import SimplexChannel
from cometbot.channels.simplex.ids import get_member_uid
from cometbot.channels.simplex.protocol import ChatRef, Record
from cometbot.channels.simplex.schemas import read_field
from cometbot.channels.simplex.service import SimplexService
from cometbot.channels.simplex.socket_session import Timing
from cometbot.delivery import Delivery
from cometbot.errors import BotError
from cometbot.messages import Custom, Media, MediaKind, Message, Text
from cometbot.models import User
from cometbot.settings import Settings
from cometbot.temporary_folders import TemporaryFolder
from cometbot.testing.fakes.base import Actor, Fake, Fault, ShownRequest, UserMessage, already_member
from cometbot.testing.replies import SentMessage
from cometbot.testing.simplex.cli import FakeSimplexCLI
from cometbot.testing.simplex.people import FakeGroup, Line, Person
from cometbot.testing.simplex.server import CliFault as CliFault
from cometbot.testing.simplex.web import MadeUpWeb

_MARKER_TYPE = "cometbotMark"
_IDLE_TIMEOUT = 20.0
_FILES: dict[str, MediaKind] = {"image": "image", "video": "video", "voice": "audio", "file": "file"}
_FAULTS: dict[Fault, CliFault] = {
    "rate_limited": "busy",
    "failed": "network",
    "failed_after_acting": "drop_after",
    "unreachable": "drop",
    "refused": "refuse",
}


class SimplexFake(Fake):
    """A fake CLI in this process, and the channel that is connected to it.

    Users are connected and groups created on first use. The CLI assigns ids: see :meth:`uid` and :meth:`guid`. The bot
    receives all messages of its groups unless ``settings`` say otherwise. ``cli`` may be used directly; ``web``
    provides the files that the bot sends by URL.
    """

    def __init__(self, bot: Bot, **settings: Any) -> None:
        super().__init__(bot)
        self._folder = TemporaryFolder("simplex")
        self.cli = FakeSimplexCLI(display_name=bot.name)
        self.cli.start()
        given = {"simplex_group_messages": "all", "data": self._folder.path, **settings}
        self.web = MadeUpWeb()
        self.service = _MarkerService(Settings(simplex_url=self.cli.url, **given), bot, self.web)
        self._people: dict[str, Person] = {}
        self._groups: dict[str, FakeGroup] = {}
        self._member_uids: dict[tuple[str, str], str] = {}
        self._marker = 0

    @property
    def channel(self) -> SimplexChannel:
        return self.service.channel

    def attach(self, delivery: Delivery) -> None:
        self.service.open(delivery)
        if not self.service.connection.wait_ready(_IDLE_TIMEOUT):
            raise BotError(f"cannot reach the fake CLI: {self.service.connection.status.error}")

    def person(self, user: User) -> Person:
        """Return the person for a user, connected with the bot."""
        if user.uid not in self._people:
            self._people[user.uid] = self.cli.connect(_name(user))
        return self._people[user.uid]

    def group(self, name: str) -> FakeGroup:
        """Return the group, with the bot in it."""
        if name not in self._groups:
            self._groups[name] = self.cli.add_group(name)
        return self._groups[name]

    def read_file(self, said: SentMessage) -> bytes | None:
        found = [line for line in self.cli.said() if str(line.item_id) == said.id]
        return self.cli.file_of(found[0]) if found and found[0].file_path else None

    def uid(self, user: User, group: str = "") -> str:
        known = self._member_uids.get((group, user.uid))
        return known or str(self.person(user).contact_id)

    def guid(self, group: str) -> str:
        return str(self.group(group).group_id)

    def send(self, actor: Actor, message: UserMessage) -> str:
        quoted = int(message.quote_id) if message.quote_id else None
        file = None
        if message.attachments:
            first = message.attachments[0]
            file = (first.name, self.files.get(first.url, b""))
        if actor.group:
            self._ensure_member(actor)
            group, name = self.group(actor.group), _name(actor.user)
            return str(group.say(name, message.text, mention=message.mention, quote_id=quoted, file=file))
        return str(self.person(actor.user).say(message.text, quote_id=quoted, file=file))

    @classmethod
    def read_request(cls, payload: Mapping[str, Any]) -> ShownRequest | None:
        if "content" not in payload or "media" in payload or "file" in payload:
            return None
        return ShownRequest(Text(payload["content"]["text"]))

    def start(self, actor: Actor) -> None:
        """Connect the user, or let the bot join a group that the user owns."""
        person = self.person(actor.user)
        if actor.group and actor.group not in self._groups:
            self._groups[actor.group] = self.cli.add_group(actor.group, [person])

    def edit(self, actor: Actor, message_id: str, text: str) -> None:
        self.cli.do("edit", chat=self._chat(actor), item_id=int(message_id), text=text)

    def delete(self, actor: Actor, message_id: str) -> None:
        self.cli.do("delete", chat=self._chat(actor), item_id=int(message_id))

    def react(self, actor: Actor, message_id: str, reaction: str, *, added: bool = True) -> None:
        name = _name(actor.user)
        self.cli.do("react", chat=self._chat(actor), item_id=int(message_id), emoji=reaction, name=name, added=added)

    def join(self, actor: Actor) -> None:
        if self._is_member(actor):
            raise already_member(actor)
        self._ensure_member(actor, silently=False)

    def leave(self, actor: Actor) -> None:
        self._ensure_member(actor)
        self.group(actor.group).leave(_name(actor.user))

    def set_scope(self, actor: Actor, scope: str) -> None:
        self._ensure_member(actor)
        self.cli.do("give_role", chat=self.group(actor.group).chat, name=_name(actor.user), role=_to_role(scope))

    def set_bot_scope(self, group: str, scope: str) -> None:
        self.cli.do("give_role", chat=self.group(group).chat, name="", role=_to_role(scope))

    def reactions(self, message_id: str) -> list[str]:
        found = [line.reactions for line in self.cli.lines() if line.item_id == int(message_id)]
        return list(found[0]) if found else []

    def repeat(self) -> None:
        events = [record for is_answer, record in self.cli.server.records if not is_answer]
        messages = [record for record in events if record["type"] == "newChatItems"]
        if messages:
            self.cli.emit(messages[-1])

    def misbehave(self, *faults: Fault) -> None:
        for fault in faults:
            self.cli.misbehave(_FAULTS[fault], on="/_send")

    def said(self) -> list[SentMessage]:
        versions = self._versions()
        return [self._to_sent_message(line, versions[line.item_id]) for line in self.cli.said()]

    def wait_idle(self) -> None:
        """Send a marker event behind all others and wait until it is handled; send it again if a connection broke."""
        self._marker += 1
        ends_at = time.monotonic() + _IDLE_TIMEOUT
        while True:
            self.service.connection.wait_ready(_IDLE_TIMEOUT)
            self.cli.emit({"type": _MARKER_TYPE, "number": self._marker})
            if self.service.wait_for_marker(self._marker, 1.0):
                return
            assert time.monotonic() < ends_at, "the fake CLI's events were not handled in time"

    def close(self) -> None:
        self.cli.close()
        self._folder.close()

    def _ensure_member(self, actor: Actor, *, silently: bool = True) -> None:
        """Make the user a member of the group if necessary."""
        group, who = self.group(actor.group), (actor.group, actor.user.uid)
        if self._is_member(actor):
            return
        number = group.join(_name(actor.user), silently=silently)
        state = self.cli.handlers.state
        with state.lock:
            member = read_field(Record("", {"member": state.member(group.group_id, number)}), "member")
        self._member_uids[who] = get_member_uid(member)

    def _is_member(self, actor: Actor) -> bool:
        return bool(self.cli.do("role_of", chat=self.group(actor.group).chat, name=_name(actor.user)))

    def _chat(self, actor: Actor) -> str:
        return self.group(actor.group).chat if actor.group else self.person(actor.user).chat

    def _versions(self) -> dict[int, list[str]]:
        """Return all texts that each message of the bot has shown."""
        shown: dict[int, list[str]] = defaultdict(list)
        for is_answer, record in self.cli.server.records:
            if is_answer and record["type"] in ("newChatItems", "chatItemUpdated"):
                for whole in record.get("chatItems") or [record["chatItem"]]:
                    item = whole["chatItem"]
                    shown[item["meta"]["itemId"]].append(item["content"]["msgContent"].get("text", ""))
        return shown

    def _to_sent_message(self, line: Line, versions: Sequence[str]) -> SentMessage:
        ref = ChatRef.from_text(line.chat)
        name = str(ref)[1:]
        here = self.channel.conversation(self.bot, **({"user": name} if ref.kind == "direct" else {"group": name}))
        return SentMessage(
            str(line.item_id),
            here,
            self._to_message(line),
            quote_id=str(line.quote_id or ""),
            reactions=line.reactions,
            versions=tuple(versions),
        )

    def _to_message(self, line: Line) -> Message:
        kind = line.content.get("type", "")
        if kind not in _FILES or not line.file_path:
            return Text(line.text)
        url = self.web.address_of(line.file_path)
        if url:
            return Media(url, _FILES[kind], name=Path(line.file_path).name, caption=line.text)
        return Custom(kind, {"path": line.file_path}, line.text)


class _MarkerService(SimplexService):
    """Records which markers were handled, and thereby that all earlier events were."""

    def __init__(self, settings: Settings, bot: Bot, web: MadeUpWeb) -> None:
        self._changed = threading.Condition()
        self._last_marker = 0
        super().__init__(settings, bot, fetcher=web, timing=Timing(initial_backoff=0.05, max_backoff=0.2))

    def handle_event(self, record: Record) -> None:
        super().handle_event(record)
        if record.type == _MARKER_TYPE:
            with self._changed:
                self._last_marker = max(self._last_marker, record.raw["number"])
                self._changed.notify_all()

    def wait_for_marker(self, mark: int, timeout: float) -> bool:
        """Wait for a marker and return True if it was handled."""
        with self._changed:
            return self._changed.wait_for(lambda: self._last_marker >= mark, timeout)


def _to_role(scope: str) -> str:
    return "member" if scope == "participant" else scope


def _name(user: User) -> str:
    return user.name or user.uid
