"""Which message is a /stop, who may stop what, and what a run has read of it."""

from __future__ import annotations

from typing import Any

import pytest

from cometbot import Bot
from cometbot.context import Context
from cometbot.errors import BotError, RegistrationError
from cometbot.events import Event
from cometbot.models import Conversation, Quote, User
from cometbot.steps import ASK, ONCE, STOPPED, Answer, DialogId, Step, StepRun
from cometbot.stopping import is_newer_input, is_stop, may_end, may_stop
from cometbot.streaming import take_until
from tests.unit.conftest import DispatchHarness, FakeReplySink, message

HERE = Conversation("test", "app", "helpdesk", "with_maria", "maria")
GROUP = Conversation("test", "app", "helpdesk", "ops", "ops", is_group=True)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("/stop", True),
        (" /STOP ", True),
        ("<@uid:helpdesk> /stop", True),
        ("stop", False),
        ("/stop it", False),
        ("/stopping", False),
        ("please /stop", False),
        ("<@uid:other> /stop", False),
        ("", False),
    ],
)
def test_stop_is_recognised(text: str, is_one: bool) -> None:
    ctx = Context(Bot("helpdesk"), message(text), FakeReplySink())  # type: ignore[arg-type]
    assert is_stop(ctx) is is_one


def test_own_command_replaces_stop() -> None:
    bot = Bot("helpdesk")
    bot.command("halt", "stop")(lambda ctx: "mine")
    assert not is_stop(Context(bot, message("/stop"), FakeReplySink()))  # type: ignore[arg-type]
    assert DispatchHarness(bot, FakeReplySink()).send_text("/stop") == ["mine"]


def test_texts_can_be_changed_and_left_out() -> None:
    bot = Bot("helpdesk", stop_text=None, nothing_to_stop_text="Nichts läuft.")
    sink = FakeReplySink()
    harness = DispatchHarness(bot, sink)
    assert harness.send_text("/stop") == ["Nichts läuft."]
    sink.has_stopped = True
    assert harness.send_text("/stop") == []
    assert harness.outcome.stopped_by == "stop"


def test_stop_that_stops_nothing_names_cancel_while_a_question_is_open() -> None:
    bot = Bot("helpdesk")
    bot.command("name")(lambda ctx: ctx.ask("Your name?"))
    sink = FakeReplySink()
    harness = DispatchHarness(bot, sink)
    asked = {"cometbot:dialogs": f'[{{"user": "{message("x").sender.uid}"}}]'}
    sink.stored["conversation", message("x").conversation.key_text] = asked
    assert harness.send_text("/stop") == ["There is nothing to stop. Write /cancel to end my question."]


def test_stop_in_a_group_is_for_the_bot_that_is_mentioned_or_asks() -> None:
    bot = Bot("helpdesk")
    bot.fallback(lambda ctx: f"you said {ctx.text}")
    sink = FakeReplySink()
    harness = DispatchHarness(bot, sink)
    plain, mentioning = message("/stop", conversation=GROUP), message("<@uid:helpdesk> /stop", conversation=GROUP)
    assert harness.send(plain) == ["you said /stop"]
    assert harness.send(mentioning) == ["There is nothing to stop."]
    sink.stored["conversation", GROUP.key_text] = {"cometbot:dialogs": f'[{{"user": "{plain.sender.uid}"}}]'}
    assert harness.send(plain) == ["There is nothing to stop. Write /cancel to end my question."]


@pytest.mark.parametrize(
    ("owner", "user", "conversation", "may"),
    [
        (User("maria"), User("maria"), HERE, True),
        (User("maria"), User("ben"), GROUP, False),
        (User("maria", lasting_id="1"), User("maria", lasting_id="2"), HERE, False),
        (User("maria", lasting_id="1"), User("mia", lasting_id="1"), HERE, True),
        (User(""), User("maria"), HERE, True),
        (User(""), User("maria"), GROUP, False),
    ],
)
def test_who_may_stop_a_handler(owner: User, user: User, conversation: Conversation, may: bool) -> None:
    assert may_end(user, Event(key="e", conversation=conversation, sender=owner)) is may


@pytest.mark.parametrize(
    ("event", "counts"),
    [
        (message("and now?"), True),
        (message("and now?", conversation=GROUP), False),
        (message("and now, <@uid:helpdesk>?", conversation=GROUP), True),
        (message("and now?", conversation=GROUP, thread_id="t1"), True),
        (message("and now?", conversation=GROUP, quote=Quote("m1")), True),
        (message("/again", conversation=GROUP), True),
        (message("/other", conversation=GROUP), False),
        (Event(key="e", conversation=HERE, sender=User("maria")), False),
    ],
)
def test_newer_message_counts_in_a_group_if_it_is_for_the_bot(event: Event, counts: bool) -> None:
    bot = Bot("helpdesk")
    bot.command("again")(lambda ctx: None)
    assert is_newer_input(Context(bot, event, FakeReplySink())) is counts  # type: ignore[arg-type]


def test_messages_are_looked_at_that_may_stop() -> None:
    plain, new = Bot("plain"), Bot("new")
    new.message("work", stop_on_new=True)(lambda ctx: None)
    assert [may_stop(plain, b'{"text": "/Stop"}'), may_stop(plain, b'{"text": "hi"}')] == [True, False]
    assert may_stop(new, b'{"text": "hi"}')


@pytest.mark.parametrize("decorate", ["command", "message", "action", "event", "fallback"])
def test_every_kind_of_handler_takes_stop_on_new(decorate: str) -> None:
    bot = Bot("helpdesk")

    @getattr(bot, decorate)(stop_on_new=True)
    def work(ctx: Context) -> None: ...

    assert [handler.stop_on_new for handler in bot.handlers] == [True]
    assert bot.routes.stops_on_new
    with pytest.raises(RegistrationError, match=r"stop_on_new of .*work is True or False, not 'yes'"):
        getattr(Bot("helpdesk"), decorate)(stop_on_new="yes")(work)


def test_parts_are_taken_until_the_end() -> None:
    is_stopped = iter([False, False, True])
    assert list(take_until(iter("abcd"), lambda: next(is_stopped))) == ["a", "b"]


def make_step(number: int, kind: str, trigger: str = "m1") -> Step:
    return Step(number, kind, "", "code", "", trigger, 0.0, {"value": None})


def make_run(*steps: Step, answer: Answer | None = None, trigger: str = "m1") -> StepRun:
    return StepRun(DialogId("m1"), trigger, 0.0, 0.0, steps, answer)


def enter(run: StepRun, kind: str) -> Any:
    return run.enter(kind, "", "code", "")


def test_stop_that_was_read_is_a_step() -> None:
    run = make_run()
    assert [run.read_cancelled(False), run.read_cancelled(True), run.read_cancelled(False)] == [False, True, True]
    assert [step.kind for step in run.new_steps] == [STOPPED]
    run.record(enter(run, ONCE), {"value": 1})
    assert [step.number for step in run.new_steps] == [0, 1]


def test_later_run_reads_the_stop_at_the_same_point() -> None:
    run = make_run(make_step(0, ONCE), make_step(1, STOPPED), make_step(2, ONCE))
    assert not run.read_cancelled(True)  # it was not stopped yet
    assert enter(run, ONCE).stored is not None
    assert run.read_cancelled(False)
    assert enter(run, ONCE).stored is not None
    assert run.read_cancelled(False)
    run.check_complete()


def test_run_for_an_answer_is_not_stopped_behind_it() -> None:
    asked = make_step(1, ASK, trigger="m2")
    run = make_run(make_step(0, STOPPED), asked, trigger="m2")
    assert run.read_cancelled(False)
    assert enter(run, ASK).stored is not None
    assert not run.read_cancelled(False)
    assert run.read_cancelled(True)


def test_run_reads_nothing_new_before_its_answer() -> None:
    run = make_run(answer=Answer(0, {"text": "yes"}), trigger="m2")
    assert not run.read_cancelled(True)
    assert run.new_steps == []


def test_code_that_reads_it_no_more_goes_on() -> None:
    run = make_run(make_step(0, STOPPED), make_step(1, ONCE), make_step(2, STOPPED))
    assert enter(run, ONCE).stored is not None
    run.check_complete()
    with pytest.raises(BotError, match="not deterministic"):
        make_run(make_step(0, STOPPED), make_step(1, ONCE)).check_complete()
