"""The fake platform for tests, with its users."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from cometbot.action_values import encode_value
from cometbot.bot import Bot
from cometbot.channels.base import IncomingEvent
from cometbot.content_types import media_family
from cometbot.delivery import Delivery
from cometbot.errors import OutcomeUnknown, RateLimited, Rejected, Unreachable
from cometbot.events import (
    ConversationStarted,
    DeleteEvent,
    EditEvent,
    Event,
    GroupStarted,
    MembershipEvent,
    MessageEvent,
    ReactionEvent,
)
from cometbot.messages import Capabilities, ClientCall, Form, QuickReply
from cometbot.models import Attachment, Group, User
from cometbot.questions import ACTION_PREFIX
from cometbot.testing.fake_channel import EVERYTHING, FakeChannel, decode
from cometbot.testing.fake_channel import ChannelFault as ChannelFault
from cometbot.testing.fakes.base import Actor, Fake, Fault, ShownRequest, UserMessage, already_member
from cometbot.testing.replies import SentMessage


class MemoryFake(Fake):
    """A platform in memory that supports everything, or what ``capabilities`` say."""

    def __init__(self, bot: Bot, capabilities: Capabilities = EVERYTHING) -> None:
        super().__init__(bot)
        self._channel = FakeChannel(capabilities)
        self.files = self._channel.files
        self._delivery: Delivery | None = None
        self._last: IncomingEvent | None = None
        self._members: set[tuple[str, str]] = set()

    @property
    def channel(self) -> FakeChannel:
        return self._channel

    def attach(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._channel.clock = delivery.database.clock

    def send(self, actor: Actor, message: UserMessage) -> str:
        message_id = self._channel.new_id()
        own = self.bot.ids[0]
        offered = {"client_tools": [asdict(tool) for tool in message.client_tools]} if message.client_tools else {}
        self._deliver(
            actor,
            f"<@uid:{own}> {message.text}" if message.mention else message.text,
            id=message_id,
            type=_message_type(message.attachments),
            thread_id=message.thread_id,
            quote=message.quote_id,
            mentions=[own] if message.mention else [],
            attachments=[asdict(item) for item in message.attachments],
            **offered,
        )
        return message_id

    @classmethod
    def read_request(cls, payload: Mapping[str, Any]) -> ShownRequest | None:
        return ShownRequest.of(decode(payload["message"])) if payload.get("message") else None

    def reactions(self, message_id: str) -> list[str]:
        return list(self._channel.reactions.get(message_id, ()))

    def press(self, actor: Actor, said: SentMessage, offer: QuickReply) -> None:
        self._act(actor, offer.label, said, action=offer.name, value=offer.value)

    def submit(self, actor: Actor, said: SentMessage, values: Mapping[str, str]) -> None:
        assert isinstance(said.message, Form)
        lines = "\n".join(f"{name}: {value}" for name, value in values.items())
        self._act(actor, lines, said, action=said.message.action, values=dict(values))

    def answer_call(self, actor: Actor, call: ClientCall, content: str) -> None:
        self._deliver(actor, action=f"{ACTION_PREFIX}{call.id}", value=encode_value(content))

    def edit(self, actor: Actor, message_id: str, text: str) -> None:
        message = self._event(MessageEvent, actor, key=f"message:{message_id}", id=message_id, text=text)
        self._channel.add_to_history(message)
        self.deliver(self._event(EditEvent, actor, message=message))

    def delete(self, actor: Actor, message_id: str) -> None:
        self._channel.remove_from_history(message_id)
        self.deliver(self._event(DeleteEvent, actor, key=f"delete:{message_id}", message_id=message_id))

    def react(self, actor: Actor, message_id: str, reaction: str, *, added: bool = True) -> None:
        self.deliver(self._event(ReactionEvent, actor, message_id=message_id, reaction=reaction, added=added))

    def start(self, actor: Actor) -> None:
        key = f"started:{self.conversation(actor).id}"
        if actor.group:
            self.deliver(self._event(GroupStarted, actor, key=key, action="added", members=(User(self.bot.ids[0]),)))
        else:
            self.deliver(self._event(ConversationStarted, actor, key=key))

    def join(self, actor: Actor) -> None:
        member = (actor.group, actor.user.uid)
        if member in self._members and member not in self._channel.former_members:
            raise already_member(actor)
        self._add_member(actor)
        self.deliver(self._event(MembershipEvent, actor, action="joined", members=(actor.user,)))

    def leave(self, actor: Actor) -> None:
        member = (actor.group, actor.user.uid)
        self._members.discard(member)
        self._channel.former_members.add(member)
        self.deliver(self._event(MembershipEvent, actor, action="left", members=(actor.user,)))

    def set_scope(self, actor: Actor, scope: str) -> None:
        self._add_member(actor)
        self._channel.scopes[(actor.group, actor.user.uid)] = scope

    def set_bot_scope(self, group: str, scope: str) -> None:
        self._channel.bot_scopes[group] = scope

    def _add_member(self, actor: Actor) -> None:
        member = (actor.group, actor.user.uid)
        self._channel.add_member(actor.group, actor.user)
        self._members.add(member)

    def deliver(self, event: Event) -> None:
        self._enqueue(self._channel.incoming_event(event))

    def repeat(self) -> None:
        if self._last is not None:
            self._enqueue(self._last)

    def misbehave(self, *faults: Fault) -> None:
        made: dict[Fault, ChannelFault] = {
            "rate_limited": RateLimited("slow down", retry_after=1.0),
            "failed": OutcomeUnknown("500", status=500),
            "failed_after_acting": self._channel.lose_answer(OutcomeUnknown("500", status=500)),
            "unreachable": Unreachable("the connection was refused"),
            "refused": Rejected("no", code="ERR_REFUSED", status=403),
        }
        self._channel.faults += [made[fault] for fault in faults]

    def said(self) -> list[SentMessage]:
        return self._channel.said

    def _act(self, actor: Actor, shown: str, said: SentMessage, **action: Any) -> None:
        """Deliver an action. In the history, it is the message ``shown``, as on most platforms."""
        id, thread = self._channel.new_id(), said.thread_id
        shown_as = self._event(MessageEvent, actor, key=f"action:{id}", id=id, text=shown, thread_id=thread)
        self._channel.add_to_history(shown_as)
        self._deliver(actor, id=id, message_id=said.id, thread_id=thread, **action)

    def _deliver(self, actor: Actor, text: str = "", **more: Any) -> None:
        self._add_member(actor)
        name = {"name": actor.user.name} if actor.user.name else {}
        uid, sent_at = actor.user.uid, self._now()
        self._enqueue(
            self._channel.incoming(self.bot, text, user=uid, group=actor.group, sent_at=sent_at, **name, **more)
        )

    def _enqueue(self, incoming: IncomingEvent) -> None:
        self._last = incoming
        if self._delivery is not None:
            self._delivery.enqueue(incoming)

    def _event(self, kind: type[Any], actor: Actor, *, key: str = "", **fields: Any) -> Any:
        return kind(
            key=key or f"{kind.__name__}:{self._channel.new_id()}",
            conversation=self.conversation(actor),
            sender=actor.user,
            group=Group(actor.group) if actor.group else None,
            sent_at=self._now(),
            **fields,
        )

    def _now(self) -> float:
        return self._delivery.database.clock() if self._delivery is not None else time.time()


def _message_type(attachments: Sequence[Attachment]) -> str:
    """Return the type of a message by its first attachment."""
    return media_family(attachments[0].mime_type) if attachments else "text"
