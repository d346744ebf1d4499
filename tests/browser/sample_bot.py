"""A bot that says a bit of everything; the browser tests run a copy of it."""

from __future__ import annotations

import threading

from cometbot import AskTimeout, Bot, Button, Card, Choices, Context, Field, Form, Group, Location, Media

bot = Bot("helpdesk", description="Answers questions about orders.")


@bot.command("track", description="Where is my order?")
def track(ctx: Context, number: int) -> str:
    return f"Order **{number}** is on its way, {ctx.sender.name}."


@bot.message("hello")
def greet(ctx: Context) -> Choices:
    return Choices("What can I do for you?", ["Track an order", "Talk to a human"], action="topic")


@bot.action("topic")
def topic(ctx: Context) -> str:
    return f"You chose: {ctx.value}"


@bot.message("card")
def card(ctx: Context) -> Card:
    return Card(
        "Two seats", "Row 7", buttons=[Button("Book them", "topic"), Button("Plan", url="https://example.org/")]
    )


@bot.message("drinks")
def drinks(ctx: Context) -> Form:
    fields = [
        Field("extras", "Extras", kind="multi_select", options=["Milk", "Sugar", "Lemon"]),
        Field("on", "On it", kind="multi_select", options=["Cream"], optional=True),
    ]
    return Form("Your tea", fields, action="drink")


@bot.message("table")
def table(ctx: Context) -> Form:
    fields = [
        Field("guests", "Guests", "number", min=1, max=9),
        Field("day", "Day", "date"),
        Field("at", "Time", "time"),
        Field("gift", "Gift", "checkbox", optional=True),
        Field("mail", "E-mail", "email"),
        Field("phone", "Phone", "phone", optional=True),
        Field("plate", "Plate", hint="a plate such as B-1", pattern="[A-Z]-[0-9]"),
    ]
    return Form("Your table", fields, action="table")


@bot.action("table")
def book_table(ctx: Context) -> str:
    return " | ".join(ctx.values.values())


@bot.command("visit")
def visit(ctx: Context) -> str:
    answer = ctx.ask(
        Form("Your visit", [Field("place", "Place", "select", ["Inside", "Garden"]), Field("day", kind="date")])
    )
    return f"{answer['place']} on {answer['day']}"


@bot.action("drink")
def drink(ctx: Context) -> str:
    return f"Tea with {ctx.values['extras']}, on it {ctx.values['on'] or 'nothing'}"


@bot.message("form")
def form(ctx: Context) -> Form:
    fields = [Field("name", "Name"), Field("colour", "Colour", kind="select", options=["Red", "Blue"])]
    return Form("Your order:", fields, action="order")


@bot.action("order")
def order(ctx: Context) -> str:
    return f"{ctx.values['name']} wants {ctx.values['colour']}"


@bot.message("place")
def place(ctx: Context) -> Location:
    return Location(48.137, 11.575, "Pickup point")


@bot.message("file")
def file(ctx: Context) -> Media:
    return Media("https://example.org/terms.pdf", name="terms.pdf", size=48_211)


@bot.message("no answer")
def be_still(ctx: Context) -> None:
    return None


@bot.message("news")
def news(ctx: Context) -> None:
    # In a thread of its own, as from elsewhere in a product: it answers nothing.
    sending = threading.Thread(target=bot.send, kwargs={"user": ctx.sender.uid, "text": "This just in."})
    sending.start()
    sending.join()


@bot.message("alarm")
def alarm(ctx: Context) -> str:
    ctx.send(f"{ctx.sender.name} needs help.", to=ctx.conversation_with(group="ops-room"))
    return "Somebody will come."


@bot.message("stream")
def stream(ctx: Context) -> None:
    def words() -> object:
        for word in ("one", "two", "three"):
            yield f"{word} "
            threading.Event().wait(1.1)

    ctx.stream(words())


@bot.message("fail")
def fail(ctx: Context) -> str:
    raise ValueError("the warehouse does not answer")


@bot.message("tea")
def tea(ctx: Context) -> str:
    try:
        return f"{ctx.ask('Which tea?', timeout='2h')} tea, then."
    except AskTimeout:
        return "No tea, then."


@bot.message("refund")
def refund(ctx: Context) -> str:
    return f"The refund was {ctx.approve('Refund 30 €?', to=Group('ops-room'), timeout='2h').status}."


@bot.job
def ring(ctx: Context, what: str) -> None:
    ctx.send(f"Time for {what}.")


@bot.message("later")
def later(ctx: Context) -> str:
    ctx.later("2h", ring, what="tea")
    return "Planned."


@bot.fallback
def unknown(ctx: Context) -> str:
    files = [attachment.name for attachment in getattr(ctx.event, "attachments", ())]
    return f"Got {', '.join(files)}" if files else f"You said: {ctx.text}"
