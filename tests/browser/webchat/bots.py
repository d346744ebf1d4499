"""The bots that people talk to in the browser's tests: one that can do everything, and another one."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from cometbot import Bot, Button, Card, Carousel, Choices, Context, Field, FieldError, Form, Location, Media, Text, User

MARKS_FOLDER = Path(os.environ.get("COMETBOT_TEST_MARKS", "."))

helpdesk = Bot("helpdesk", description="Answers questions about orders.")
teahouse = Bot("tea-house", description="Knows all about tea.")

HELLO = """**Hello!** What can I do for you?

- track an order: `/track 4711`
- see our [opening hours](https://example.com/hours)

<img src=x onerror="document.title = 'broken into'">"""


def wait_for(mark: str) -> None:
    """Go on when a test has made this file, or after a while."""
    end = time.monotonic() + 120
    while not (MARKS_FOLDER / mark).exists() and time.monotonic() < end:
        time.sleep(0.01)


@helpdesk.command("track", description="Where is my order?")
def track(ctx: Context, number: int) -> str:
    return f"Order **{number}** is on its way."


@helpdesk.command("remind", description="Says something later.")
def remind(ctx: Context, minutes: int, *, what: str = "stretch") -> str:
    return f"In {minutes}: {what}"


@helpdesk.command("whoami", hidden=True)
def whoami(ctx: Context) -> str:
    return f"You are {ctx.sender.uid}"


@helpdesk.command("seat", hidden=True)
def seat(ctx: Context, manager: str) -> str:
    approval = ctx.approve("A free seat?", {"Row": 7}, to=User(manager), timeout="1h")
    return f"Your seat was {approval.status} by {approval.by}."


@helpdesk.message("hello")
def hello(ctx: Context) -> str:
    return HELLO


@helpdesk.message("card")
def card(ctx: Context) -> Card:
    buttons = [Button("Book them", "topic", "seats"), Button("Plan", url="https://example.com/plan")]
    return Card("Two seats", "Row **7**", buttons=buttons)


@helpdesk.message("refund")
def refund(ctx: Context) -> Card:
    buttons = [Button("Approve", "decide", {"order": 17, "ok": True}), Button("Decline", "decide", {"order": 17})]
    return Card("Refund order 17?", buttons=buttons, by=[ctx.sender], expires="1h", once=True)


@helpdesk.action("decide")
def decide(ctx: Context, order: int, ok: bool = False) -> str:
    return f"Order {order}: {ok}"


@helpdesk.message("cards")
def cards(ctx: Context) -> Carousel:
    return Carousel(
        [Card(name, "A tea", buttons=[Button(f"Take {name}", "topic", name)]) for name in ("Assam", "Nepal")]
    )


@helpdesk.message("many cards")
def many_cards(ctx: Context) -> Carousel:
    return Carousel([Card(f"Tea {number}", "A tea", buttons=[Button("Take", "topic")]) for number in range(1, 9)])


@helpdesk.message("choices")
def choices(ctx: Context) -> Choices:
    return Choices("Which *colour*?", ["Red", "Green", "Blue"], action="topic")


@helpdesk.command("tea")
def buy_tea(ctx: Context) -> str:
    kind = ctx.ask("Which tea?", choices=["Assam", "Nepal"])
    size = ctx.ask("Which size?", choices=["Small", "Large"])
    return f"A {size.lower()} {kind}, order {ctx.once(lambda: 1)}."


BOOKING = Form(
    "Your table",
    [
        Field("name", "Name"),
        Field("wishes", "Wishes", "long_text", optional=True),
        Field("guests", "Guests", "number", min=1, max=9),
        Field("day", "Day", "date", min="2031-01-01"),
        Field("at", "Time", "time", default="19:30"),
        Field("place", "Place", "select", ["Inside", "Garden"]),
        Field("menus", "Menus", "multi_select", ["Meat", "Fish", "None of both"]),
        Field("terms", "Terms accepted", "checkbox"),
        Field("mail", "E-mail", "email"),
        Field("phone", "Phone", "phone", optional=True),
    ],
)


def check_guests(booking: dict[str, object]) -> None:
    if booking["guests"] == 9:
        raise FieldError("guests", "only 8 are left.")


@helpdesk.command("book")
def book(ctx: Context) -> str:
    return "Booked: " + " | ".join(map(str, ctx.ask(BOOKING, validate=check_guests).values()))


@helpdesk.action("topic")
def topic(ctx: Context) -> str:
    return f"You chose: {ctx.value}"


@helpdesk.message("form")
def form(ctx: Context) -> Form:
    fields = [
        Field("name", "Name"),
        Field("size", "Size", "select", ["Small", "Large"]),
        Field("extras", "Extras", "multi_select", ["Milk", "Sugar", "Lemon"], optional=True),
    ]
    return Form("Your order", fields, "order")


@helpdesk.action("order")
def order(ctx: Context) -> str:
    return f"{ctx.values['name']}: {ctx.values['size']} with {ctx.values['extras'] or 'nothing'}"


@helpdesk.message("place")
def place(ctx: Context) -> Location:
    return Location(48.137, 11.575, "Pickup point")


@helpdesk.message("picture")
def picture(ctx: Context) -> Media:
    return Media(os.environ["COMETBOT_TEST_PICTURE"], caption="A *picture*", name="sun.svg", kind="image")


@helpdesk.message("several")
def several(ctx: Context) -> list[str]:
    return ["The first", "The second", "The third"]


@helpdesk.message("stream")
def stream(ctx: Context) -> None:
    def words() -> Iterator[str]:
        yield "One "
        wait_for("go-on")
        yield "**two**"

    ctx.stream(words())


@helpdesk.message("think")
def think(ctx: Context) -> str:
    wait_for("thought")
    return "That took a while."


@helpdesk.message("search")
def search(ctx: Context) -> str:
    ctx.status("looking it up…")
    wait_for("found")
    return "It was in the attic."


@helpdesk.message("later")
def later(ctx: Context) -> str:
    def say() -> None:
        wait_for("later")
        helpdesk.send(conversation=ctx.conversation, text="Your order is out.")

    threading.Thread(target=say, daemon=True).start()
    return "I will tell you."


@helpdesk.message("table")
def table(ctx: Context) -> str:
    return "| Tea | Price |\n|-----|-----|\n| Assam | 4 |\n\n```\nx = 1\n```\n\n# Title\n\n> quoted"


@helpdesk.message("arabic")
def arabic(ctx: Context) -> str:
    return (Path(__file__).parents[1] / "arabic.md").read_text()


@helpdesk.message("aligned")
def aligned(ctx: Context) -> str:
    return "|a|b|c|d|\n|:--|:-:|--:|---|\n|1|2|3|4|"


@helpdesk.fallback
def unknown(ctx: Context) -> Text:
    files = [f"{attachment.name} ({attachment.mime_type})" for attachment in getattr(ctx.event, "attachments", ())]
    return Text(f"Got {', '.join(files)}" if files else f"You said: {ctx.text}")


@teahouse.fallback
def tea(ctx: Context) -> str:
    return f"Tea, {ctx.sender.name}?"
