from __future__ import annotations

import functools
import re
from typing import Any

import pytest

from cometbot import Bot, BotError, Card, Conversation, Event, MessageEvent, Router, pattern
from cometbot import (
    bot as module,
)
from cometbot.errors import RegistrationError


class FakeSender:
    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, bot: Bot, message: Any, **to: Any) -> str | None:
        self.sent.append((bot, message, to))
        return "7"


def track(ctx: Any, number: int) -> str:
    """Where is my order?

    More about it."""
    return f"order {number}"


@pytest.mark.parametrize("name", ["", "Help", "a b", "a/b", "ä", "x" * 51, "a\n", None, 5])
def test_bot_name_cannot_stand_in_a_path_it_is_refused(name: Any) -> None:
    with pytest.raises(RegistrationError, match="1 to 50 of a-z"):
        Bot(name)


def test_bot_ids_are_its_uid_and_its_name() -> None:
    assert Bot("helpdesk").ids == ("helpdesk",)
    assert Bot("helpdesk", cometchat_uid="Demo_Bot").ids == ("Demo_Bot", "helpdesk")
    with pytest.raises(RegistrationError, match="CometChat UID"):
        Bot("helpdesk", cometchat_uid="demo bot")


def test_bot_repr_shows_no_password() -> None:
    assert repr(Bot("helpdesk", callback_password="s3cret")) == "<Bot helpdesk>"


def test_decorators_return_the_function_unchanged() -> None:
    bot = Bot("helpdesk")

    def handler(ctx: Any) -> None: ...
    def around(ctx: Any, call_next: Any) -> None: ...

    for decorate in (bot.command, bot.command("a"), bot.message(), bot.message("x"), bot.action, bot.action("x")):
        assert decorate(handler) is handler
    for decorate in (bot.event, bot.event(Event), bot.fallback):
        assert decorate(handler) is handler
    for decorate in (bot.error, bot.error(ValueError), bot.middleware, bot.middleware()):
        assert decorate(around) is around


def test_handler_describes_its_function() -> None:
    bot = Bot("helpdesk")
    bot.message(pattern(r"(?P<number>\d+)"), retries=2, timeout=5)(track)
    (handler,) = bot.handlers
    assert handler.name == f"{__name__}.track"
    assert (handler.function, handler.kind, handler.retries, handler.timeout) == (track, "message", 2, 5)
    assert [item.name for item in handler.signature.parameters] == ["number"]


def test_command_name_and_description_default_to_function() -> None:
    bot = Bot("helpdesk")
    bot.command(track)
    bot.command("Find", "F", description="Finds.", hidden=True)(track)
    (command,) = bot.commands
    assert (command.name, command.description, command.usage) == ("track", "Where is my order?", "/track number")
    assert bot.handlers[1].command is not None
    assert bot.handlers[1].command.names == ("find", "f")


@pytest.mark.parametrize(
    ("register", "text"),
    [
        (lambda bot: bot.command("a")(lambda: None), "context first"),
        (lambda bot: bot.command("a")(int), "is a class"),
        (lambda bot: bot.command(int), "a class cannot be a handler"),
        (lambda bot: bot.command("a")(5), "not a function"),
        (lambda bot: bot.command("/a")(track), "without its slash"),
        (lambda bot: bot.command("a", "b c")(track), "without its slash"),
        (lambda bot: bot.command("a", "a")(track), "is taken by"),
        (lambda bot: bot.command("a")(lambda ctx, *, x, y: None), "at most one"),
        (lambda bot: bot.command("a", retries=-1)(track), "retries"),
        (lambda bot: bot.command("a", timeout=0)(track), "timeout"),
        (lambda bot: bot.command("a", timeout=float("nan"))(track), "timeout"),
        (lambda bot: bot.message(5), "no matcher"),
        (lambda bot: bot.message("hi")(track), "nothing fills the parameter number"),
        (lambda bot: bot.message(pattern("(?P<number>a)") | "b")(track), "in every alternative"),
        (lambda bot: bot.message()(lambda ctx, *words: None), "nothing fills the parameter words"),
        (lambda bot: bot.action(5), "takes names"),
        (lambda bot: bot.event(int), "classes of events"),
        (lambda bot: bot.event(MessageEvent)(track), "gets ctx alone"),
        (lambda bot: bot.fallback(track), "gets ctx alone"),
        (lambda bot: bot.error(int), "classes of exceptions"),
        (lambda bot: bot.error(ValueError)(lambda ctx: None), "exactly 2 arguments"),
        (lambda bot: bot.middleware(lambda ctx: None), "exactly 2 arguments"),
        (lambda bot: bot.middleware(5), "not a function"),
        (lambda bot: bot.include(bot), "takes a Router"),
        (lambda bot: bot.include(Router(), prefix="/x"), "a prefix is one word"),
        (lambda bot: bot.include(Router(), prefix="a b"), "a prefix is one word"),
        (lambda bot: Bot("x", handler_timeout=0), "timeout of the bot x"),
    ],
)
def test_registration_cannot_work_it_is_refused_at_once(register: Any, text: str) -> None:
    with pytest.raises(RegistrationError, match=text):
        register(Bot("helpdesk"))


def test_generator_is_refused_and_the_ways_to_do_it_are_named() -> None:
    def parts(ctx: Any) -> Any:
        yield "x"

    async def later(ctx: Any) -> Any:
        yield "x"

    for function in (parts, later):
        with pytest.raises(RegistrationError, match=r"ctx\.stream.*ctx\.ask"):
            Bot("helpdesk").message()(function)


def test_duplicate_name_error_names_both_handlers() -> None:
    bot = Bot("helpdesk")
    bot.command("track")(track)
    with pytest.raises(RegistrationError, match=r"command 'track' of .*lambda.* is taken by .*track"):
        bot.command("find", "TRACK")(lambda ctx: None)
    bot.action("track")(track)
    with pytest.raises(RegistrationError, match="action 'track'"):
        bot.action("buy", "track")(track)
    assert len(bot.handlers) == 2


def test_second_fallback_is_refused_also_from_a_router() -> None:
    bot, router = Bot("helpdesk"), Router()
    bot.fallback(lambda ctx: None)
    router.fallback(lambda ctx: None)
    with pytest.raises(RegistrationError, match="second fallback"):
        bot.include(router)


def test_message_decorator_without_parentheses_is_refused() -> None:
    bot = Bot("helpdesk")

    @bot.message  # type: ignore[arg-type]
    def greet(ctx: Any) -> None: ...

    with pytest.raises(RegistrationError, match=r"put on .*greet without parentheses: write @bot.message\(\)"):
        bot.handlers  # noqa: B018

    other = Bot("helpdesk")
    other.message(lambda ctx: True)(lambda ctx: None)
    assert len(other.handlers) == 1


def test_include_keeps_the_order_at_its_place_and_prefixes_names(harness: Any, make_message: Any) -> None:
    bot, outer, inner = harness.bot, Router(), Router()
    inner.command("track", "t")(track)
    inner.action("buy", re.compile(r"sell(?P<number>\d)"))(lambda ctx, number=0: f"inner {number}")
    outer.message("x")(lambda ctx: "outer first")
    outer.include(inner, prefix="in-")
    bot.message("a")(lambda ctx: "a")
    bot.include(outer, prefix="out-")
    bot.message("x")(lambda ctx: "too late")

    assert [handler.kind for handler in bot.handlers] == ["message", "message", "command", "action", "message"]
    assert bot.commands[0].names == ("out-in-track", "out-in-t")
    assert bot.commands[0].usage == "/out-in-track number"
    assert harness.send_text("/out-in-t 5") == ["order 5"]
    assert harness.send_text("/track 5") == []
    assert harness.send_text("x") == ["outer first"]
    assert _press(harness, make_message, "out-in-buy") == ["inner 0"]
    assert _press(harness, make_message, "buy") == []
    assert _press(harness, make_message, "out-in-sell7") == ["inner 7"]
    assert _press(harness, make_message, "out-sell7") == []


def _press(harness: Any, make_message: Any, name: str) -> list[str]:
    from cometbot import ActionEvent

    said = make_message("")
    return harness.send(ActionEvent(key="a", conversation=said.conversation, sender=said.sender, name=name))  # type: ignore[no-any-return]


def test_repeated_cyclic_or_changed_include_is_refused() -> None:
    bot, outer, inner = Bot("helpdesk"), Router(), Router()
    with pytest.raises(RegistrationError, match="cannot include itself"):
        inner.include(inner)
    outer.include(inner)
    with pytest.raises(RegistrationError, match="included already"):
        inner.include(outer)
    bot.include(outer)
    for router in (outer, inner):
        with pytest.raises(RegistrationError, match="included already"):
            bot.include(router)
    for register in (inner.message(), inner.command("x"), inner.middleware, inner.error):
        with pytest.raises(RegistrationError, match="before include"):
            register(lambda ctx, call_next=None: None)


def test_router_is_included_in_two_bots_both_have_its_handlers() -> None:
    router = Router()
    router.command("track")(track)
    for name in ("a", "b"):
        bot = Bot(name)
        bot.include(router)
        assert len(bot.handlers) == 1


def test_include_of_duplicate_name_changes_nothing() -> None:
    bot, router = Bot("helpdesk"), Router()
    bot.command("track")(track)
    router.command("other")(track)
    router.command("track")(track)
    with pytest.raises(RegistrationError, match="taken"):
        bot.include(router)
    bot.command("other")(track)
    assert len(bot.handlers) == 2


def test_handler_registered_after_the_first_event_is_found(bot: Bot, harness: Any) -> None:
    assert harness.send_text("hi") == []
    bot.message("hi")(lambda ctx: "hello")
    assert harness.send_text("hi") == ["hello"]
    assert bot.routes is bot.routes


def test_methods_and_partials_may_be_handlers(bot: Bot, harness: Any) -> None:
    class Shop:
        def greet(self, ctx: Any) -> str:
            return "from the shop"

    bot.message("a")(Shop().greet)
    bot.message("b")(functools.partial(lambda name, ctx: name, "partial"))
    assert harness.send_text("a") == ["from the shop"]
    assert harness.send_text("b") == ["partial"]


def test_send_passes_message_to_sender() -> None:
    bot, outbox = Bot("helpdesk"), FakeSender()
    bot.connect(outbox)
    assert bot.send(user="maria", text="out") == "7"
    here = Conversation("simplex", "a", "helpdesk", "c", "t")
    bot.send(conversation=here, message=Card("x"), channel="simplex")
    assert [(item[1].to_text(), item[2]) for item in outbox.sent] == [
        ("out", {"user": "maria", "group": None, "conversation": None, "channel": None, "app": None}),
        ("x", {"user": None, "group": None, "conversation": here, "channel": "simplex", "app": None}),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"text": "x"},
        {"user": "", "text": "x"},
        {"user": "a", "group": "b", "text": "x"},
        {"user": "a"},
        {"user": "a", "text": "x", "message": Card("x")},
        {"user": "a", "message": "x"},
        {"user": "a", "text": " "},
        {"conversation": Conversation("cometchat", "a", "helpdesk", "c", "t"), "text": "x", "app": "shop_eu"},
    ],
)
def test_send_needs_one_receiver_and_one_content(wrong: Any) -> None:
    bot, outbox = Bot("helpdesk"), FakeSender()
    bot.connect(outbox)
    with pytest.raises(BotError):
        bot.send(**wrong)
    assert outbox.sent == []


def connect(bot: Bot) -> None:
    bot.connect(CONNECTED)


CONNECTED = FakeSender()


def test_send_without_an_app_connects_one_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.pkgutil, "resolve_name", {"cometbot.web.app:connect_from_settings": connect}.get)
    assert Bot("helpdesk").send(user="maria", text="x") == "7"
    monkeypatch.setattr(module.pkgutil, "resolve_name", lambda name: lambda bot: None)
    with pytest.raises(BotError, match="not connected"):
        Bot("helpdesk").send(user="maria", text="x")
