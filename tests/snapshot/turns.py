"""What a language model gets of the same conversation on each channel, in the formats of two APIs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from cometbot import Bot, Button, Card, Carousel, Choice, Choices, Context, Field, Form, Location, Media, Message
from cometbot.testing import BotClient, Unsupported
from cometbot.testing.fakes.cometchat import CometChatFake
from cometbot.turns import Turn, to_anthropic, to_openai

CHANNELS: Mapping[str, Any] = {
    "fake": "fake",
    "cometchat": "cometchat",
    "cometchat interactive": partial(CometChatFake, rich="interactive"),
    "cometchat card": partial(CometChatFake, rich="card"),
    "cometchat card with addresses": partial(CometChatFake, rich="card", card_buttons="url"),
    "cometchat form": partial(CometChatFake, rich="interactive", card_buttons="url"),
    "chat_api": "chat_api",
    "platform": "platform",
    "simplex": "simplex",
    "agui": "agui",
}
_PNG = b"\x89PNG\r\n\x1a\n"


def turns() -> str:
    """Return the requests of all channels as JSON."""
    return json.dumps({name: requests(name) for name in CHANNELS}, ensure_ascii=False, indent=1) + "\n"


def requests(channel: str) -> dict[str, Any]:
    """Return the requests that a bot would make on one channel, for the last message of each conversation."""
    seen: list[list[Turn]] = []
    found: dict[str, Any] = {}
    with BotClient(make_bot(seen), channel=CHANNELS[channel]) as client:
        write_alone(client)
        found["alone"] = seen[-1]
        if client.channel.capabilities.groups:
            write_in_group(client.in_group("team"))
            found["in a group"] = seen[-1]
    made = {place: {"openai": to_openai(found[place]), "anthropic": to_anthropic(found[place])} for place in found}
    stable: dict[str, Any] = json.loads(_without_new_parts(json.dumps(made)))
    return stable


def make_bot(seen: list[list[Turn]]) -> Bot:
    """Return a bot that shows things, and whose answers to texts note the turns."""
    bot = Bot("shop")

    @bot.command("show")
    def show(ctx: Context) -> list[Message]:
        tea = Card(
            "Tea", "Green", buttons=[Button("Buy tea", "buy", "tea"), Button("More", url="https://example.com/")]
        )
        place = Location(52.52, 13.405, "Berlin")
        return [Media("https://example.com/photo.jpg", caption="A photo"), place, Carousel([tea, Card("Cake")]), tea]

    @bot.action("buy")
    def buy(ctx: Context) -> Choices:
        return Choices("How much?", [Choice("100 g", "small"), Choice("500 g", "large")], action="size")

    @bot.action("size")
    def choose(ctx: Context) -> Form:
        return Form("Where to?", [Field("street", "Street"), Field("gift", kind="checkbox", optional=True)], "address")

    @bot.action("address")
    def send(ctx: Context) -> str:
        return f"It goes to {ctx.values['street']}."

    @bot.fallback
    def answer(ctx: Context) -> str:
        seen.append(ctx.turns())
        return f"You said **{ctx.text or 'nothing'}**."

    return bot


def write_alone(client: BotClient) -> None:
    """Have the conversation of one user."""
    client.send("hello, Grüße, 👩🏽‍💻")
    client.send_image(_PNG, caption="Look!", name="cat.png")
    client.send_file(b"%PDF-1.7", name="bill.pdf")
    client.send("/show")
    client.press("Buy tea")
    client.choose("500 g")
    client.fill(street="Main Street 1")
    client.send("Tahnks")
    with suppress(Unsupported):
        client.edit("Thanks")
    client.send("A secret")
    with suppress(Unsupported):
        client.delete()
    client.send("That is\n\nall.")


def write_in_group(client: BotClient) -> None:
    """Have the conversation of two users in a group."""
    tom = client.as_user("tom", group="team")
    client.send("Who is here?")
    tom.send("I am", mention=True)
    client.send_image(_PNG, name="cat.png")
    client.send("And you?", mention=True)


def _without_new_parts(text: str) -> str:
    """Replace what differs in each run: signatures and ids in addresses."""
    text = re.sub(r"\?Expires=[^\"]*", "?Expires=…", text)
    text = re.sub(r"/media/\w+/\w+/", "/media/…/", text)
    return re.sub(r"\b[0-9a-z]{26}(?=\.png)", "…", text)
