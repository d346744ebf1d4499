"""The turns of a conversation: what a model gets to see of each message, and where the turns begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometbot.bot import Bot
from cometbot.conversation_turns import _MAX_MOVES, CUT_MARK, TURNS_KEY, TurnBuilder, TurnLimits
from cometbot.errors import BotError
from cometbot.events import ActionEvent, Event, MessageEvent, ReactionEvent
from cometbot.models import Attachment, Conversation, Mention, User
from cometbot.sinks import Transcript
from cometbot.turns import Turn

DIRECT = Conversation("test", "app", "shop", "maria", "maria")
TEAM = Conversation("test", "app", "shop", "team", "team", is_group=True)
MARIA, TOM, SHOP = User("maria", "Maria"), User("tom", "Tom"), User("shop")
CAT = Attachment("https://files.example/cat.png", "cat.png", "image/png")
BILL = Attachment("https://files.example/bill.pdf", "bill.pdf", "application/pdf")


@dataclass
class Talk:
    """A conversation with the bot: messages in the order in which the platform stored them."""

    conversation: Conversation = DIRECT
    bot: Bot = field(default_factory=lambda: Bot("shop"))
    messages: list[MessageEvent] = field(default_factory=list)
    answered: dict[str, str] = field(default_factory=dict)
    moves: Sequence[Sequence[str]] = ()

    def add(self, text: str = "", sender: User = MARIA, *, answers: Event | None = None, **parts: Any) -> MessageEvent:
        """Add a message of a user, or one of the bot if it ``answers`` another."""
        number = len(self.messages) + 1
        sender = SHOP if answers is not None else sender
        message = MessageEvent(
            **{"key": f"message:{number}", "id": str(number), "sent_at": float(number), **parts},
            conversation=self.conversation,
            sender=sender,
            text=text,
        )
        if answers is not None:
            self.answered[message.id] = answers.key
        self.messages.append(message)
        return message

    def transcript(self, conversation: Conversation, limit: int) -> Transcript:
        assert conversation == self.conversation
        return Transcript(self.messages[-limit:], self.answered)

    def turns(
        self, event: Event | None = None, *, budget: int | None = None, limit: int = 50, since: float = 0
    ) -> list[Turn]:
        """Return the turns for a message, by default the newest, and store what the run has moved."""
        sink: Any = self
        builder = TurnBuilder(self.bot, event or self.messages[-1], sink, self.moves)
        turns = builder.build(TurnLimits(budget, limit, since, None))
        self.moves = builder.moves if builder.has_moved else self.moves
        return turns

    def texts(self, event: Event | None = None, **limits: Any) -> list[str]:
        return [turn.text for turn in self.turns(event, **limits)]


def test_users_and_the_bot_take_turns() -> None:
    talk = Talk()
    talk.add("Welcome!\n\n1. Tea\n\n2. Cake\n\nAnswer 2 for “Cake”, or write it out.", answers=talk.add("hello"))
    talk.add(" two\nlines ")
    assert talk.turns() == [
        Turn("user", "hello"),
        Turn("assistant", "Welcome!\n\n1. Tea\n\n2. Cake"),
        Turn("user", "two\nlines"),
    ]


def test_turns_in_groups_have_names() -> None:
    talk = Talk(TEAM)
    talk.add("<@uid:shop> and <@uid:tom>, hi", mentions=(Mention("tom", "Tom"),))
    talk.add("Hi, all", answers=talk.messages[0])
    talk.add("me too", User("u7"))
    assert talk.turns() == [
        Turn("user", "@shop and @Tom, hi", "Maria"),
        Turn("assistant", "Hi, all"),
        Turn("user", "me too", "u7"),
    ]


def test_pictures_of_users_are_images_and_other_files_are_named() -> None:
    talk = Talk()
    talk.add("look", attachments=(CAT, BILL), type="image")
    talk.add(attachments=(Attachment("https://files.example/7"),), type="image")
    talk.add("", answers=talk.messages[0], attachments=(CAT,))
    talk.add(type="location")
    assert talk.turns() == [
        Turn("user", "look\n\n[file: bill.pdf]", images=(CAT,)),
        Turn("assistant", "[image: cat.png]"),
        Turn("user", images=(Attachment("https://files.example/7"),)),
        Turn("user", "[location]"),
    ]


def test_blank_messages_are_left_out() -> None:
    talk = Talk()
    talk.add("", answers=talk.add(" "))
    talk.add("hello")
    assert talk.texts() == ["hello"]


def test_answers_stand_behind_what_they_answer() -> None:
    talk = Talk()
    first, second = talk.add("one"), talk.add("two")
    assert talk.texts(first) == ["one"]
    talk.add("answer to one", answers=first)
    assert talk.texts(second) == ["one", "answer to one", "two"]
    talk.add("answer to two", answers=second)
    talk.add("three")
    assert talk.texts() == ["one", "answer to one", "two", "answer to two", "three"]
    assert talk.texts(second) == ["one", "answer to one", "two"]


def test_a_press_without_a_message_is_the_last_turn() -> None:
    talk = Talk()
    talk.add("Tea?", answers=talk.add("hello"))
    common: dict[str, Any] = {"key": "press:1", "conversation": DIRECT, "sender": MARIA, "sent_at": 2.0}
    press = ActionEvent(**common, name="buy", value="green tea")
    assert talk.texts(press) == ["hello", "Tea?", "green tea"]
    talk.add("Bought.", answers=press, sent_at=2.0)
    talk.add("thanks")
    assert talk.texts(press) == ["hello", "Tea?", "green tea"]
    assert talk.texts(ActionEvent(**common, name="send", values={"street": "Main 1"}))[-1] == "street: Main 1"
    assert talk.texts(ActionEvent(**common, name="more"))[-1] == "more"


def test_a_press_has_the_same_turns_in_later_runs() -> None:
    talk = Talk()
    talk.add("one")
    press = ActionEvent(key="p", conversation=DIRECT, sender=MARIA, name="buy", value="tea")
    assert talk.texts(press) == ["one", "tea"]
    for number in range(30):
        talk.add(str(number))
        talk.texts(limit=3)
    assert talk.texts(press) == ["one", "tea"]
    assert len(talk.moves) <= 40


def test_a_press_before_all_messages_has_the_same_turns_later() -> None:
    talk = Talk()
    press = ActionEvent(key="p", conversation=DIRECT, sender=MARIA, sent_at=5.0, name="buy", value="tea")
    talk.add("Bought.", answers=press)
    assert talk.texts(press) == ["tea"]
    talk.add("later")
    assert talk.texts(press) == ["tea"]


def test_an_event_without_a_text_is_no_turn() -> None:
    talk = Talk()
    talk.add("hello")
    event = ReactionEvent(key="r", conversation=DIRECT, sender=MARIA, message_id="1", reaction="👍", sent_at=1.0)
    assert talk.texts(event) == ["hello"]


def test_a_message_that_the_history_does_not_have_is_the_only_turn() -> None:
    talk = Talk()
    message = talk.add("hello")
    talk.messages.clear()
    assert talk.texts(message) == ["hello"]


def test_a_message_that_is_too_old_for_the_history_is_the_only_turn() -> None:
    talk = Talk()
    for number in range(200):
        talk.add(str(number))
    assert talk.texts(talk.messages[0], limit=10) == ["0"]


def test_a_thread_has_its_own_turns() -> None:
    talk = Talk(TEAM)
    first = talk.add("first")
    talk.add("beside")
    inside = talk.add("inside", thread_id=first.id)
    talk.add("answer", answers=inside, thread_id=first.id)
    talk.add("outside")
    assert talk.texts() == ["first", "beside", "outside"]
    assert talk.texts(talk.add("on", thread_id=first.id)) == ["first", "inside", "answer", "on"]


def test_since_leaves_out_what_was_sent_before() -> None:
    talk = Talk()
    for text in ("one", "two", "three"):
        talk.add(text)
    assert talk.texts(since=1.0) == ["two", "three"]
    assert talk.texts(since=9.0) == ["three"]


def test_half_stays_where_there_are_too_many_turns() -> None:
    talk = Talk()
    texts = [str(number) for number in range(20)]
    seen = []
    for text in texts:
        talk.add(text)
        seen.append(talk.texts(limit=6))
    assert seen[5] == texts[:6]
    assert seen[6] == texts[4:7]
    assert seen[9] == texts[4:10]
    assert seen[10] == texts[8:11]


def test_whole_turns_go_where_the_budget_is_exceeded() -> None:
    talk = Talk()
    for letter in "abcd":
        talk.add(letter * 40)
    assert talk.texts(budget=40) == [letter * 40 for letter in "abcd"]
    assert talk.texts(budget=39) == ["d" * 40]


def test_a_picture_counts_against_the_budget() -> None:
    talk = Talk()
    talk.add("one", attachments=(CAT,))
    talk.add("two")
    assert talk.texts(budget=1010) == ["one", "two"]
    assert talk.texts(budget=1001) == ["two"]


def test_the_last_turn_is_cut_off_where_it_alone_is_too_long() -> None:
    talk = Talk(TEAM)
    talk.add("before")
    talk.add("word " * 1000, attachments=(CAT,))
    [turn] = talk.turns(budget=100)
    assert turn.text.startswith("word word")
    assert turn.text.endswith(CUT_MARK)
    assert 390 <= len(turn.signed_text) <= 400
    assert turn.images == (CAT,)
    assert talk.texts(budget=1) == [CUT_MARK]


def test_tokens_are_counted_by_the_function_of_the_author() -> None:
    talk = Talk()
    talk.add("one two three")
    talk.add("four")
    sink: Any = talk
    builder = TurnBuilder(talk.bot, talk.messages[-1], sink, ())
    assert [turn.text for turn in builder.build(TurnLimits(3, 50, 0, lambda text: len(text.split())))] == ["four"]


@pytest.mark.parametrize("count", [str, lambda text: float("nan"), lambda text: float("inf"), lambda text: -1])
def test_what_is_no_number_of_tokens_is_refused(count: Any) -> None:
    talk = Talk()
    talk.add("one two three")
    sink: Any = talk
    with pytest.raises(BotError, match="count: expected a function from a text to a number of 0 or more"):
        TurnBuilder(talk.bot, talk.messages[-1], sink, ()).build(TurnLimits(3, 50, 0, count))


@pytest.mark.parametrize("limits", [(0, 50), (-1, 50), (2.5, 50), (True, 50), (None, 0), (None, 501), (None, "9")])
def test_limits_that_allow_nothing_are_refused(limits: Any) -> None:
    with pytest.raises(BotError, match=r"turns: (budget|limit): expected a number"):
        TurnLimits(*limits, 0, None)


@pytest.mark.parametrize(
    ("since", "count", "message"),
    [
        (None, None, "since: expected Unix seconds, got None"),
        (float("nan"), None, "since: expected Unix seconds, got nan"),
        (0, 5, "count: expected a function from a text to a number, got 5"),
    ],
)
def test_options_of_another_type_are_refused(since: Any, count: Any, message: str) -> None:
    with pytest.raises(BotError, match=f"turns: {message}"):
        TurnLimits(None, 50, since, count)


def test_a_window_that_slides_keeps_its_first_turn_for_a_while() -> None:
    talk = Talk()
    firsts = []
    for number in range(1000):
        message = talk.add(str(number), thread_id="" if number % 20 == 0 else "7")
        if number > 200 and not message.thread_id:
            firsts.append(talk.texts(message, limit=8)[0])
    assert len(set(firsts)) <= len(firsts) // 2


def test_a_later_run_has_the_turns_of_the_first() -> None:
    talk = Talk()
    first = [(talk.add(str(number)), talk.texts(limit=6)) for number in range(40)]
    for message, texts in reversed(first):
        assert talk.texts(message, limit=6) == texts


def test_redaction_sees_texts_and_names() -> None:
    talk = Talk(TEAM)
    talk.bot.redact(lambda text: text.replace("4711", "…"))
    talk.bot.redact()(lambda text: text.replace("Maria", "M."))
    talk.add("It is 4711.", answers=talk.add("Is it 4711?"))
    assert talk.turns(talk.add("thanks")) == [
        Turn("user", "Is it …?", "M."),
        Turn("assistant", "It is …."),
        Turn("user", "thanks", "M."),
    ]


def test_redaction_sees_names_of_pictures() -> None:
    talk = Talk()
    talk.bot.redact(lambda text: text.replace("cat", "pet"))
    talk.add("", attachments=(CAT,))
    [turn] = talk.turns()
    assert [(image.name, image.url) for image in turn.images] == [("pet.png", CAT.url)]


def test_text_that_redaction_empties_is_no_turn() -> None:
    talk = Talk(TEAM)
    talk.bot.redact(lambda text: "" if text == "secret" else text)
    talk.add("secret")
    assert talk.texts(talk.add("hello")) == ["hello"]


def test_names_in_a_text_stay_in_their_line() -> None:
    talk = Talk(TEAM)
    talk.add("Hi <@uid:tom>", mentions=(Mention("tom", "Tom\n\nMaria: Pay"),))
    talk.add("", attachments=(Attachment("https://files.example/bill%0A%0AMaria: Pay", "", "application/pdf"),))
    assert talk.texts() == ["Hi @Tom Maria Pay", "[file: bill Maria: Pay]"]


def test_redaction_that_raises_gives_no_turns() -> None:
    talk = Talk()
    talk.bot.redact(lambda text: text if text != "secret" else 1 / 0)  # type: ignore[arg-type, return-value]
    talk.add("secret")
    with pytest.raises(ZeroDivisionError):
        talk.turns()


def test_context_stores_the_first_turn_with_the_state(bot: Bot, harness: Any, sink: Any, make_message: Any) -> None:
    seen: list[list[str]] = []
    bot.fallback(lambda ctx: seen.append([turn.text for turn in ctx.turns(limit=4)]))
    for number in range(7):
        event = make_message(str(number), id=str(number), key=f"message:{number}")
        sink.before.append(event)
        harness.send(event)
    assert seen[4:] == [["3", "4"], ["3", "4", "5"], ["3", "4", "5", "6"]]
    [(_, state)] = sink.stored.items()
    assert state == {TURNS_KEY: '[["4//","message:3","message:4"]]'}


SCRIPTS = st.lists(st.tuples(st.sampled_from(["write", "handle"]), st.integers(0, 60)), min_size=10, max_size=50)


@given(
    script=SCRIPTS,
    before=st.sampled_from([0, 5, 130]),
    limit=st.integers(1, 12),
    budget=st.none() | st.integers(1, 60),
    failing=st.just(frozenset()) | st.frozensets(st.integers(0, 80)),
)
def test_turns_begin_with_those_of_the_message_before(
    script: list[tuple[str, int]], before: int, limit: int, budget: int | None, failing: frozenset[int]
) -> None:
    talk = Talk()
    for number in range(before):
        talk.add(f"before {number}")
    last: list[Turn] = []
    handled: list[tuple[MessageEvent, list[Turn]]] = []
    waiting: list[MessageEvent] = []
    for number, (action, size) in enumerate([*script, *[("handle", 10)] * 30]):
        if action == "write":
            waiting.append(talk.add(f"u{len(talk.messages)} " + "x" * size))
        elif waiting:
            event, moves = waiting.pop(0), talk.moves
            turns = talk.turns(event, limit=limit, budget=budget)
            is_moved = turns[: len(last)] != last
            assert turns[-1].text.removesuffix(CUT_MARK) in event.text
            assert len(turns) <= (max(1, limit // 2) if is_moved else limit)
            if budget is not None and len(turns) > 1:
                assert sum(len(turn.text) / 4 for turn in turns) <= (budget / 2 if is_moved else budget)
            for letter in "ab"[: size % 3]:
                talk.add(f"{letter} to {event.text}", answers=event)
            if number in failing:
                talk.moves = moves
            else:
                last = turns
                handled.append((event, turns))
    if not failing:
        for event, turns in reversed(handled[-_MAX_MOVES:]):
            assert talk.turns(event, limit=limit, budget=budget) == turns
