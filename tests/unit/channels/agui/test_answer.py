"""An answer has the events of AG-UI in a valid order, and each text whole, whatever is lost, repeated or restarted."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometbot.channels.agui import rows
from cometbot.channels.agui.answer import AnswerWriter
from cometbot.channels.agui.ids import scope_of, stream_message_id
from cometbot.chat import CONVERSATION_DELETED, EVENT_CREATED, MESSAGE_CREATED, ChatMessage, Signal
from cometbot.http import sse
from tests.agui_events import JsonObject, check_events, read_events, texts_of

SCOPE = scope_of("shop")
TOPIC = SCOPE.topic("t")
KEY = "message:own"


def make_writer(*pending: str, is_versioned: bool = True, shows_custom: bool = False) -> AnswerWriter:
    writer = AnswerWriter("t", "r", is_versioned=is_versioned, shows_custom=shows_custom)
    writer.follow(KEY, pending)
    return writer


class Thread:
    """What happens in a thread: rows, whose times rise, and signals."""

    def __init__(self) -> None:
        self._times = itertools.count(1)

    def row(self, **payload: Any) -> Signal:
        at = next(self._times)
        stored = f"row{at}" if "stream" not in payload else stream_message_id(payload["stream"])
        message = ChatMessage(SCOPE, stored, "t", "shop", True, payload, None, f"c{at}", at)
        return Signal(TOPIC, MESSAGE_CREATED, at, at, message=message)

    def text(self, text: str, stream: str = "", **more: Any) -> Signal:
        return self.row(kind=rows.TEXT, text=text, **({"stream": stream} if stream else {}), **more)

    def end(self, kind: str = "done", event: str = KEY, **more: Any) -> Signal:
        return self.row(kind=rows.END, event=event, end=kind, generation=0, **more)

    def call(self, id: str, name: str = "show_map", **arguments: Any) -> Signal:
        return self.row(kind=rows.TOOL_CALL, id=id, name=name, arguments=arguments)

    @staticmethod
    def delta(stream: str, number: int, text: str | None) -> Signal:
        return Signal(TOPIC, rows.DELTA, data={"stream": stream, "number": number, "text": text})

    @classmethod
    def deltas(cls, stream: str, pieces: Iterable[str | None]) -> list[Signal]:
        return [cls.delta(stream, number, piece) for number, piece in enumerate(pieces)]

    def tool(self, id: str, *, content: str | None = None) -> Signal:
        data = {"kind": rows.TOOL_CALLED, "id": id, "name": "find", "arguments": {"number": 7}}
        if content is not None:
            data = {"kind": rows.TOOL_RETURNED, "id": id, "content": content}
        at = next(self._times)
        return Signal(TOPIC, EVENT_CREATED, at, at, data=data)


@pytest.fixture
def thread() -> Thread:
    return Thread()


def answer(writer: AnswerWriter, signals: Iterable[Signal]) -> list[JsonObject]:
    """Return the events up to the end of the stream, which are valid."""

    def frames() -> Iterator[bytes]:
        yield writer.start()
        for signal in signals:
            yield from writer.write(signal)

    written = list(itertools.takewhile(lambda frame: frame != sse.END_OF_STREAM, frames()))
    events = read_events(written)
    check_events(events)
    return events


def kinds_of(events: Iterable[JsonObject]) -> list[str]:
    return [event["type"] for event in events]


def test_text_is_a_message_of_one_piece(thread: Thread) -> None:
    events = answer(make_writer(), [thread.text("Hello!"), thread.end()])
    assert kinds_of(events) == [
        "RUN_STARTED",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
        "RUN_FINISHED",
    ]
    assert events[0] == {"type": "RUN_STARTED", "threadId": "t", "runId": "r", "protocolVersion": "1.0"}
    assert texts_of(events) == ["Hello!"]


@pytest.mark.parametrize("ending", [" … (broken off)", ""])
@pytest.mark.parametrize("is_cut", [False, True])
def test_mark_of_a_stream_follows_what_was_shown_beyond_it(thread: Thread, ending: str, is_cut: bool) -> None:
    between = [thread.text("By the way.")] if is_cut else []
    mark = thread.text(f"one two{ending}", "s", ending=ending)
    signals = [*thread.deltas("s", ["one ", "two ", "three "]), *between, mark, thread.end("timeout")]
    events = answer(make_writer(), signals)
    assert "".join(text for text in texts_of(events) if text != "By the way.").replace("  ", " ").strip() == (
        f"one two three{ending}"
    )


def test_mark_of_a_stream_is_whole_for_those_who_saw_nothing(thread: Thread) -> None:
    mark = thread.text("one two … (broken off)", "s", ending=" … (broken off)")
    assert texts_of(answer(make_writer(), [mark, thread.end("timeout")])) == ["one two … (broken off)"]


def test_answer_beside_a_handler_is_in_its_own_answer_alone(thread: Thread) -> None:
    signals = [
        *thread.deltas("s", ["one ", "two"]),
        thread.text("I have stopped.", answers="own"),
        thread.end(),
        thread.text("one two", "s"),
        thread.end(event="message:earlier"),
    ]
    stop, earlier = make_writer("message:earlier"), make_writer()
    earlier.follow("message:earlier", ())
    assert texts_of(answer(stop, signals)) == ["I have stopped."]
    assert texts_of(answer(earlier, signals)) == ["one two"]


def test_older_clients_get_nothing_that_is_new(thread: Thread) -> None:
    interrupt = {"id": "m1.0.0", "reason": "cometbot.question", "message": "Which size?"}
    events = answer(make_writer(is_versioned=False), [thread.text("Which size?"), thread.end(interrupt=interrupt)])
    assert events[0] == {"type": "RUN_STARTED", "threadId": "t", "runId": "r"}
    assert events[-1] == {"type": "RUN_FINISHED", "threadId": "t", "runId": "r"}


def test_nothing_said_is_a_run_that_finishes(thread: Thread) -> None:
    assert kinds_of(answer(make_writer(), [thread.end()])) == ["RUN_STARTED", "RUN_FINISHED"]


def test_stream_grows_and_is_not_repeated_by_its_row(thread: Thread) -> None:
    signals = [*thread.deltas("s", ["one ", "two ", "three"]), thread.text("one two three", "s"), thread.end()]
    events = answer(make_writer(), signals)
    assert [event["delta"] for event in events if "delta" in event] == ["one ", "two ", "three"]
    assert {event["messageId"] for event in events if "messageId" in event} == {stream_message_id("s")}


@pytest.mark.parametrize(
    "signals",
    [
        Thread.deltas("s", ["one ", "two "]),  # the last piece is lost
        [Thread.delta("s", 0, "one "), Thread.delta("s", 2, "three")],  # one in the middle is lost
        [Thread.delta("s", 1, "two "), Thread.delta("s", 2, "three")],  # the first is lost
        [],  # all are lost
        [*Thread.deltas("s", ["one ", "two "]), *Thread.deltas("s", ["one ", "two ", "three"])],  # runs again
        [*Thread.deltas("s", ["one ", "two "]), *Thread.deltas("s", ["on", "e t", "wo thr", "ee"])],  # in other pieces
        [*Thread.deltas("s", ["one ", None])],  # what it wrote is too long to be told
        [*Thread.deltas("s", ["", "one "])],
    ],
)
def test_stream_is_one_whole_message_whatever_was_lost(thread: Thread, signals: list[Signal]) -> None:
    events = answer(make_writer(), [*signals, thread.text("one two three", "s"), thread.end()])
    assert texts_of(events) == ["one two three"]


def test_pieces_that_come_after_their_row_are_left_out(thread: Thread) -> None:
    late = thread.deltas("s", ["one ", "two"])
    assert texts_of(answer(make_writer(), [thread.text("one two", "s"), *late, thread.end()])) == ["one two"]

    earlier = [thread.text("theirs", "s"), thread.end(event="message:earlier"), *late, thread.text("mine")]
    assert texts_of(answer(make_writer("message:earlier"), [*earlier, thread.end()])) == ["mine"]


def test_run_with_another_text_begins_another_message(thread: Thread) -> None:
    signals = [*thread.deltas("s", ["Half a "]), *thread.deltas("s", ["Another ", "text"])]
    events = answer(make_writer(), [*signals, thread.text("Another text", "s"), thread.end()])
    assert texts_of(events) == ["Half a ", "Another text"]


def test_pieces_that_their_row_overtook_are_left_out(thread: Thread) -> None:
    late = thread.deltas("s", ["one ", "two ", "three"])
    signals = [thread.text("one two three", "s"), *late, thread.text("Bye."), thread.end()]
    assert texts_of(answer(make_writer(), signals)) == ["one two three", "Bye."]


def test_late_pieces_of_an_earlier_request_are_left_out(thread: Thread) -> None:
    earlier = [thread.text("one two", "s"), thread.end(event="message:earlier")]
    late = thread.deltas("s", ["one ", "two"])
    events = answer(make_writer("message:earlier"), [*earlier, *late, thread.text("Mine."), thread.end()])
    assert texts_of(events) == ["Mine."]


def test_mark_of_a_broken_stream_follows_its_text(thread: Thread) -> None:
    signals = [*thread.deltas("s", ["Half, ", None]), thread.text("Half, … (broken off)"), thread.end("failed")]
    events = answer(make_writer(), signals)
    assert texts_of(events) == ["Half, … (broken off)"]
    assert (events[-1]["type"], events[-1]["code"]) == ("RUN_ERROR", "HANDLER_FAILED")


def test_reply_after_a_stream_is_another_message(thread: Thread) -> None:
    signals = [*thread.deltas("s", ["one"]), thread.text("one", "s"), thread.text("one"), thread.end()]
    assert texts_of(answer(make_writer(), signals)) == ["one", "one"]


def test_text_that_comes_beside_a_stream_does_not_double_it(thread: Thread) -> None:
    signals = [*thread.deltas("s", ["one ", "two "]), thread.text("All right."), thread.text("one two three", "s")]
    events = answer(make_writer(), [*signals, thread.end()])
    assert texts_of(events) == ["one two ", "All right.", "three"]


def test_call_in_a_stream_whose_row_comes_later_does_not_double_it(thread: Thread) -> None:
    signals = [
        *thread.deltas("s", ["Let me look."]),
        thread.tool("m1.0.1"),
        thread.tool("m1.0.1", content='"sent"'),
        thread.text("Let me look.", "s"),
        thread.text("Sent."),
    ]
    assert texts_of(answer(make_writer(), [*signals, thread.end()])) == ["Let me look.", "Sent."]


@pytest.mark.parametrize(("end", "code"), [("failed", "HANDLER_FAILED"), ("timeout", "TIMEOUT"), ("over", "NOT_OPEN")])
def test_ends_that_are_no_success_are_errors(thread: Thread, end: str, code: str) -> None:
    [*_, last] = answer(make_writer(), [*thread.deltas("s", ["half"]), thread.end(end)])
    assert (last["type"], last["code"]) == ("RUN_ERROR", code)
    assert last["message"]


def test_question_is_an_interrupt_and_a_call_is_pending(thread: Thread) -> None:
    interrupt = {"id": "m1.0.0", "reason": "cometbot.question", "message": "Which size?"}
    [*_, asked] = answer(make_writer(), [thread.text("Which size?"), thread.end(interrupt=interrupt)])
    assert asked["outcome"] == {"type": "interrupt", "interrupts": [interrupt]}

    events = answer(make_writer(), [thread.call("m1.0.2", place="Rome"), thread.end(pending="m1.0.2")])
    assert kinds_of(events)[1:4] == ["TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END"]
    assert events[-1]["outcome"] == {"type": "success", "pendingToolCallIds": ["m1.0.2"]}


def test_arguments_of_calls_may_have_numbers_of_any_length(thread: Thread) -> None:
    events = answer(make_writer(), [thread.call("m1.0.2", number=10**30), thread.end(pending="m1.0.2")])
    [arguments] = [event["delta"] for event in events if event["type"] == "TOOL_CALL_ARGS"]
    assert json.loads(arguments) == {"number": 10**30}


def test_answer_ends_when_its_thread_is_deleted(thread: Thread) -> None:
    signals = [*thread.deltas("s", ["half"]), Signal(TOPIC, CONVERSATION_DELETED)]
    for writer in (make_writer(), make_writer("message:earlier")):
        [*_, last] = answer(writer, signals)
        assert (last["type"], last["code"]) == ("RUN_ERROR", "THREAD_DELETED")


def test_own_tool_is_shown_once(thread: Thread) -> None:
    shown = [thread.tool("m1.0.0"), thread.tool("m1.0.0"), thread.tool("m1.0.0", content="[]")]
    signals = [*shown, thread.tool("m1.0.0", content="[]"), thread.tool("m9.0.0", content="lost"), thread.end()]
    events = answer(make_writer(), signals)
    assert [kind for kind in kinds_of(events) if kind == "TOOL_CALL_RESULT"] == ["TOOL_CALL_RESULT"]


def test_tool_of_an_earlier_request_that_comes_late_is_left_out(thread: Thread) -> None:
    late = [thread.tool("m1.0.0"), thread.tool("m1.0.0", content="[]")]
    signals = [thread.end(event="message:earlier"), *late, thread.text("mine"), thread.end()]
    assert kinds_of(answer(make_writer("message:earlier"), signals)).count("TOOL_CALL_START") == 0


def test_custom_events_stand_beside_their_text_if_asked_for(thread: Thread) -> None:
    custom = {"name": "cometbot.card", "value": {"title": "Tea"}}
    signals = [thread.text("Tea", custom=custom), thread.end()]
    assert "CUSTOM" not in kinds_of(answer(make_writer(), signals))
    assert {"type": "CUSTOM", **custom} in answer(make_writer(shows_custom=True), signals)


def test_what_earlier_requests_get_is_left_out(thread: Thread) -> None:
    signals = [
        *thread.deltas("s", ["theirs"]),
        thread.text("theirs", "s"),
        thread.tool("m1.0.0"),
        thread.end(event="message:earlier"),
        *thread.deltas("z", ["mine"]),
        thread.text("mine", "z"),
        thread.end(),
    ]
    assert texts_of(answer(make_writer("message:earlier"), signals)) == ["mine"]


def test_rows_that_come_twice_are_written_once(thread: Thread) -> None:
    first, second = thread.text("one"), thread.text("two")
    assert texts_of(answer(make_writer(), [first, second, first, second, thread.end()])) == ["one", "two"]


def test_answer_that_fails_is_closed(thread: Thread) -> None:
    writer = make_writer()
    frames = [writer.start(), *writer.write(Thread.delta("s", 0, "half")), *writer.fail("INTERRUPTED", "Again.")]
    assert frames.pop() == sse.END_OF_STREAM
    events = read_events(frames)
    check_events(events)
    assert events[-1] == {"type": "RUN_ERROR", "message": "Again.", "code": "INTERRUPTED"}


PIECES = st.lists(st.text("ab \n…é😀", min_size=1, max_size=6), min_size=1, max_size=6)
FAULTS = st.sampled_from(["none", "lost", "restart", "restart elsewhere", "gap", "late row", "late pieces"])
SAYINGS = st.lists(
    st.one_of(
        st.tuples(st.just("stream"), PIECES, FAULTS, st.integers(0, 6), st.booleans()),
        st.tuples(st.just("text"), st.text("ab …", min_size=1, max_size=8)),
        st.tuples(st.just("tool"), st.text("ab", max_size=3)),
        st.tuples(st.just("theirs"), st.text("ab", min_size=1, max_size=3)),
    ),
    max_size=6,
)


def play(thread: Thread, sayings: Iterable[Any]) -> tuple[list[Signal], list[str]]:
    """Return what a run says, with its faults, and the whole texts in the order of their rows."""
    signals: list[Signal] = []
    texts: list[str] = []
    for number, (kind, *said) in enumerate(sayings):
        stream = f"m1-{number}"
        if kind == "text":
            signals.append(thread.text(said[0]))
            texts.append(said[0])
        elif kind == "theirs":
            signals += [thread.delta(f"other-{number}", 3, said[0]), thread.end(event="message:other")]
        elif kind == "tool":
            signals += [thread.tool(f"m1.0.{number}"), thread.tool(f"m1.0.{number}", content=said[0])]
        else:
            pieces, fault, place, is_stripped = said
            text = "".join(pieces)
            if not text.strip():
                continue
            row = thread.text(text.rstrip() if is_stripped else text, stream)
            if fault == "late pieces":
                signals += [*thread.deltas(stream, pieces[:place]), row, *thread.deltas(stream, pieces)]
            else:
                signals += [*with_fault(thread, stream, pieces, fault, place), row]
            texts.append(text)
    return [*signals, thread.end()], texts


def with_fault(thread: Thread, stream: str, pieces: list[str], fault: str, place: int) -> list[Signal]:
    """Return the pieces of a stream, one of which has a fault."""
    whole = thread.deltas(stream, pieces)
    match fault:
        case "lost":
            return [*whole[:place], *whole[place + 1 :]]
        case "restart":
            return [*whole[:place], *whole]
        case "restart elsewhere":
            return [*whole[:place], *thread.deltas(stream, ["".join(pieces)])]
        case "gap":
            return [*whole[:place], thread.delta(stream, place, None), *whole[place + 1 :]]
        case "late row":
            return [*whole, thread.tool(f"{stream}.tool"), thread.tool(f"{stream}.tool", content="")]
    return whole


@given(SAYINGS, st.data())
def test_answer_is_valid_and_has_each_text_once(sayings: list[Any], data: st.DataObject) -> None:
    signals, texts = play(Thread(), sayings)
    begins_at = data.draw(st.integers(0, len(signals)), label="the client comes here")
    repeated = data.draw(st.integers(0, begins_at), label="rows from here on come as signals too")

    before = [signal for signal in signals[:begins_at] if signal.kind == MESSAGE_CREATED]
    again = [signal for signal in signals[repeated:begins_at] if signal.kind == MESSAGE_CREATED]
    events = answer(make_writer(), [*before, *again, *signals[begins_at:]])

    assert [text.rstrip() for text in texts_of(events)] == [text.rstrip() for text in texts]
    assert events[-1]["type"] == "RUN_FINISHED"


@given(SAYINGS, st.randoms(use_true_random=False), st.sets(st.sampled_from(["message:other", "message:lost"])))
def test_signals_in_any_order_make_a_valid_answer(sayings: list[Any], random: Random, pending: set[str]) -> None:
    signals, _ = play(Thread(), sayings)
    random.shuffle(signals)
    events = answer(make_writer(*pending, shows_custom=True), signals)
    assert events[-1]["type"] in ("RUN_FINISHED", "RUN_ERROR")


@given(st.lists(st.integers(0, 3) | st.none(), max_size=12), st.data())
def test_pieces_of_any_numbers_lose_no_text(numbers: list[int | None], data: st.DataObject) -> None:
    thread, pieces = Thread(), ["one ", "two ", "three ", "four"]
    deltas = [
        thread.delta("s", data.draw(st.integers(0, 3)) if n is None else n, None if n is None else pieces[n])
        for n in numbers
    ]
    events = answer(make_writer(), [*deltas, thread.text("".join(pieces), "s"), thread.end()])
    assert texts_of(events) == ["".join(pieces)]
