"""An application with rooms: what is posted into one is streamed to whoever listens, in every process."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import flask
from orjson import dumps

from cometbot import Bot
from cometbot.channels.base import DeliveryService
from cometbot.chat import Chat, Draft, Scope, Signal
from cometbot.http.errors import HttpError
from cometbot.http.sse import STREAMS, frame, stream
from cometbot.settings import Settings
from cometbot.store.factory import database_from_url
from cometbot.testing.fake_channel import FakeChannel
from cometbot.web.app import create_app

SCOPE = Scope("rooms", "board")


class Rooms(FakeChannel):
    """A channel whose conversations are rooms without rights."""

    name = "rooms"

    def __init__(self, chat: Chat) -> None:
        super().__init__()
        self.chat = chat

    def blueprint(self, delivery: DeliveryService) -> flask.Blueprint:
        blueprint = flask.Blueprint("rooms", __name__)
        blueprint.post("/rooms")(self.make)
        blueprint.post("/rooms/<room>")(self.post)
        blueprint.get("/rooms/<room>")(self.listen)
        blueprint.get("/goodbye")(goodbye)
        blueprint.get("/hello")(hello)
        blueprint.register_error_handler(HttpError, lambda error: ({"code": error.code}, error.status, error.headers))
        return blueprint

    def make(self) -> dict[str, str]:
        with self.chat.database.write() as connection:
            return {"id": self.chat.conversations.create(connection, SCOPE, "ann").id}

    def post(self, room: str) -> dict[str, object]:
        draft = Draft("ann", {"said": flask.request.get_data(as_text=True), "pid": os.getpid()})
        messages = self.chat.messages
        self.chat.commit(lambda connection: messages.post(connection, SCOPE, room, draft))
        return {"pid": os.getpid()}

    def listen(self, room: str) -> flask.Response:
        with self.chat.database.read() as connection:
            conversation = self.chat.conversations.get(connection, SCOPE, room)
        if conversation is None:
            raise HttpError(404, "ERR_NO_ROOM", "there is no such room")
        first = frame(dumps({"pid": os.getpid()}))
        return stream(lambda: self.chat.feed.listen(conversation.topic), to_frames, first=first)

    def close(self) -> None:
        self.chat.close()


def hello() -> dict[str, int]:
    return {"pid": os.getpid(), "streams": len(STREAMS)}


def goodbye() -> flask.Response:
    return flask.Response("bye", headers={"Connection": "close"})


def to_frames(signal: Signal) -> Iterable[bytes]:
    if signal.message:
        yield frame(dumps({**signal.message.payload, "at": signal.at}))


def app() -> flask.Flask:
    settings = Settings.from_environment()
    chat = Chat(database_from_url(settings.database_url), Path("unused"))
    rooms = Rooms(chat)
    return create_app(Bot("board"), settings, [rooms], blueprints=[rooms.blueprint], handles=False)
