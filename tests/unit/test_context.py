from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from cometbot import ActionEvent, Attachment, Bot, BotError, Card, ContactEvent, Context, streaming
from cometbot.errors import MessageError
from cometbot.messages import Capabilities
from cometbot.models import Mention
from cometbot.state import State, StateChange

OWNER = ("conversation", "o")


def state(**stored: Any) -> State:
    return State(*OWNER, lambda scope, owner: {name: json.dumps(value) for name, value in stored.items()})


def test_text_begins_with_a_mention_of_the_bot_it_is_left_out(context: Any) -> None:
    ctx = context(" <@uid:HelpDesk>, track 4711 ")
    assert ctx.text == "track 4711"
    assert ctx.begins_with_mention
    assert ctx.is_mentioned


@pytest.mark.parametrize("text", ["track <@uid:helpdesk>", "<@uid:other> track", "track"])
def test_text_begins_with_something_else_it_stays(context: Any, text: str) -> None:
    assert context(text).text == text
    assert not context(text).begins_with_mention


def test_bot_with_another_uid_is_mentioned_by_both_names(sink: Any, make_message: Any) -> None:
    bot = Bot("helpdesk", cometchat_uid="demo_bot")
    for uid in bot.ids:
        assert Context(bot, make_message(f"<@uid:{uid}> hi"), sink).text == "hi"
    assert Context(bot, make_message("hi", mentions=(Mention("Demo_Bot"),)), sink).is_mentioned
    assert not Context(bot, make_message("hi", mentions=(Mention("other"),)), sink).is_mentioned


def test_message_attributes_are_empty_without_message(bot: Bot, sink: Any, context: Any) -> None:
    file = Attachment("https://x/y.png")
    ctx = context("x", attachments=(file,), mentions=(Mention("ann"),), thread_id="5")
    assert (ctx.attachments, ctx.mentions, ctx.thread_id) == ((file,), (Mention("ann"),), "5")
    assert (ctx.value, ctx.values) == ("", {})
    event = ctx.event
    other = Context(
        bot, ContactEvent(key="c", conversation=event.conversation, sender=event.sender, action="request"), sink
    )
    assert (other.text, other.message, other.attachments, other.mentions, other.thread_id) == ("", None, (), (), "")
    assert not other.is_mentioned
    assert not other.begins_with_mention


def test_action_written_as_text_has_value_and_message(bot: Bot, sink: Any, make_message: Any) -> None:
    said = make_message("2")
    event = ActionEvent(
        key="k",
        conversation=said.conversation,
        sender=said.sender,
        name="n",
        value="v",
        values={"a": "b"},
        message=said,
    )
    ctx = Context(bot, event, sink)
    assert (ctx.text, ctx.value, ctx.values, ctx.message) == ("2", "v", {"a": "b"}, said)
    ctx.reply("x")
    assert sink.posted[0].reply_to == "712"


def test_reply_goes_where_the_event_was_into_its_thread(sink: Any, context: Any, group: Any) -> None:
    sent = context("hi", conversation=group, thread_id="5").reply(Card("x"), quote=True)
    (operation,) = sink.posted
    assert (operation.kind, operation.conversation, operation.thread_id) == ("send", group, "5")
    assert (operation.reply_to, operation.quote_id, operation.message) == ("712", "712", Card("x"))
    assert sent.id == "id-0"


def test_send_elsewhere_has_no_thread_and_no_reply_to(sink: Any, context: Any, group: Any) -> None:
    context("hi", thread_id="5").send("x", to=group)
    (operation,) = sink.posted
    assert (operation.conversation, operation.thread_id, operation.reply_to) == (group, "", "")


def test_another_conversation_is_named_by_its_user_or_group(sink: Any, context: Any) -> None:
    ctx = context("hi")
    ctx.send("x", to=ctx.conversation_with(group="team"))
    ctx.send("y", to=ctx.conversation_with(user="tom"))
    targets = [(operation.conversation.target, operation.conversation.is_group) for operation in sink.posted]
    assert targets == [("team", True), ("tom", False)]


@pytest.mark.parametrize("both", [{}, {"user": "", "group": ""}, {"user": "tom", "group": "team"}])
def test_another_conversation_has_one_name(context: Any, both: dict[str, str]) -> None:
    with pytest.raises(BotError, match="expected either a user or a group"):
        context("hi").conversation_with(**both)


@pytest.mark.parametrize("wrong", ["", "  ", None, [], ["a", "b"]])
def test_reply_of_nothing_or_several_is_refused(context: Any, wrong: Any) -> None:
    with pytest.raises(BotError, match="one message"):
        context("hi").reply(wrong)


def test_reply_of_something_unusable_is_refused(context: Any) -> None:
    with pytest.raises(MessageError, match="not int"):
        context("hi").reply(5)


def test_sent_message_is_edited_and_deleted_by_its_ordinal(sink: Any, context: Any) -> None:
    ctx = context("hi", thread_id="5")
    ctx.reply("first")
    sent = ctx.reply("one")
    sent.edit("two")
    sent.delete()
    edit, delete = sink.posted[2:]
    assert (edit.kind, edit.target, edit.message.to_text(), edit.thread_id) == ("edit", 1, "two", "5")
    assert (delete.kind, delete.target, delete.message) == ("delete", 1, None)


def test_edit_is_resent_and_delete_refused_if_unsupported(sink: Any, context: Any) -> None:
    sink.capabilities = Capabilities()
    sent = context("hi").reply("one")
    sent.edit("two")
    assert (sink.posted[1].kind, sink.posted[1].target) == ("send", None)
    with pytest.raises(BotError, match="cannot delete"):
        sent.delete()


def test_react_names_message_and_is_refused_if_unsupported(sink: Any, context: Any) -> None:
    context("hi").react("👍")
    assert (sink.posted[0].kind, sink.posted[0].message_id, sink.posted[0].reaction) == ("react", "712", "👍")
    sink.capabilities = Capabilities()
    with pytest.raises(BotError, match=r"ctx\.capabilities\.react"):
        context("hi").react("👍")


def test_stream_on_a_platform_without_edits_is_one_message(sink: Any, context: Any) -> None:
    sent = context("hi").stream(iter(["Hel", "lo"]))
    assert sink.texts == ["Hello"]
    assert sent is not None
    assert sink.previews == []


@pytest.mark.parametrize("interval", [None, 0.0])
def test_empty_stream_sends_nothing(sink: Any, context: Any, interval: float | None) -> None:
    sink.capabilities = replace(sink.capabilities, stream_interval=interval)
    assert context("hi").stream(iter(["", " ", ""])) is None
    assert sink.posted == []


def test_stream_edits_keep_interval_and_end_whole(sink: Any, context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sink.capabilities = replace(sink.capabilities, stream_interval=1.0)
    clock = iter([0.0, 0.5, 1.0, 1.5])
    monkeypatch.setattr(streaming, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    context("hi").stream(iter(["", "a", "b", "cd", "e"]))
    assert [item.kind for item in sink.posted] == ["send", "edit"]
    assert sink.texts == ["a", "abcde"]
    assert sink.previews == [(0, "abc")]


def test_history_client_and_log_come_from_sink_and_event(
    sink: Any, context: Any, make_message: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sink.before = [make_message("a"), make_message("b"), make_message("c")]
    ctx = context("c")
    assert [item.text for item in ctx.history(2)] == ["b", "c"]
    assert ctx.client is sink.client
    with caplog.at_level(logging.INFO):
        ctx.log.info("looked it up")
    (record,) = caplog.records
    assert record.name == "cometbot.bot.helpdesk"
    assert vars(record)["event"] == "message:712"
    assert vars(record)["conversation"] == "cometchat/app/helpdesk/maria_user_helpdesk"


def test_state_of_a_user_is_the_same_in_all_conversations(sink: Any, context: Any, group: Any) -> None:
    for ctx in (context("a"), context("b", conversation=group)):
        ctx.user_state["seen"] = True
        ctx.state["here"] = True
        assert ctx.user_state.changes().owner == "cometchat/app/helpdesk/maria"
        assert ctx.state.changes().owner == str(ctx.conversation.key)


def test_state_is_read_once_and_only_when_touched(sink: Any, context: Any) -> None:
    ctx = context("x")
    assert not ctx.state.changes()
    assert sink.loads == []
    assert "a" not in ctx.state
    assert ctx.state.get("b") is None
    assert sink.loads == ["conversation"]


def test_state_changes_are_noticed_however_they_were_made() -> None:
    memory = state(cart=["tea"], old=1, same=2)
    memory["cart"].append("milk")
    memory["same"] = 2
    memory["new"] = None
    del memory["old"]
    assert memory.changes() == StateChange(*OWNER, {"cart": '["tea","milk"]', "new": "null"}, frozenset({"old"}))


def test_state_discarded_is_read_again() -> None:
    memory = state(n=1)
    memory["n"] = 5
    memory.increment("m")
    memory.discard_changes()
    assert not memory.changes()
    assert dict(memory) == {"n": 1}


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), b"x"])
def test_state_value_is_no_json_it_is_refused_with_its_key(value: Any) -> None:
    with pytest.raises(BotError, match="state 'cart' must be JSON"):
        state()["cart"] = value


def test_state_value_contains_itself_it_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(BotError, match="JSON"):
        state()["cart"] = endless


def test_state_key_is_no_str_it_is_refused() -> None:
    with pytest.raises(BotError, match="key is a str"):
        state()[5] = 1  # type: ignore[index]
    with pytest.raises(BotError, match="key is a str"):
        state().increment(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["n" * 501, "é" * 251, "a\0b", "half \ud83d"])
def test_unstorable_state_key_is_refused_at_once(name: str) -> None:
    memory = state(n=1)
    with pytest.raises(BotError, match="a state key"):
        memory[name] = 1
    with pytest.raises(BotError, match="a state key"):
        memory.increment(name)
    with pytest.raises(BotError, match="a state key"):
        memory.setdefault(name, [])
    assert dict(memory) == {"n": 1}
    assert not memory.changes()


def test_state_key_that_is_too_long_is_not_repeated_whole() -> None:
    with pytest.raises(BotError, match=r"500 bytes of UTF-8; this one has 9000: 'nnn.+…'") as caught:
        state()["n" * 9000] = 1
    assert len(str(caught.value)) < 300


def test_state_key_may_have_500_bytes_and_any_letters() -> None:
    memory = state()
    memory["é" * 250] = 1
    memory.increment("")
    assert memory.changes().values == {"é" * 250: "1"}


def test_state_with_an_end_is_written_with_its_lifetime() -> None:
    memory = state(n=1, m=1, kept=1)
    memory.set("n", 1, expires="1d")
    memory.set("m", 1)
    memory["kept"] = 1
    assert memory.changes() == StateChange(*OWNER, {"n": "1", "m": "1"}, lifetimes={"n": 86400.0, "m": None})
    assert memory["n"] == 1
    memory.discard_changes()
    assert not memory.changes()


def test_state_with_an_end_that_is_assigned_or_counted_keeps_it() -> None:
    memory = state()
    memory.set("n", 1, expires=60)
    memory["n"] = 2
    memory.set("count", 0, expires=timedelta(minutes=1))
    memory.increment("count")
    assert memory.changes() == StateChange(*OWNER, {"n": "2", "count": "1"}, lifetimes={"n": 60.0, "count": 60.0})


@pytest.mark.parametrize("expires", ["", "soon", 0, -5, "-1d", timedelta(0), "400d", float("nan"), True])
def test_state_with_a_wrong_end_is_refused_and_not_changed(expires: Any) -> None:
    memory = state(n=1)
    with pytest.raises(BotError, match="state 'n': expires: expected a duration"):
        memory.set("n", 2, expires=expires)
    assert not memory.changes()


def test_increment_is_stored_as_an_addition() -> None:
    memory = state(n=2)
    assert memory.increment("n") == 3
    assert memory.increment("n", 5) == 8
    assert memory.increment("fresh", 0.5) == 0.5
    assert memory["n"] == 8
    assert memory.changes() == StateChange(*OWNER, {}, frozenset(), {"n": 6, "fresh": 0.5})


def test_increment_after_an_assignment_or_removal_is_part_of_it() -> None:
    memory = state(n=2, m=9)
    memory["n"] = 5
    del memory["m"]
    assert memory.increment("n") == 6
    assert memory.increment("m") == 1
    assert memory.changes() == StateChange(*OWNER, {"n": "6", "m": "1"}, lifetimes={"m": None})


def test_assignment_or_removal_after_an_increment_replaces_it() -> None:
    memory = state(n=2, m=2)
    memory.increment("n")
    memory.increment("m")
    memory["n"] = 7
    del memory["m"]
    assert memory.changes() == StateChange(*OWNER, {"n": "7"}, frozenset({"m"}))


@pytest.mark.parametrize("value", ["x", True, None])
def test_increment_of_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(BotError, match="only a number"):
        state(n=value).increment("n")


def test_reserved_keys_are_not_listed_counted_or_cleared() -> None:
    memory = state(**{"cometbot:offers": [1], "mine": 2})
    assert list(memory) == ["mine"]
    assert len(memory) == 1
    memory.clear()
    assert memory["cometbot:offers"] == [1]
    assert memory.changes() == StateChange(*OWNER, {}, frozenset({"mine"}))


@pytest.mark.parametrize(
    "change",
    [
        lambda memory: memory.update({"cometbot:offers": [2]}),
        lambda memory: memory.set("cometbot:approvals", {}, expires="1d"),
        lambda memory: memory.increment("cometbot:bots"),
        lambda memory: memory.pop("cometbot:offers"),
    ],
)
def test_reserved_keys_cannot_be_changed(change: Callable[[State], object]) -> None:
    memory = state(**{"cometbot:offers": [1]})
    with pytest.raises(BotError, match="keys that begin with 'cometbot:' are reserved"):
        change(memory)
    assert not memory.changes()


@pytest.fixture
def delta_sink(sink: Any) -> Any:
    sink.capabilities = replace(sink.capabilities, edit=False, deltas=True, stream_interval=0.0)
    return sink


def test_stream_sends_numbered_deltas_then_whole_text(delta_sink: Any, context: Any) -> None:
    sent = context("hi").stream(iter(["", " ", "one ", "", "two"]))

    stream_id = delta_sink.posted[0].stream_id
    assert delta_sink.deltas == [(stream_id, 0, " one "), (stream_id, 1, "two")]
    assert stream_id
    assert delta_sink.texts == [" one two"]
    assert sent is not None


def test_stream_deltas_keep_interval(delta_sink: Any, context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    delta_sink.capabilities = replace(delta_sink.capabilities, stream_interval=1.0)
    clock = iter([0.0, 0.5, 1.0, 1.5])
    monkeypatch.setattr(streaming, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    context("hi").stream(iter(["a", "b", "c", "d"]))
    assert [text for _, _, text in delta_sink.deltas] == ["a", "bc", "d"]


def test_stream_id_is_the_same_when_handler_runs_again(delta_sink: Any, context: Any) -> None:
    for _ in range(2):
        delta_sink.posted.clear()  # each run counts from the first message
        ctx = context("hi")
        ctx.stream(["one"])
        ctx.stream(["two"])
    names = [stream_id for stream_id, _, _ in delta_sink.deltas]
    assert names[:2] == names[2:]
    assert names[0] != names[1]


def test_long_delta_is_split(delta_sink: Any, context: Any) -> None:
    context("hi").stream(["x" * 1000])
    assert [(sequence, len(text)) for _, sequence, text in delta_sink.deltas] == [(0, 400), (1, 400), (2, 200)]


def test_failed_stream_of_deltas_is_abandoned(delta_sink: Any, context: Any) -> None:
    def parts() -> Iterator[str]:
        yield "one"
        raise ValueError("lost")

    with pytest.raises(ValueError, match="lost"):
        context("hi").stream(parts())
    assert [text for _, _, text in delta_sink.deltas] == ["one", None]
    assert delta_sink.texts == []


def test_stream_failing_before_first_delta_sends_nothing(delta_sink: Any, context: Any) -> None:
    def parts() -> Iterator[str]:
        yield " "
        raise ValueError("lost")

    with pytest.raises(ValueError, match="lost"):
        context("hi").stream(parts())
    assert delta_sink.deltas == []


def test_empty_stream_of_deltas_sends_nothing(delta_sink: Any, context: Any) -> None:
    assert context("hi").stream(["", " ", ""]) is None
    assert (delta_sink.deltas, delta_sink.posted) == ([], [])
