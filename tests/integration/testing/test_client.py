"""What a bot's author may rely on when he tests with a BotClient."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

from cometbot import (
    Bot,
    BotError,
    Button,
    Card,
    Carousel,
    Choice,
    Choices,
    ContactEvent,
    Context,
    Conversation,
    Custom,
    DeleteEvent,
    EditEvent,
    Field,
    Form,
    Media,
    MembershipEvent,
    ReactionEvent,
    Rejected,
    User,
)
from cometbot.errors import ConfigurationError, DeliveryError, OutcomeUnknown, RateLimited
from cometbot.testing import TEXT_ONLY, BotClient, FakeChannel


@pytest.fixture
def bot() -> Bot:
    made = Bot("helpdesk")

    @made.fallback
    def echo(ctx: Context) -> str:
        return f"{ctx.sender}: {ctx.text}"

    return made


@pytest.fixture
def client(bot: Bot) -> BotClient:
    return BotClient(bot)


def fake(client: BotClient) -> FakeChannel:
    assert isinstance(client.channel, FakeChannel)
    return client.channel


def test_send_returns_what_the_bot_answered(client: BotClient) -> None:
    replies = client.send("hello")

    assert replies.text == replies[0].text == "Maria: hello"
    assert len(replies) == 1


def test_send_returns_nothing_where_the_bot_does_not_answer() -> None:
    replies = BotClient(Bot("mute")).send("hello")

    assert not replies
    assert replies.text == ""
    with pytest.raises(IndexError, match="the bot sent nothing"):
        replies[0]


def test_replies_hold_only_what_came_of_this_call(client: BotClient) -> None:
    client.send("one")

    assert client.send("two").texts == ["Maria: two"]
    assert client.said().texts == ["Maria: one", "Maria: two"]


def test_nothing_runs_in_another_thread(bot: Bot) -> None:
    @bot.message("where?")
    def where(ctx: Context) -> str:
        return threading.current_thread().name

    before = threading.active_count()
    client = BotClient(bot)

    assert client.send("where?").text == threading.current_thread().name
    assert threading.active_count() == before


def test_an_async_handler_is_run(bot: Bot) -> None:
    @bot.message("async")
    async def slowly(ctx: Context) -> str:
        await asyncio.sleep(0)
        return "done"

    assert BotClient(bot).send("async").text == "done"


def test_what_a_handler_raises_is_raised_here_as_the_same_object(bot: Bot) -> None:
    error = ValueError("no such order")

    @bot.message("fail")
    def fail(ctx: Context) -> None:
        raise error

    client = BotClient(bot)
    with pytest.raises(ValueError, match="no such order") as raised:
        client.send("fail")

    assert raised.value is error
    assert client.said().text == bot.error_text
    assert client.send("on").text == "Maria: on"


def test_a_failed_assertion_in_a_handler_fails_the_test(bot: Bot) -> None:
    @bot.message("fail")
    def fail(ctx: Context) -> None:
        pytest.fail("seen")

    with pytest.raises(pytest.fail.Exception, match="seen"):
        BotClient(bot).send("fail")


@pytest.mark.parametrize("raise_errors", [False, True])
@pytest.mark.parametrize("verdict", [pytest.fail, pytest.skip, pytest.xfail, pytest.exit])
def test_what_ends_a_test_ends_it_in_a_handler_too(bot: Bot, verdict: Any, raise_errors: bool) -> None:
    @bot.message("end", retries=2)
    def end(ctx: Context) -> None:
        verdict("now")

    with pytest.raises(verdict.Exception, match="now"):
        BotClient(bot, raise_errors=raise_errors).send("end")


def test_an_interrupt_from_the_keyboard_comes_out(bot: Bot) -> None:
    @bot.message("end")
    def end(ctx: Context) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        BotClient(bot, raise_errors=False).send("end")


def test_what_is_no_exception_is_a_dead_letter_as_in_production(bot: Bot) -> None:
    class Panic(BaseException):
        pass

    @bot.message("fail")
    def fail(ctx: Context) -> None:
        raise Panic("at the disco")

    client = BotClient(bot, raise_errors=False)
    assert client.send("fail").text == bot.error_text
    assert [letter.error for letter in client.dead_letters] == ["Panic: at the disco"]
    with pytest.raises(Panic):
        BotClient(bot).send("fail")


def test_without_raise_errors_failure_is_a_dead_letter(bot: Bot) -> None:
    @bot.message("fail")
    def fail(ctx: Context) -> None:
        raise ValueError("no such order")

    client = BotClient(bot, raise_errors=False)

    assert client.send("fail").text == bot.error_text
    assert [letter.error for letter in client.dead_letters] == ["ValueError: no such order"]


def test_an_answer_that_cannot_be_said_is_raised(bot: Bot) -> None:
    @bot.message("odd")
    def odd(ctx: Context) -> Any:
        return 42

    with pytest.raises(BotError, match="not int"):
        BotClient(bot).send("odd")


def test_a_refused_reply_is_raised(client: BotClient) -> None:
    fake(client).faults = [Rejected("you are blocked", code="ERR_BLOCKED")]

    with pytest.raises(DeliveryError, match="ERR_BLOCKED: you are blocked"):
        client.send("hello")


def test_a_held_reply_arrives_when_its_time_has_come(client: BotClient) -> None:
    fake(client).faults = [RateLimited("slow down", retry_after=30)]

    assert not client.send("hello")
    assert not client.advance(29)
    assert client.advance(2).text == "Maria: hello"


def test_advance_runs_each_retry_at_its_time(bot: Bot) -> None:
    times: list[float] = []
    client = BotClient(bot, now=1000.0)

    @bot.message("flaky", retries=3)
    def flaky(ctx: Context) -> str:
        times.append(ctx.bot._sender.database.now)  # type: ignore[union-attr]
        if len(times) < 3:
            raise OSError("not yet")
        return "at last"

    assert not client.send("flaky")
    assert client.advance(3600).text == "at last"
    assert times == [1000.0, 1001.0, 1003.0]


def test_advance_raises_when_the_last_retry_fails(bot: Bot) -> None:
    @bot.message("flaky", retries=1)
    def flaky(ctx: Context) -> str:
        raise OSError("never")

    client = BotClient(bot)
    client.send("flaky")

    with pytest.raises(OSError, match="never"):
        client.advance(10)


def test_a_lost_answer_is_looked_up_and_not_doubled(client: BotClient) -> None:
    fake(client).faults = [fake(client).lose_answer(OutcomeUnknown("500"))]
    client.send("hello")
    client.advance(60)

    assert client.said().texts == ["Maria: hello"]


def test_users_share_a_platform_and_talk_to_the_bot_alone(client: BotClient) -> None:
    tom = client.as_user("tom")

    assert tom.send("hello").text == "Tom: hello"
    assert not client.said()
    assert client.said(user="tom").texts == ["Tom: hello"]
    assert client.said_elsewhere().texts == ["Tom: hello"]


def test_send_takes_another_user_and_group_this_once(client: BotClient) -> None:
    assert client.send("hello", user=User("t", name="Thomas"), group="ops").text == "Thomas: hello"
    assert client.said(group="ops").texts == ["Thomas: hello"]
    assert client.user.uid == "maria"
    assert client.conversation.is_direct


def test_a_client_in_a_group_reads_the_group(client: BotClient) -> None:
    ops = client.in_group("ops")
    client.send("hello", user="tom", group="ops")

    assert ops.conversation == Conversation("fake", "test", "helpdesk", "group_ops", "ops", is_group=True)
    assert ops.said().texts == ["Tom: hello"]


def test_a_mention_is_one_for_the_bot(bot: Bot) -> None:
    @bot.message("what is up?")
    def answer(ctx: Context) -> str:
        return f"{ctx.is_mentioned} {ctx.event.raw['text']}"

    assert BotClient(bot).send("what is up?", mention=True).text == "True <@uid:helpdesk> what is up?"
    assert BotClient(bot).send("what is up?").text.startswith("False")


def test_a_message_in_a_thread_is_answered_there(client: BotClient) -> None:
    assert client.send("hello", thread="12")[0].thread_id == "12"
    assert client.send("hello")[0].thread_id == ""


def test_a_quote_comes_with_what_is_quoted(bot: Bot) -> None:
    client = BotClient(bot)
    first = client.send("hello")[0]

    @bot.message("what?")
    def what(ctx: Context) -> str:
        assert ctx.message is not None
        assert ctx.message.quote is not None
        return f"You mean: {ctx.message.quote.text}"

    assert client.send("what?", quote=first.id).text == "You mean: Maria: hello"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("https://example.com/a/photo.jpg", "image photo.jpg image/jpeg jpg None"),
        ("photo.png", "image photo.png image/png png 0"),
        (b"\x89PNG", "image photo.png image/png png 4"),
    ],
)
def test_a_picture_comes_as_an_attachment(bot: Bot, given: str | bytes, expected: str) -> None:
    @bot.message()
    def look(ctx: Context) -> str:
        item = ctx.attachments[0]
        assert ctx.message is not None
        return f"{ctx.message.type} {item.name} {item.mime_type} {item.extension} {item.size}"

    assert BotClient(bot).send_image(given).text == expected


def test_a_file_can_be_loaded_by_the_bot(bot: Bot, tmp_path: Path) -> None:
    (tmp_path / "song.mp3").write_bytes(b"la la")

    @bot.message()
    def play(ctx: Context) -> str:
        assert ctx.message is not None
        return f"{ctx.message.type} {ctx.text} {ctx.client.download(ctx.attachments[0].url).decode()}"

    assert BotClient(bot).send_file(tmp_path / "song.mp3", caption="listen").text == "audio listen la la"


def test_a_file_that_nobody_sent_cannot_be_loaded(client: BotClient) -> None:
    with pytest.raises(Rejected, match="there is no file"):
        fake(client).download("https://files.example/none")


@pytest.fixture
def shop(bot: Bot) -> Bot:
    @bot.message("shop")
    def show(ctx: Context) -> Carousel:
        tea = Card("Tea", buttons=[Button("Buy tea", "buy", "tea"), Button("Read", url="https://example.com/tea")])
        return Carousel([tea, Card("Cake", buttons=[Button("Buy cake", "buy", "cake")])])

    @bot.message("colour")
    def colour(ctx: Context) -> Choices:
        return Choices("Which colour?", ["Red", Choice("Dark blue", "navy")], action="colour")

    @bot.message("sign up")
    def sign_up(ctx: Context) -> Form:
        fields = [
            Field("name", "Your name"),
            Field("size", kind="select", options=[Choice("Small", "S"), Choice("Large", "L")], default="S"),
            Field("extras", kind="multi_select", options=["Milk", "Sugar"], optional=True),
        ]
        return Form("Sign up", fields, action="signed")

    @bot.action("buy", "colour")
    def act(ctx: Context) -> str:
        return f"{ctx.event.name} {ctx.value}"  # type: ignore[attr-defined]

    @bot.action("signed")
    def signed(ctx: Context) -> str:
        return str(ctx.values)

    return bot


PLATFORMS = pytest.mark.parametrize("capabilities", [None, TEXT_ONLY], ids=["native", "text"])


@PLATFORMS
def test_a_button_is_pressed_by_its_label(shop: Bot, capabilities: Any) -> None:
    client = BotClient(shop, capabilities=capabilities)
    client.send("shop")

    assert client.press("Buy cake").text == "buy cake"


@PLATFORMS
def test_a_choice_is_taken_by_number_or_label(shop: Bot, capabilities: Any) -> None:
    client = BotClient(shop, capabilities=capabilities)
    client.send("colour")
    assert client.choose(2).text == "colour navy"
    client.send("colour")
    assert client.choose("Red").text == "colour Red"


@PLATFORMS
def test_press_of_unknown_button_lists_the_buttons(shop: Bot, capabilities: Any) -> None:
    client = BotClient(shop, capabilities=capabilities)
    client.send("colour")

    with pytest.raises(BotError, match=r"'Green'; available: 1 'Red', 2 'Dark blue'"):
        client.press("Green")
    with pytest.raises(BotError, match="no button or choice 3"):
        client.choose(3)


def test_nothing_can_be_pressed_before_anything_was_offered(client: BotClient) -> None:
    with pytest.raises(BotError, match="available: none"):
        client.press("Buy")


def test_a_link_is_no_button_for_the_bot(shop: Bot) -> None:
    client = BotClient(shop)

    assert client.send("shop").buttons == ["Buy tea", "Read", "Buy cake"]
    assert client.said()[0].links == {"Read": "https://example.com/tea"}
    with pytest.raises(BotError, match=r"opens https://example\.com/tea"):
        client.press("Read")


def test_a_button_of_an_older_message_can_still_be_pressed(shop: Bot) -> None:
    client = BotClient(shop)
    client.send("shop")
    client.send("colour")

    assert client.press("Buy tea").text == "buy tea"


@PLATFORMS
def test_a_form_is_filled_in_with_defaults_and_options(shop: Bot, capabilities: Any) -> None:
    client = BotClient(shop, capabilities=capabilities)
    client.send("sign up")

    assert client.fill(name="Maria", size="Large", extras=["Milk", "Sugar"]).text == str(
        {"name": "Maria", "size": "L", "extras": "Milk, Sugar"}
    )
    client.send("sign up")
    assert client.fill({"name": "Tom"}).text == str({"name": "Tom", "size": "S", "extras": ""})


@PLATFORMS
@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"nme": "Maria"}, "no field nme; it has: name, size, extras"),
        ({"size": "Large"}, "missing form fields: name"),
        ({"name": "Maria", "size": "Huge"}, "no option Huge; it has: Small, Large"),
    ],
)
def test_a_form_filled_in_wrongly_is_an_error(shop: Bot, capabilities: Any, values: dict[str, str], error: str) -> None:
    client = BotClient(shop, capabilities=capabilities)
    client.send("sign up")

    with pytest.raises(BotError, match=error):
        client.fill(values)


def test_a_form_that_nobody_showed_cannot_be_filled_in(client: BotClient) -> None:
    with pytest.raises(BotError, match="there is no form"):
        client.fill(name="Maria")


def test_replies_tell_what_a_form_asks(shop: Bot) -> None:
    assert BotClient(shop).send("sign up")[0].fields == ["name", "size", "extras"]


@pytest.fixture
def listener(bot: Bot) -> Bot:
    @bot.event(EditEvent, DeleteEvent, ReactionEvent, MembershipEvent, ContactEvent)
    def heard(ctx: Context) -> str:
        event = ctx.event
        details = {
            EditEvent: lambda: event.message.text,  # type: ignore[attr-defined]
            DeleteEvent: lambda: event.message_id,  # type: ignore[attr-defined]
            ReactionEvent: lambda: f"{event.reaction} {event.message_id} {event.added}",  # type: ignore[attr-defined]
            MembershipEvent: lambda: f"{event.action} {event.members[0].uid}",  # type: ignore[attr-defined]
            ContactEvent: lambda: event.action,  # type: ignore[attr-defined]
        }
        return f"{type(event).__name__} {details[type(event)]()}"

    return bot


def test_a_user_changes_and_takes_back_what_was_written(listener: Bot) -> None:
    client = BotClient(listener)
    client.send("hello")

    assert client.edit("goodbye").text == "EditEvent goodbye"
    assert client.delete().text == f"DeleteEvent {client.message_id}"


def test_nothing_can_be_changed_before_anything_was_written(client: BotClient) -> None:
    with pytest.raises(BotError, match="maria has sent no message yet"):
        client.edit("goodbye")
    with pytest.raises(BotError, match="send"):
        client.delete()


def test_a_user_reacts_to_what_the_bot_said(listener: Bot) -> None:
    client = BotClient(listener)
    with pytest.raises(BotError, match="no message here"):
        client.react("👍")
    first = client.send("hello")[0]

    assert client.react("👍").text == f"ReactionEvent 👍 {first.id} True"
    assert client.react("👍", to=first, added=False).text == f"ReactionEvent 👍 {first.id} False"


def test_a_user_joins_and_leaves_a_group(listener: Bot) -> None:
    client = BotClient(listener)

    assert client.join("ops").text == "MembershipEvent joined maria"
    assert client.in_group("ops").leave().text == "MembershipEvent left maria"
    with pytest.raises(BotError, match="missing group"):
        client.join()


def test_any_event_can_come_in(listener: Bot) -> None:
    client = BotClient(listener)

    assert client.event(ContactEvent, action="request").text == "ContactEvent request"
    whole = ContactEvent(key="c1", conversation=client.conversation, sender=client.user, action="connected")
    assert client.event(whole).text == "ContactEvent connected"


def test_state_can_be_read_and_set(bot: Bot) -> None:
    @bot.message("count")
    def count(ctx: Context) -> str:
        ctx.state["times"] = ctx.state.get("times", 0) + 1
        return f"{ctx.state.increment('total', 2)} {ctx.user_state.get('vip', False)}"

    client = BotClient(bot)
    client.state["times"] = 4
    client.user_state["vip"] = True

    assert client.send("count").text == "2 True"
    assert dict(client.state) == {"times": 5, "total": 2}
    del client.state["times"]
    assert client.state.get("times") is None
    assert client.as_user("tom").send("count").text == "2 False"
    with pytest.raises(KeyError):
        del client.state["times"]
    with pytest.raises(BotError, match="must be JSON"):
        client.state["odd"] = object()
    with pytest.raises(BotError, match="a state key has at most 500 bytes"):
        client.state["n" * 501] = 1


def test_what_cometbot_keeps_for_itself_is_not_listed(shop: Bot) -> None:
    client = BotClient(shop)
    client.send("colour")

    assert len(client.state) == 0
    assert repr(client.state) == "<conversation state {}>"


def test_what_the_bot_sends_of_its_own_accord_arrives(bot: Bot) -> None:
    client = BotClient(bot)
    bot.send(user="maria", text="Your order is out.")
    bot.send(group="ops", message=Card("Stock is low"))

    assert client.said().text == "Your order is out."
    assert client.said(group="ops")[0].message == Card("Stock is low")


def test_what_the_bot_sent_before_is_no_answer(bot: Bot) -> None:
    client = BotClient(bot)
    bot.send(user="maria", text="Your order is out.")

    assert client.send("thanks").texts == ["Maria: thanks"]


def test_what_a_handler_says_elsewhere_is_seen_there(bot: Bot) -> None:
    @bot.message("tell")
    def tell(ctx: Context) -> str:
        ctx.send("Somebody asked", to=ctx.conversation_with(group="team"))
        return "told"

    client = BotClient(bot)

    assert client.send("tell").texts == ["told"]
    assert client.said_elsewhere().texts == client.said(group="team").texts == ["Somebody asked"]


def test_a_newer_client_of_a_bot_carries_what_it_sends(bot: Bot) -> None:
    older, newer = BotClient(bot), BotClient(bot)
    bot.send(user="maria", text="hello")

    assert newer.said().text == "hello"
    assert not older.said()


def test_a_client_that_nobody_has_any_more_gives_everything_back() -> None:
    bot = Bot("short-lived")
    client = BotClient(bot)
    client.send("hello")
    seen = weakref.ref(client._harness)
    del client, bot
    gc.collect()

    assert seen() is None


def test_a_client_can_be_closed_twice(bot: Bot) -> None:
    with BotClient(bot) as client:
        client.send("hello")
    client.close()


CHANNELS = ["fake", "cometchat", "chat_api", "platform", "simplex", "agui"]


@pytest.fixture
def offering_bot() -> Bot:
    made = Bot("shop")

    @made.message("card")
    def card(ctx: Context) -> Card:
        return Card("Tea", buttons=[Button("Buy", "buy", "1"), Button("Look", "look", "1")])

    @made.message("colour")
    def ask(ctx: Context) -> Choices:
        return Choices("Which colour?", ["red", "blue"], action="colour")

    @made.action("colour")
    def take(ctx: Context, colour: str) -> str:
        return f"{colour} it is"

    @made.message("before")
    def before(ctx: Context) -> str:
        return "\n".join(f"{message.text}" for message in ctx.history())

    return made


@pytest.mark.parametrize("channel", CHANNELS)
def test_offers_are_named_where_they_can_be_taken(offering_bot: Bot, channel: Any) -> None:
    with BotClient(offering_bot, channel=channel) as client:
        assert client.send("card").buttons == ["Buy", "Look"]
        replies = client.send("colour")
        assert (replies.choices, replies.buttons) == (["red", "blue"], [])
        assert client.choose(replies.choices[1]).text == "blue it is"
        assert client.said().choices in ([], ["red", "blue"])


@pytest.mark.parametrize("channel", CHANNELS)
def test_history_leaves_out_how_to_answer(offering_bot: Bot, channel: Any) -> None:
    with BotClient(offering_bot, channel=channel) as client:
        client.send("card")
        client.send("colour")
        text = client.send("before").text

    assert "Which colour?" in text
    assert "Answer" not in text


def test_history_of_the_fake_channel_has_the_bots_messages_whole(bot: Bot) -> None:
    heard: list[Any] = []

    @bot.message("photo")
    def photo(ctx: Context) -> list[Any]:
        return [Media("https://example.com/tea.png", caption="Our tea"), Custom("poll", {"question": "Tea?"}, "Tea?")]

    @bot.message("before")
    def before(ctx: Context) -> None:
        heard.extend(ctx.history())

    client = BotClient(bot, now=1000.0)
    client.send("photo")
    client.advance(60)
    client.send("before")

    picture, poll = heard[1:3]
    assert (picture.type, picture.text, picture.attachments[0].url) == (
        "image",
        "Our tea",
        "https://example.com/tea.png",
    )
    assert (poll.type, poll.category, poll.data, poll.text) == ("poll", "custom", {"question": "Tea?"}, "Tea?")
    assert [message.sent_at for message in heard] == [1000.0, 1000.0, 1000.0, 1060.0]


def test_history_of_the_fake_channel_follows_edits_and_deletions(bot: Bot) -> None:
    heard: list[str] = []

    @bot.message("draft")
    def draft(ctx: Context) -> None:
        ctx.reply("wrong").edit("right")
        ctx.reply("gone").delete()

    @bot.message("before")
    def before(ctx: Context) -> None:
        heard.extend(message.text for message in ctx.history())

    client = BotClient(bot)
    client.send("hello")
    client.edit("hello again")
    client.send("oops")
    client.delete()
    client.send("draft")
    client.send("before")

    assert heard == ["hello again", "Maria: hello", "Maria: oops", "draft", "right", "before"]


@pytest.mark.parametrize("channel", ["fake", "cometchat", "simplex"])
def test_the_bot_hears_a_user_join_and_not_itself(channel: Any) -> None:
    bot = Bot("helpdesk")

    @bot.event(MembershipEvent)
    def welcome(ctx: Context) -> str:
        return f"{ctx.event.action} {ctx.event.members[0].name}"  # type: ignore[attr-defined]

    with BotClient(bot, group="ops", channel=channel) as client:
        assert client.join().text == "joined Maria"
        assert client.as_user("ben").join("ops").text == "joined Ben"
        assert client.leave().text == "left Maria"
        assert client.join().text == "joined Maria"


@pytest.mark.parametrize("channel", ["fake", "cometchat", "simplex"])
def test_a_member_cannot_join_again(bot: Bot, channel: Any) -> None:
    with BotClient(bot, group="ops", channel=channel) as client:
        assert client.send("hello", mention=True).text == "Maria: hello"
        with pytest.raises(BotError, match="maria is in ops already"):
            client.join()


def test_a_channel_without_its_packages_names_the_extra(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'jwt'", name="jwt")

    monkeypatch.setattr("cometbot.testing.client.importlib.import_module", missing)
    with pytest.raises(ConfigurationError, match=r"pip install 'cometbot\[chat\]'"):
        BotClient(bot, channel="platform")


def test_an_unknown_channel_is_refused(bot: Bot) -> None:
    with pytest.raises(ConfigurationError, match="got 'telegram'"):
        BotClient(bot, channel="telegram")  # type: ignore[arg-type]


def test_a_real_channel_keeps_its_own_capabilities(bot: Bot) -> None:
    with pytest.raises(ConfigurationError, match="only the fake platform"):
        BotClient(bot, channel="cometchat", capabilities=TEXT_ONLY)


def test_time_stands_still_until_it_is_advanced(bot: Bot) -> None:
    @bot.message("when")
    def when(ctx: Context) -> str:
        return str(ctx.event.sent_at)

    client = BotClient(bot, now=1_700_000_000)

    assert client.send("when").text == "1700000000"
    client.advance(90)
    assert client.send("when").text == "1700000090"


def test_a_client_shows_who_talks_to_whom(client: BotClient) -> None:
    assert repr(client) == "<BotClient maria with helpdesk>"
    assert repr(client.in_group("ops")) == "<BotClient maria in ops with helpdesk>"
    assert repr(client.send("hi")) == "<Replies ['Maria: hi']>"


def test_history_holds_both_sides(bot: Bot) -> None:
    @bot.message("recall")
    def recall(ctx: Context) -> str:
        return " | ".join(event.text for event in ctx.history(3))

    client = BotClient(bot)
    client.send("hello")

    assert client.send("recall").text == "hello | Maria: hello | recall"


def test_newer_message_stops_the_handler_that_it_is_written_in(bot: Bot) -> None:
    seen: list[object] = []

    @bot.message("long", stop_on_new=True)
    def work(ctx: Context) -> str:
        seen.extend([ctx.cancelled, client.send("short").texts, ctx.cancelled])
        return "stopped"

    @bot.message("short")
    def short(ctx: Context) -> str:
        return "at once"

    client = BotClient(bot)
    assert client.send("long").texts == ["stopped", "at once"]
    assert seen == [False, [], True]


def test_stop_during_a_dialog_is_read_at_the_same_point_of_each_run(bot: Bot) -> None:
    @bot.command("work")
    async def work(ctx: Context) -> str:
        before = ctx.cancelled
        assert ctx.once(lambda: True)
        if not ctx.cancelled:  # so in the first run, up to here
            client.send("/stop")
        stopped = ctx.cancelled
        answer = ctx.ask(f"{before}, {stopped}. Go on?")
        return f"{answer}: {before}, {stopped}, {ctx.cancelled}"

    client = BotClient(bot)
    assert client.send("/work").texts == ["All right, I have stopped.", "False, True. Go on?"]
    assert client.send("yes").texts == ["yes: False, True, False"]


@pytest.mark.parametrize(
    ("apps", "said"),
    [
        (["shop eu"], "apps: expected names such as shop_eu,shop_us"),
        (["x-y", "x_y"], "apps: the apps x-y and x_y would share"),
        (["helpdesk"], "the app 'helpdesk' and the bot 'helpdesk' would share"),
    ],
)
def test_apps_with_which_no_server_starts_are_refused(apps: list[str], said: str) -> None:
    with pytest.raises(BotError, match=said):
        BotClient(Bot("helpdesk"), apps=apps)


def test_apps_of_a_bot_are_one_platform() -> None:
    bot = Bot("shop")

    @bot.message()
    def tell(ctx: Context) -> str:
        bot.send(group="team", text=f"{ctx.app}: {ctx.text}", app="shop_eu")
        return ctx.app

    client = BotClient(bot, apps=["shop_us", "shop_eu"])
    assert client.send("hi").text == "shop_us"
    assert [said.text for said in client.said_elsewhere()] == ["shop_us: hi"]
    with pytest.raises(BotError, match="the app 'shop_asia' is not served here; there is: shop_us, shop_eu"):
        bot.send(user="tom", text="hi", app="shop_asia")
    assert BotClient(Bot("other")).channel.app == ""
