"""A fake for CometChat: the simulator and its users, used by the real channel."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import orjson
from werkzeug.test import Client, TestResponse

from cometbot import simulator
from cometbot.bot import Bot
from cometbot.channels.cometchat import CallbackSettings, CometChatChannel, CometChatClient
from cometbot.channels.cometchat.press_urls import PressSigner, find_press
from cometbot.channels.cometchat.rendering import RichMode
from cometbot.channels.cometchat.settings import ModerationSettings
from cometbot.delivery import Delivery
from cometbot.errors import BotError
from cometbot.field_values import split_options
from cometbot.fields import YES, FieldKind
from cometbot.messages import (
    Button,
    Card,
    Carousel,
    Choice,
    Choices,
    Custom,
    Field,
    Form,
    Media,
    Message,
    QuickReply,
    Text,
)
from cometbot.models import Attachment
from cometbot.simulator import TRIGGERS, Simulator, StoredMessage, membership
from cometbot.simulator.callback_queue import Callback
from cometbot.simulator.client import CallbackResponse, make_session, send
from cometbot.simulator.page.buttons import button_request
from cometbot.simulator.records import Member
from cometbot.simulator.server import HOST, LoopbackServer
from cometbot.testing.fakes.base import PUBLIC_URL as PUBLIC_URL
from cometbot.testing.fakes.base import Actor, Fake, Fault, ShownRequest, UserMessage, already_member
from cometbot.testing.replies import SentMessage
from cometbot.testing.wsgi import make_channel_app, make_wsgi_session

_CREDENTIALS = ("cometchat", "a-password-for-tests")
_MEDIA = ("image", "audio", "video", "file")
CardButtons = Literal["message", "url"]


class CometChatFake(Fake):
    """A simulated CometChat in this process, with the bot's callback, and a webhook for the events without callback.

    Requests and callbacks are those of production. ``rich`` and ``card_buttons`` are as the settings of these names;
    :meth:`call` calls an address of a button. Card messages are shown as cards with their buttons, whose actions are
    the elements' ids, for :meth:`press`. With ``sockets``, requests and callbacks are sent over HTTP on this machine;
    otherwise the applications of both sides are called in the caller's thread. ``simulator`` may be used directly.
    """

    def __init__(
        self, bot: Bot, *, rich: RichMode = "text", card_buttons: CardButtons = "message", sockets: bool = False
    ) -> None:
        super().__init__(bot)
        self.simulator = Simulator()
        self._sockets = sockets
        self._server: LoopbackServer | None = None
        self._delivery: Delivery | None = None
        self._callbacks: Client | None = None
        if sockets:
            self.simulator.start()
        else:
            self.simulator.stop()
        session = None if sockets else make_wsgi_session(self.simulator.app)
        client = CometChatClient(
            self.simulator.api_url, self.simulator.api_key, app_id=self.simulator.app_id, session=session
        )
        self._channel = CometChatChannel(
            self.simulator.app_id,
            client,
            bots={bot.name: bot},
            rich=rich,
            press_signer=self._make_signer() if card_buttons == "url" else None,
            callback=CallbackSettings(credentials={bot.name: _CREDENTIALS}),
            moderation=ModerationSettings(credentials=_CREDENTIALS),
        )
        self._uid = self._channel.get_uid(bot.name)

    def _make_signer(self) -> PressSigner:
        clock = _DeliveryClock(self)
        return PressSigner(PUBLIC_URL, self.simulator.app_id, lambda: "secret", lifetime=7 * 86400.0, clock=clock)

    @property
    def channel(self) -> CometChatChannel:
        return self._channel

    @classmethod
    def read_request(cls, payload: Mapping[str, Any]) -> ShownRequest | None:
        if "body" not in payload:
            return None
        data = payload["body"]["data"]
        custom = "custom" if "customData" in data else ""
        # An edit names neither its category nor its type.
        body = {"category": custom or "message", "type": custom or "text", **payload["body"]}
        message = _to_message(body["category"], body["type"], data)
        elements = data["card"]["body"] if body["category"] == "card" else ()
        calls = [(item["label"], item["action"]) for item in elements if item["type"] == "button"]
        pressed = [(label, find_press(action["url"])) for label, action in calls if action["type"] == "apiCall"]
        return ShownRequest(message, tuple(QuickReply(label, *press) for label, press in pressed if press))

    def press(self, actor: Actor, said: SentMessage, offer: QuickReply) -> None:
        """Press a button of a card message as the user's app does: it calls an address, or sends a message.

        Raises :class:`BotError` if the bot's server refuses the call.
        """
        stored = self.simulator.message(said.id)
        action = next(item["action"] for item in stored.data["card"]["body"] if item["id"] == offer.name)
        if action["type"] == "sendMessage":
            self.say(actor, action["text"])
            return
        request = button_request(stored, offer.name, {})
        body = b"" if request.body is None else orjson.dumps(request.body)
        response = self.call(request.url, request.method, body, **request.headers)
        if response.status_code != 200:
            raise BotError(f"the button {offer.label!r} was refused with {response.status}: {response.text}")

    def submit(self, actor: Actor, said: SentMessage, values: Mapping[str, str]) -> None:
        """Submit an interactive form as the user's app does: its button calls the address of the bot's server."""
        shown = self.simulator.message(said.id).data["interactiveData"]
        elements = {element["elementId"]: element for element in shown["formFields"]}
        sent = {name: _to_submitted(elements[name], text) for name, text in values.items()}
        request = button_request(self.simulator.message(said.id), shown["submitElement"]["elementId"], sent)
        response = self.call(request.url, request.method, orjson.dumps(request.body), **request.headers)
        assert response.status_code == 200, f"the form was refused with {response.status}: {response.text}"

    def call(self, url: str, method: str = "POST", body: bytes = b"", **headers: str) -> TestResponse:
        """Send the request of a card's button, as a user's app does, and return the bot's response."""
        assert self._callbacks is not None, "attach() comes before anything that users do"
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        return self._callbacks.open(url, method=method, base_url=PUBLIC_URL, data=body, headers=named)

    def attach(self, delivery: Delivery) -> None:
        self._delivery = delivery
        app = make_channel_app(self._channel, delivery)
        base = "http://localhost"
        if self._sockets:
            self._server = LoopbackServer(app, 0)
            base = f"http://{HOST}:{self._server.port}"
        self._callbacks = Client(app)
        url = f"{base}/cometchat/{self.bot.name}"
        self.simulator.add_bot(self._uid, url, username=_CREDENTIALS[0], password=_CREDENTIALS[1])
        covered_by_callbacks = {"message_sent", "user_mentioned"}
        triggers = [trigger for trigger in TRIGGERS if trigger not in covered_by_callbacks]
        self.simulator.add_webhook(f"{url}/webhook", triggers, *_CREDENTIALS)

    def restart(self, bot: Bot, delivery: Delivery) -> None:
        super().restart(bot, delivery)
        app = make_channel_app(self._channel, delivery)
        if self._server is not None:
            port = self._server.port
            self._server.stop()
            self._server = LoopbackServer(app, port)
        self._callbacks = Client(app)

    def send(self, actor: Actor, message: UserMessage) -> str:
        stored = self._actor(actor).say(
            f"<@uid:{self._uid}> {message.text}" if message.mention else message.text,
            to="" if actor.group else self._uid,
            group=actor.group,
            parent=message.thread_id,
            quote=message.quote_id,
            attachments=[_to_json(item) for item in message.attachments],
        )
        return stored.id

    def edit(self, actor: Actor, message_id: str, text: str) -> None:
        self._actor(actor).edit(message_id, text)

    def delete(self, actor: Actor, message_id: str) -> None:
        self._actor(actor).delete(message_id)

    def react(self, actor: Actor, message_id: str, reaction: str, *, added: bool = True) -> None:
        user = self._actor(actor)
        (user.react if added else user.unreact)(message_id, reaction)

    def start(self, actor: Actor) -> None:
        """Make the group as the user, and add the bot. Of one-to-one conversations CometChat reports no beginning."""
        if not actor.group:
            super().start(actor)
        world, user = self.simulator.world, self._user(actor)
        if actor.group.lower() in world.directory.groups:
            return
        self.simulator.add_group(actor.group, owner=user.uid)
        with world.condition:
            membership.add(world, user.uid, world.directory.group(actor.group), self._uid)

    def join(self, actor: Actor) -> None:
        if self._user(actor).uid in self._members(actor.group):
            raise already_member(actor)
        self._user(actor).join(actor.group)

    def leave(self, actor: Actor) -> None:
        self._actor(actor).leave(actor.group)

    def set_scope(self, actor: Actor, scope: str) -> None:
        user = self._actor(actor)
        self._set_scope(actor.group, user.uid, scope)

    def set_bot_scope(self, group: str, scope: str) -> None:
        self._members(group)
        self._set_scope(group, self._uid.lower(), scope)

    def _set_scope(self, guid: str, uid: str, scope: str) -> None:
        group = self.simulator.world.directory.groups[guid.lower()]
        group.members[uid] = Member("admin" if scope == "owner" else scope, group.members[uid].joined_at)
        if scope == "owner":
            group.owner = uid
        elif group.owner == uid:
            group.owner = ""

    def reactions(self, message_id: str) -> list[str]:
        given = self.simulator.message(message_id).reactions
        return [item.reaction for item in given if item.uid == self._uid.lower()]

    def upload(self, name: str, content: bytes, mime_type: str) -> str:
        url = self.simulator.add_file(name, content, mime_type)
        self.files[url] = content
        return url

    def repeat(self) -> None:
        """Deliver the bot's last callback again."""
        callbacks = [entry for entry in self.simulator.callbacks if entry.trigger == "after_message"]
        if not callbacks:
            return
        sent = callbacks[-1]
        last = Callback(sent.target, sent.url, sent.trigger, sent.message_id, sent.body, _CREDENTIALS)
        self._post_by_http(last) if self._sockets else self._post(last)

    def misbehave(self, *faults: Fault) -> None:
        misbehave = self.simulator.misbehave
        ways: dict[Fault, Callable[[], None]] = {
            "rate_limited": lambda: misbehave.rate_limit(times=1, retry_after=1),
            "failed": lambda: misbehave.fail(500, times=1),
            "failed_after_acting": lambda: misbehave.fail(500, times=1, after=True),
            "unreachable": lambda: misbehave.drop(times=1),
            "refused": lambda: misbehave.fail(403, code="ERR_PERMISSION_DENIED", times=1),
        }
        for fault in faults:
            ways[fault]()

    def said(self) -> list[SentMessage]:
        own = [message for message in self.simulator.messages() if message.sender == self._uid.lower()]
        versions = self._versions()
        return [self._to_sent_message(message, versions[message.id]) for message in own if not message.deleted_at]

    def wait_idle(self) -> None:
        if self._sockets:
            self.simulator.wait_idle()
        else:
            self.simulator.post_callbacks(self._post)

    def close(self) -> None:
        self.simulator.stop()
        if self._server is not None:
            self._server.stop()
            self._server.server_close()

    def _post(self, callback: Callback) -> CallbackResponse:
        assert self._callbacks is not None, "attach() comes before anything that users do"
        body, headers = orjson.dumps(callback.body), list(callback.headers().items())
        answer = self._callbacks.post(callback.url, data=body, headers=headers)
        assert answer.status_code == 200, f"the callback was refused with {answer.status}: {answer.text}"
        return CallbackResponse(answer.status_code, answer.text)

    def _post_by_http(self, callback: Callback) -> None:
        with make_session() as session:
            send(session, "POST", callback.url, orjson.dumps(callback.body), callback.headers(), timeout=10)

    def _user(self, actor: Actor) -> simulator.Actor:
        directory = self.simulator.world.directory
        user = actor.user
        if directory.find_user(user.uid) is None:
            described = {name: getattr(user, name) for name in ("avatar", "link", "role", "tags", "metadata")}
            given = {name: value for name, value in described.items() if value}
            return self.simulator.add_user(user.uid, user.name, **given)
        return self.simulator.user(user.uid)

    def _actor(self, actor: Actor) -> simulator.Actor:
        """Return the actor's user, after adding it to the actor's group. Raises :class:`BotError` for a banned one."""
        user = self._user(actor)
        if actor.group:
            self._members(actor.group).setdefault(user.uid, Member("participant", self.simulator.world.now()))
            if user.uid in self.simulator.world.directory.groups[actor.group.lower()].banned:
                del self._members(actor.group)[user.uid]
                raise BotError(f"{user.uid} is banned from {actor.group}")
        return user

    def _members(self, guid: str) -> dict[str, Member]:
        """Return the members of a group by uid. The bot is an admin from the beginning, without an event."""
        groups = self.simulator.world.directory.groups
        if guid.lower() not in groups:
            self.simulator.add_group(guid)
            bot = self.simulator.user(self._uid).uid
            groups[guid.lower()].members[bot] = Member("admin", self.simulator.world.now())
            if self._delivery is not None:
                self._delivery.add_conversations([self._channel.conversation(self.bot, group=guid)])
        return groups[guid.lower()].members

    def _versions(self) -> dict[str, list[str]]:
        """Return all texts that each message has shown."""
        shown: dict[str, list[str]] = defaultdict(list)
        for change in self.simulator.world.journal.changes:
            if change.trigger in ("message_sent", "message_edited"):
                message = change.data["message"]
                shown[str(message["id"])].append(str(message["data"].get("text", "")))
        return shown

    def _to_sent_message(self, message: StoredMessage, versions: Sequence[str]) -> SentMessage:
        receiver = {"group" if message.receiver_type == "group" else "user": message.receiver}
        here = self._channel.conversation(self.bot, **receiver)
        return SentMessage(
            message.id,
            here,
            _to_message(message.category, message.type, message.data),
            message.parent_id,
            message.quoted_message_id,
            message.muid,
            reactions=tuple(item.reaction for item in message.reactions),
            versions=tuple(versions),
            at=message.sent_at,
        )


class _DeliveryClock:
    """The clock of the delivery that a fake is attached to."""

    def __init__(self, fake: CometChatFake) -> None:
        self._fake = fake

    def __call__(self) -> float:
        delivery = self._fake._delivery
        return delivery.database.clock() if delivery is not None else time.time()


def _to_json(item: Attachment) -> dict[str, Any]:
    size = {} if item.size is None else {"size": item.size}
    return {"url": item.url, "name": item.name, "mimeType": item.mime_type, "extension": item.extension, **size}


def _to_message(category: str, kind: Any, data: Mapping[str, Any]) -> Message:
    text, files = str(data.get("text", "")), data.get("attachments", ())
    if category == "message" and kind == "text":
        return Text(text)
    if category == "message" and kind in _MEDIA and files:
        file = files[0]
        return Media(file["url"], kind, file.get("name", ""), file.get("mimeType", ""), caption=text)
    if category == "custom":
        return Custom(kind, data.get("customData", {}), text)
    if category == "interactive" and kind == "form":
        return _to_form(data["interactiveData"])
    if category == "card" and (shown := _to_shown_card(data["card"]["body"])):
        return shown
    return Custom(category, dict(data), text or str(data.get("interactiveData", {}).get("text", "")))


def _to_shown_card(elements: Sequence[Mapping[str, Any]]) -> Message | None:
    """Return a card message as its users see it, or None if it is not one of cometbot's. Buttons have element ids."""
    ids = [str(item.get("id", "")) for item in elements]
    if ids[:1] == ["text"] and all(id.startswith("button-") for id in ids[1:]):
        return Choices(elements[0]["content"], [Choice(item["label"], item["id"]) for item in elements[1:]])
    if not ids or not all(id.startswith(("card-", "divider-")) for id in ids):
        return None
    parts: list[list[Mapping[str, Any]]] = [[]]
    for item in elements:
        if item["type"] == "divider":
            parts.append([])
        else:
            parts[-1].append(item)
    cards = [_to_card(part) for part in parts]
    return cards[0] if len(cards) == 1 else Carousel(cards)


def _to_card(elements: Sequence[Mapping[str, Any]]) -> Card:
    shown = {item["type"]: item for item in elements if item["type"] != "button"}
    buttons = [_to_button(item) for item in elements if item["type"] == "button"]
    title, text, image = (
        str(shown.get(kind, {}).get(key, ""))
        for kind, key in (("text", "content"), ("markdown", "content"), ("image", "url"))
    )
    return Card(title, text, image, buttons)


def _to_button(element: Mapping[str, Any]) -> Button:
    action = element["action"]
    if action["type"] == "openUrl":
        return Button(element["label"], url=action["url"])
    return Button(element["label"], element["id"])


def _to_form(shown: Mapping[str, Any]) -> Form:
    """Return an interactive form as its users see it; only the address of its button knows its action."""
    return Form(shown["title"], list(map(_to_field, shown["formFields"])), "form", shown["submitElement"]["buttonText"])


def _to_submitted(element: Mapping[str, Any], text: str) -> str | list[str]:
    """Return the value that an app submits for an element: a list of the ticked options for a checkbox."""
    if element["elementType"] != "checkbox":
        return text
    return split_options(text, [option["value"] for option in element["options"]]) or []


def _to_field(element: Mapping[str, Any]) -> Field:
    options = [Choice(option["label"], option["value"]) for option in element.get("options", ())]
    is_box = element["elementType"] == "checkbox" and [option.value for option in options] == [YES]
    kinds: dict[str, FieldKind] = {"dropdown": "select", "checkbox": "checkbox" if is_box else "multi_select"}
    return Field(
        element["elementId"],
        element["label"],
        kinds.get(element["elementType"], "text" if element.get("maxLines") == 1 else "long_text"),
        [] if is_box else options,
        element["defaultValue"],
        element["optional"],
        element.get("placeholder", {}).get("text", ""),
    )
