"""How broadcasts are called, how fast they are, and who opts out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cometbot import Bot, BotError, Button, Card, Choices, Context, Form, Media, Text
from cometbot.broadcasts import MAX_BATCH, Pace, find_digest, make_request, split_users
from cometbot.errors import MessageError, RegistrationError
from cometbot.messages import ClientCall, Field
from cometbot.models import User
from cometbot.testing import BotClient


@pytest.mark.parametrize(
    ("text", "batch", "seconds"),
    [("20/second", 20, 1.0), ("1000/second", MAX_BATCH, 0.05), (" 10 / Minute", 1, 6.0), ("600/minute", 10, 1.0)],
)
def test_pace_is_even(text: str, batch: int, seconds: float) -> None:
    pace = Pace.parse(text)
    assert (pace.batch, pace.seconds_for(pace.batch)) == (batch, pytest.approx(seconds))


@pytest.mark.parametrize("text", ["", "20", "0/second", "-1/second", "1.5/hour", "1001/second", "20/week", 20, None])
def test_other_paces_are_refused(text: object) -> None:
    with pytest.raises(BotError, match=r"pace: expected a number a second, minute, hour or day"):
        Pace.parse(text)


def test_users_come_in_chunks_each_once() -> None:
    chunks = list(split_users(User(f"u{number % 1500}") for number in range(2500)))
    assert [len(chunk) for chunk in chunks] == [1000, 1000, 500]
    assert list(split_users([])) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one of text= and message="),
        ({"text": "a", "message": Text("b")}, "exactly one of text= and message="),
        ({"message": "News"}, "a message such as Card, not str"),
        ({"text": "a", "name": "a\nb"}, "printable characters"),
        ({"text": "a", "name": "#b"}, "does not begin with #"),
        ({"text": "a", "pace": "fast"}, "pace: expected"),
    ],
)
def test_wrong_calls_are_errors(options: Any, message: str) -> None:
    with pytest.raises(BotError, match=message):
        Bot("news").broadcast(users=["maria"], **options)


def test_messages_that_cannot_be_sent_to_many_are_errors() -> None:
    with pytest.raises(MessageError, match="needs some text"):
        Bot("news").broadcast(users=["maria"], text=" ")
    with pytest.raises(MessageError, match="a ClientCall cannot be broadcast"):
        Bot("news").broadcast(users=["maria"], message=ClientCall("show_map"))

    class Own(Text):
        pass

    with pytest.raises(BotError, match=r"one of Text, Media, .* not Own"):
        make_request(Own("News"), "", "", "1/second")


@pytest.mark.parametrize("name", ["b3", "J12"])
def test_name_is_no_id(name: str) -> None:
    with pytest.raises(BotError, match="name: expected a name that is no id of cometbot jobs"):
        make_request(Text("News"), name, "", "1/second")


def test_digest_names_the_content_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "news.txt"
    path.write_text("one")
    by_path = find_digest(Media(path=path))
    assert by_path == find_digest(Media(data=b"one", name="news.txt"))
    path.write_text("two")
    assert find_digest(Media(path=path)) != by_path
    with pytest.raises(MessageError, match="expected a file"):
        find_digest(Media(path=tmp_path))


def test_file_is_stored_once_and_goes_to_everybody() -> None:
    bot = Bot("news")
    with BotClient(bot, user="maria") as client:
        for _ in range(2):
            bot.broadcast(users=["maria", "tom"], message=Media(data=b"a,b", name="prices.csv"), name="prices")
        client.advance("1m")
        for user in ("maria", "tom"):
            said = client.as_user(user).said()
            assert len(said) == 1
            assert client.as_user(user).download(said[0]) == b"a,b"


def test_uids_that_differ_in_case_are_one_user_of_cometchat() -> None:
    bot = Bot("news")
    with BotClient(bot, channel="cometchat", user="maria") as client:
        client.fake.simulator.add_user("maria")
        assert bot.broadcast(users=["Maria", "maria"], text="News", name="news").recipients == 1
        assert bot.broadcast(users=["MARIA"], text="News", name="news").recipients == 1
        client.advance("1m")
        assert client.said().texts == ["News"]


def make_bot(**options: Any) -> Bot:
    bot = Bot("news", opt_out_words=["Unsubscribe", "stop news"], **options)

    @bot.command("publish")
    def publish(ctx: Context) -> str:
        return str(bot.broadcast(users=["maria"], text="News").recipients)

    @bot.command("ask")
    def ask(ctx: Context) -> str:
        return ctx.ask("Stay?", choices=["unsubscribe", "stay"])

    @bot.command("buttons")
    def buttons(ctx: Context) -> Card:
        return Card("News", buttons=[Button("Unsubscribe"), Button("Stay")])

    @bot.message()
    def answer(ctx: Context) -> str:
        return "Yes?"

    return bot


def gets_news(client: BotClient) -> bool:
    """Return True if the user gets a broadcast."""
    before = len([text for text in client.said().texts if text == "News"])
    client.as_user("boss").send("/publish")
    return len([text for text in client.said().texts if text == "News"]) > before


@pytest.mark.parametrize("text", ["unsubscribe", " UNSUBSCRIBE ", "/unsubscribe", "stop  News"])
def test_word_opts_out_until_the_other_word(text: str) -> None:
    with BotClient(make_bot()) as client:
        assert gets_news(client)
        assert client.send(text).text == (
            "All right, I will not send you news any more. To get them again, write: subscribe"
        )
        assert not gets_news(client)
        assert client.send("Subscribe").text == "All right, I will send you news again."
        assert gets_news(client)


@pytest.mark.parametrize("text", ["unsubscribe me", "/unsubscribe now", "please unsubscribe"])
def test_longer_texts_do_not(text: str) -> None:
    with BotClient(make_bot()) as client:
        client.send(text)
        assert gets_news(client)


def test_texts_are_the_bots() -> None:
    with BotClient(make_bot(opt_out_text="Gone. {opt_in}?", opt_in_words=["back"], opt_in_text=None)) as client:
        assert client.send("unsubscribe").text == "Gone. back?"
        assert not client.send("back")
        assert client.send("subscribe").text == "Yes?"


def test_button_of_that_name_opts_out() -> None:
    with BotClient(make_bot()) as client:
        client.send("/buttons")
        assert client.press("Unsubscribe").text.startswith("All right")
        assert not gets_news(client)


def test_answer_to_a_question_is_none() -> None:
    with BotClient(make_bot()) as client:
        client.send("/ask")
        assert client.send("unsubscribe").text == "unsubscribe"
        assert gets_news(client)


@pytest.mark.parametrize("name", ["command", "action"])
def test_handler_of_that_name_is_called_instead(name: str) -> None:
    bot = make_bot()
    register = bot.command if name == "command" else bot.action

    @register("Unsubscribe" if name == "action" else "unsubscribe")
    def own(ctx: Context) -> str:
        return "My own."

    with BotClient(bot) as client:
        if name == "command":
            assert client.send("/unsubscribe").text == "My own."
        else:
            client.send("/buttons")
            assert client.press("Unsubscribe").text == "My own."
        assert gets_news(client)


def test_in_groups_the_word_is_a_message() -> None:
    with BotClient(make_bot(), group="ops") as client:
        assert client.send("unsubscribe").text == "Yes?"


def test_without_words_nobody_opts_out() -> None:
    bot = Bot("news")
    bot.message()(lambda ctx: "Yes?")
    with BotClient(bot) as client:
        assert client.send("subscribe").text == "Yes?"


@pytest.mark.parametrize(
    "options",
    [
        {"opt_out_words": "stop"},
        {"opt_out_words": [5]},
        {"opt_out_words": ["/stop"]},
        {"opt_out_words": ["Subscribe"]},
        {"opt_in_words": [" "]},
        {"opt_in_words": ()},
    ],
)
def test_wrong_words_are_errors(options: Any) -> None:
    with pytest.raises(RegistrationError, match=r"opt_(out|in)_words: expected"):
        Bot("news", **options)


def test_inside_once_a_broadcast_needs_a_name() -> None:
    bot = Bot("news")

    @bot.command("publish")
    def publish(ctx: Context, *, name: str = "") -> str:
        return str(ctx.once(lambda: bot.broadcast(users=["tom"], text="News", name=name).recipients))

    with BotClient(bot) as client:
        assert client.send("/publish news").text == "1"
        with pytest.raises(BotError, match=r"inside ctx\.once it needs a name"):
            client.send("/publish")


def test_async_handler_calls_it_plainly() -> None:
    bot = Bot("news")

    @bot.command("publish")
    async def publish(ctx: Context) -> str:
        return str(bot.broadcast(users=["maria", "tom"], text="News").recipients)

    with BotClient(bot) as client:
        assert client.send("/publish").texts == ["2", "News"]


@pytest.mark.parametrize(
    "message",
    [
        Card("a", "b", "https://a.example/b.png", [Button("x", value={"n": 1})], by=["tom"], expires="2h", once=True),
        Choices("Which?", ["a", "b"], action="c"),
        Form("Who?", [Field("name", optional=True), Field("n", kind="number", min=1)], action="f"),
        Media("https://a.example/b.png", caption="c", metadata={"a": [1]}, tags=("t",)),
    ],
    ids=lambda message: type(message).__name__,
)
def test_message_survives_its_storage(message: Any) -> None:
    from cometbot.message_json import message_from_json, message_to_json

    stored = message_to_json(message)
    again = message_from_json(stored)
    assert message_to_json(again) == stored
    assert (type(again), again.to_text(), again.offers()) == (type(message), message.to_text(), message.offers())
