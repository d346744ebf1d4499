"""A user is handed over to the people of a group, and back."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest

from cometbot import Attachment, Bot, Context, Conversation, Field, Form, Group, HandOffEvent, MessageEvent
from cometbot.errors import BotError, NotDelivered, RateLimited, Rejected, Unreachable
from cometbot.messages import Button, Card, Media
from cometbot.testing import TEXT_ONLY, BotClient, FakeChannel

INTRODUCTION = "Maria would like to talk to a person."
HINT = "Answer in this thread, and write /done there to hand back."


def make_bot(**options: Any) -> Bot:
    bot = Bot("helpdesk")

    @bot.command("human")
    def human(ctx: Context) -> str:
        ctx.reply("A person will answer you here.")
        end = ctx.hand_off(Group("support"), **options)
        return f"The bot again: {end.status} {end.by and end.by.name}"

    bot.fallback(lambda ctx: f"you said {ctx.text}")
    return bot


class Support:
    """Maria, and Ben of the support, who answers in her thread."""

    def __init__(self, bot: Bot, **options: Any) -> None:
        self.maria = BotClient(bot, **options)
        self.ben = self.maria.as_user("ben", group="support")

    @property
    def thread(self) -> str:
        return self.ben.said()[0].id

    @property
    def relayed(self) -> list[str]:
        """What was relayed to the thread, or said there by the bot."""
        return [said.text for said in self.ben.said()[1:] if said.thread_id == self.thread]

    def answer(self, text: str) -> list[str]:
        """Let Ben write in the thread, and return what Maria gets."""
        count = len(self.maria.said())
        self.ben.send(text, thread=self.thread)
        return [said.text for said in self.maria.said()[count:]]


def test_texts_are_relayed_both_ways_until_they_hand_back() -> None:
    support = Support(make_bot(transcript=0))
    assert support.maria.send("/human").texts == ["A person will answer you here."]
    assert support.ben.said()[0].text == f"{INTRODUCTION}\n\n{HINT}"
    assert support.maria.send("My parcel is wet").texts == []
    assert support.relayed == ["Maria: My parcel is wet"]
    assert support.answer("We send a new one.") == ["Ben: We send a new one."]
    assert support.answer("/done") == ["The bot again: done Ben"]
    assert support.relayed == ["Maria: My parcel is wet", "Handed back by Ben."]
    assert support.maria.send("thanks").texts == ["you said thanks"]
    assert support.answer("one more thing") == []
    assert support.relayed[-1] == "Handed back by Ben. What you write here is not passed on."


def test_handlers_get_nothing_that_is_relayed() -> None:
    bot = make_bot()
    bot.command("order")(lambda ctx: "ordered")
    support = Support(bot)
    support.maria.send("/human")
    assert support.maria.send("/order").texts == []
    support.maria.edit("/order 2")
    assert support.relayed == ["Maria: /order", "Maria (edited): /order 2"]


def test_files_are_relayed() -> None:
    support = Support(make_bot())
    support.maria.send("/human")
    support.maria.send_image("https://files.example.com/parcel.png", caption="look")
    *_, text, picture = support.ben.said()
    assert text.text == "Maria: look"
    assert isinstance(picture.message, Media)
    assert (picture.message.url, picture.thread_id) == ("https://files.example.com/parcel.png", support.thread)
    support.ben.send_file("https://files.example.com/form.pdf", thread=support.thread)
    received = support.maria.said()[-1].message
    assert isinstance(received, Media)
    assert received.url == "https://files.example.com/form.pdf"


def test_presses_are_relayed_as_words() -> None:
    bot = make_bot()
    bot.message("shop")(lambda ctx: Card("Shop", buttons=[Button("Buy", "buy", value="tea")]))
    bot.action("buy")(lambda ctx: "bought")
    support = Support(bot)
    support.maria.send("shop")
    support.maria.send("/human")
    assert support.maria.press("Buy").texts == []
    assert support.relayed == ["Maria pressed: tea"]


def test_filled_form_is_relayed_as_lines() -> None:
    bot = make_bot()
    bot.message("form")(lambda ctx: Form("You", action="you", fields=[Field("name"), Field("age")]))
    bot.action("you")(lambda ctx: "thanks")
    support = Support(bot)
    support.maria.send("form")
    support.maria.send("/human")
    assert support.maria.fill(name="Maria", age="40").texts == []
    assert support.relayed == ["Maria:\nname: Maria\nage: 40"]


@pytest.mark.parametrize(("data", "relayed"), [("YWJj", b"abc"), ("?", None)])
def test_file_without_an_address_for_others_is_relayed_by_its_content(
    data: str, relayed: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    support = Support(make_bot())
    support.maria.send("/human")
    support.maria.event(
        MessageEvent(
            key="message:x",
            conversation=support.maria.conversation,
            sender=support.maria.user,
            id="x",
            type="file",
            attachments=(Attachment(f"data:text/plain;base64,{data}", "notes.txt"),),
        )
    )
    if relayed is None:
        assert support.relayed == ["Maria: notes.txt (could not be loaded)"]
        assert "a file is not relayed: MessageError" in caplog.text
        assert "notes.txt" not in caplog.text
    else:
        assert support.ben.download() == relayed
        assert support.ben.said()[-1].text.startswith("Maria:\n\nnotes.txt")


def test_transcript_is_the_newest_that_fits() -> None:
    support = Support(make_bot(transcript=3, text="Help!"))
    support.maria.send("first")
    support.maria.send("second")
    support.maria.send("/human")
    said = support.ben.said()[0].text.split("\n\n")
    assert said[0] == "Help!"
    assert said[-1] == HINT
    assert "Maria: /human" in said
    assert not any("first" in line for line in said)


def test_long_transcript_is_cut_to_one_message() -> None:
    support = Support(make_bot(transcript=100))
    for number in range(10):
        support.maria.send(f"{number} " + "x" * 900)
    support.maria.send("/human")
    assert len(support.ben.said()) == 1
    assert len(support.ben.said()[0].text.encode()) <= 4000


def test_users_have_a_thread_each() -> None:
    support = Support(make_bot())
    support.maria.send("/human")
    tom = support.maria.as_user("tom")
    tom.send("/human")
    tom.send("from Tom")
    first, second, relayed = support.ben.said()
    assert (relayed.text, relayed.thread_id) == ("Tom: from Tom", second.id)
    support.ben.send("hello Maria", thread=first.id)
    assert support.maria.said()[-1].text == "Ben: hello Maria"
    assert tom.said()[-1].text == "A person will answer you here."
    support.ben.send("/done", thread=second.id)
    assert tom.said()[-1].text == "The bot again: done Ben"
    assert support.answer("still here?") == ["Ben: still here?"]


def test_talk_outside_the_thread_stays_there() -> None:
    support = Support(make_bot())
    support.maria.send("/human")
    count = len(support.maria.said())
    assert support.ben.send("Who takes this one?").texts == ["you said Who takes this one?"]
    assert support.ben.send("Lunch?", thread="other").texts == ["you said Lunch?"]
    support.ben.send("approve 1")
    assert len(support.maria.said()) == count


def test_time_is_over() -> None:
    support = Support(make_bot(timeout="1h"))
    support.maria.send("/human")
    assert support.maria.advance("1h").texts == ["The bot again: expired None"]
    assert support.relayed == ["Handed back: the time is over."]


def test_user_ends_it() -> None:
    support = Support(make_bot())
    support.maria.send("/human")
    assert support.maria.send("/cancel").texts == ["The bot again: cancelled None"]
    assert support.relayed == ["Handed back: the user has ended the conversation."]


def test_handler_elsewhere_ends_it() -> None:
    bot = make_bot()

    @bot.command("close")
    def close(ctx: Context, uid: str) -> str:
        ctx.resume(ctx.conversation_with(user=uid))
        ctx.resume(ctx.conversation_with(user=uid))
        return "closed"

    support = Support(bot)
    support.maria.send("/human")
    assert support.ben.send("/close maria").texts == ["closed", "Handed back to the bot."]
    assert support.maria.said()[-1].text == "The bot again: resumed None"
    assert support.ben.send("/close maria").texts == ["closed"]


def test_bot_goes_on_asking_after_it() -> None:
    bot = Bot("helpdesk")

    @bot.command("human")
    def human(ctx: Context) -> str:
        ctx.hand_off(Group("support"))
        return f"rated {ctx.ask('How was it?')}"

    support = Support(bot)
    support.maria.send("/human")
    assert support.answer("/done") == ["How was it?"]
    assert support.maria.send("good").texts == ["rated good"]
    assert support.maria.waiting is None or not support.maria.waiting


@pytest.mark.parametrize(
    ("end", "status"), [("/done", "done by Ben"), ("/cancel", "cancelled"), ("1h", "expired"), ("resume", "resumed")]
)
def test_end_is_an_event(end: str, status: str) -> None:
    bot = make_bot(timeout="1h")
    bot.command("close")(lambda ctx: ctx.resume(ctx.conversation_with(user="maria")))

    @bot.event(HandOffEvent)
    def report(ctx: Context) -> str:
        assert isinstance(ctx.event, HandOffEvent)
        assert ctx.sender.uid == "maria"
        by = f" by {ctx.event.by}" if ctx.event.by else ""
        return f"event: {ctx.event.status}{by}, {ctx.ask('Why?', of='maria')}"

    support = Support(bot)
    support.maria.send("/human")
    if end == "/done":
        support.answer(end)
    elif end == "/cancel":
        support.maria.send(end)
    elif end == "resume":
        support.ben.send("/close")
    else:
        support.maria.advance(end)
    assert support.maria.said()[-1].text == "Why?"
    assert support.maria.send("so").texts == [f"event: {status}, so"]


def test_group_that_does_not_exist_is_not_delivered() -> None:
    bot = Bot("helpdesk")

    @bot.command("human")
    def human(ctx: Context) -> str:
        try:
            ctx.hand_off(Group("nobody"))
        except NotDelivered:
            return "Nobody is there."
        return "?"

    client = BotClient(bot, raise_errors=False)
    client.channel.faults.append(Rejected("there is no such group", status=404))  # type: ignore[attr-defined]
    assert client.send("/human").texts == ["Nobody is there."]
    assert client.send("hi").texts == []


@pytest.mark.parametrize(("outage", "in_thread"), [(10, True), (100, False)])
def test_message_waits_a_while_for_its_thread(outage: float, in_thread: bool) -> None:
    support = Support(make_bot(), raise_errors=False, now=1_700_000_000.0)
    channel = support.maria.channel
    assert isinstance(channel, FakeChannel)
    channel.faults += [None, RateLimited("slow down", retry_after=outage)]
    support.maria.send("/human")
    support.maria.send("one")
    support.maria.send("two")
    assert not support.ben.said()
    support.maria.advance(outage + 60)
    first, *said = support.ben.said()
    assert [item.text for item in said] == ["Maria: one", "Maria: two"]
    assert all(item.thread_id == (first.id if in_thread else "") for item in said)


def test_maintenance_and_limits_do_not_stop_people() -> None:
    bot = make_bot()
    support = Support(bot)
    support.maria.send("/human")
    bot.maintenance = "Soon."
    assert support.maria.send("hello").texts == []
    assert support.answer("hi") == ["Ben: hi"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"to": "support"}, r'to: expected a Group such as Group\("support"\)'),
        ({"transcript": -1}, "transcript: expected 0 to 100 messages"),
        ({"transcript": True}, "transcript: expected 0 to 100 messages"),
        ({"timeout": "never"}, "timeout: expected a duration"),
        ({"text": 5}, "text: expected what people read first"),
    ],
)
def test_arguments_are_checked(options: dict[str, Any], error: str) -> None:
    bot = Bot("helpdesk")
    bot.command("human")(lambda ctx: ctx.hand_off(**{"to": Group("support"), **options}))
    with pytest.raises(BotError, match=error):
        BotClient(bot).send("/human")


def test_only_a_user_alone_with_the_bot_is_handed_over() -> None:
    with pytest.raises(BotError, match="from a one-to-one conversation, not in a group"):
        BotClient(make_bot(), group="support").send("/human")


def test_channel_needs_threads() -> None:
    with pytest.raises(BotError, match="the channel fake has no threads"):
        BotClient(make_bot(), capabilities=TEXT_ONLY).send("/human")


def test_cometchat_relays_in_its_threads() -> None:
    support = Support(make_bot(), channel="cometchat")
    support.ben.join()
    support.maria.send("/human")
    support.maria.send("My parcel is wet")
    assert support.relayed == ["Maria: My parcel is wet"]
    assert support.answer("We send a new one.") == ["Ben: We send a new one."]
    assert support.answer("/done") == ["The bot again: done Ben"]


def test_person_who_leaves_is_followed_by_another() -> None:
    support = Support(make_bot())
    support.maria.send("/human")
    support.answer("One moment.")
    support.ben.leave()
    tom = support.maria.as_user("tom", group="support")
    tom.send("I go on.", thread=support.thread)
    assert support.maria.said()[-1].text == "Tom: I go on."
    tom.send("/done", thread=support.thread)
    assert support.maria.said()[-1].text == "The bot again: done Tom"


def test_code_that_hands_over_no_more_tells_the_people() -> None:
    support = Support(make_bot())
    support.maria.send("/human")
    changed = Bot("helpdesk")

    def human(ctx: Context) -> str:
        return f"{ctx.ask('What is it about?')}"

    human.__qualname__ = "make_bot.<locals>.human"
    changed.command("human")(human)
    support.maria.restart(changed)
    support.maria.send("/cancel")
    assert support.relayed == ["Handed back: the request was withdrawn."]


def test_refused_relay_is_a_dead_letter() -> None:
    support = Support(make_bot(), raise_errors=False)
    support.maria.send("/human")
    channel = support.maria.channel
    assert isinstance(channel, FakeChannel)
    channel.faults.append(Rejected("the bot was removed", status=403))
    support.maria.send("Is anybody there?")
    [letter] = support.maria.dead_letters
    assert letter.is_reply
    assert support.answer("Yes.") == ["Ben: Yes."]


def test_bots_are_not_relayed() -> None:
    support = Support(make_bot())
    support.maria.send("/human")
    channel = support.maria.channel
    assert isinstance(channel, FakeChannel)
    channel.bot_uids.add("ben")
    assert support.answer("I am a bot.") == []


def test_people_may_be_on_another_channel() -> None:
    bot = Bot("helpdesk")

    @bot.command("human")
    def human(ctx: Context) -> str:
        return f"back: {ctx.hand_off(Group('support', channel='cometchat')).status}"

    support = Support(bot, also=["cometchat"])
    support.maria.send("/human")
    first = support.ben.said()[0]
    support.maria.send("hello")
    assert support.ben.said()[-1].thread_id == first.id


def test_other_cancel_words_are_relayed() -> None:
    bot = make_bot()
    bot.cancel_words = frozenset({"never mind"})
    support = Support(bot)
    support.maria.send("/human")
    assert support.maria.send("Never mind").texts == []
    assert support.relayed == ["Maria: Never mind"]


def test_history_that_cannot_be_read_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: FakeChannel, conversation: Conversation, limit: int) -> NoReturn:
        raise Unreachable("down")

    monkeypatch.setattr(FakeChannel, "history", fail)
    support = Support(make_bot())
    support.maria.send("/human")
    assert support.ben.said()[0].text == f"{INTRODUCTION}\n\nMaria: /human\n\n{HINT}"
