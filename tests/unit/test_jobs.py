"""Jobs: their arguments, their names, and what they leave to be stored."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from cometbot import Bot, BotError, Context, Conversation, Job, Router, User
from cometbot.errors import RegistrationError
from cometbot.jobs import (
    MAX_ARGUMENT_BYTES,
    check_job_name,
    decode_arguments,
    encode_arguments,
    make_body,
    make_content,
    make_conversation,
    parse_body,
)

HERE = Conversation("cometchat", "app", "helper", "helper_user_maria", "maria")


class Session:
    """Something that a bot provides."""


def test_conversations_survive_among_the_arguments() -> None:
    arguments = {"to": HERE, "count": 3, "names": ["a", None], "text": "½"}
    assert decode_arguments(encode_arguments("ring", arguments)) == arguments


@pytest.mark.parametrize("wrong", [{"x": object()}, {"x": float("nan")}, {"x": {1, 2}}, {"x": b"bytes"}])
def test_argument_that_is_no_json_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BotError, match="must be JSON or a Conversation"):
        encode_arguments("ring", wrong)


def test_arguments_have_a_limit() -> None:
    with pytest.raises(BotError, match="65536"):
        encode_arguments("ring", {"text": "x" * MAX_ARGUMENT_BYTES})


@pytest.mark.parametrize("wrong", ["", "a\nb", "#1", "x" * 201, None, 5, "nul\0"])
def test_wrong_name_is_refused(wrong: Any) -> None:
    with pytest.raises(BotError, match="name: expected"):
        check_job_name(wrong)


def test_body_of_a_job_becomes_its_event() -> None:
    content = make_content(encode_arguments("ring", {"to": HERE}), HERE, User("maria", "Maria", lasting_id="u1"))
    event = parse_body("cometbot:job:x:5", make_conversation("helper", "x"), make_body("m.ring", "x", 5.5, content))
    assert (event.handler, event.name, event.due_at, event.origin) == ("m.ring", "x", 5.5, HERE)
    assert (event.sender, event.sender.lasting_id, event.arguments) == (User("maria", "Maria"), "u1", {"to": HERE})
    assert event.conversation.key_text == "jobs/cometbot/helper/x"


def make_bot() -> tuple[Bot, Any]:
    bot = Bot("helper")

    @bot.job
    def ring(ctx: Context, what: str, session: Session, *, loud: bool = False, to: Conversation | None = None) -> None:
        ctx.send(what)

    return bot, ring


def test_schedule_has_name_arguments_and_times() -> None:
    bot, ring = make_bot()
    bot.every("5m", ring, what="tea")
    bot.cron("0 9 * * *", ring, name="morning", missed="skip", what="coffee", loud=True)
    first, second = bot.scheduled_jobs
    assert (first.name, first.schedule.spec, first.missed, first.arguments) == (
        "ring",
        "every 300",
        "once",
        {"what": "tea"},
    )
    assert (second.name, second.schedule.spec, second.missed) == ("morning", "cron UTC 0 9 * * *", "skip")
    assert second.handler == first.handler == f"{__name__}.make_bot.<locals>.ring"


def test_single_time_before_an_app_runs_is_registered() -> None:
    bot, ring = make_bot()
    when = datetime(2027, 1, 1, tzinfo=timezone.utc)
    bot.at(when, ring, what="tea")
    bot.at(when, ring, what="coffee")
    names = [job.name for job in bot.scheduled_jobs]
    assert all(name.startswith("ring 2027-01-01T00:00:00Z ") for name in names)
    assert len(set(names)) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "missing a required argument: 'what'"),
        ({"what": "tea", "volume": 3}, "unexpected keyword argument 'volume'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments: dict[str, Any], words: str) -> None:
    bot, ring = make_bot()
    with pytest.raises(BotError, match=words):
        bot.every("5m", ring, **arguments)


def test_function_that_is_no_job_is_refused() -> None:
    bot, _ = make_bot()

    def plain(ctx: Context) -> None: ...

    for wrong in (plain, "ring", None):
        with pytest.raises(RegistrationError, match=r"put @bot\.job on the function"):
            bot.every("5m", wrong)  # type: ignore[arg-type]


def test_name_is_scheduled_once() -> None:
    bot, ring = make_bot()
    bot.every("5m", ring, what="tea")
    with pytest.raises(RegistrationError, match="a job named 'ring' is scheduled already"):
        bot.cron("0 9 * * *", ring, what="tea")


def test_wrong_missed_is_refused() -> None:
    bot, ring = make_bot()
    with pytest.raises(RegistrationError, match='missed: expected "once" or "skip"'):
        bot.every("5m", ring, missed="never", what="tea")  # type: ignore[arg-type]


def test_two_jobs_of_one_name_are_refused() -> None:
    bot, _ = make_bot()

    def ring(ctx: Context) -> None: ...

    ring.__qualname__ = "make_bot.<locals>.ring"
    with pytest.raises(RegistrationError, match="is taken by"):
        bot.job(ring)


def test_job_without_a_context_or_with_nameless_arguments_is_refused() -> None:
    bot = Bot("helper")
    with pytest.raises(RegistrationError, match="must take the context first"):
        bot.job(lambda: None)
    with pytest.raises(RegistrationError, match="the arguments of a job are named"):
        bot.job(lambda ctx, *words: None)


def test_jobs_of_a_router_belong_to_its_bot() -> None:
    bot, router = Bot("helper"), Router()

    @router.job
    def ring(ctx: Context) -> None: ...

    router.every("5m", ring)
    bot.include(router)
    assert [job.name for job in bot.scheduled_jobs] == ["ring"]
    with pytest.raises(RegistrationError, match="included already"):
        router.every("10m", ring, name="again")


def test_job_that_nothing_provides_for_fails_the_check() -> None:
    bot, _ = make_bot()
    with pytest.raises(RegistrationError, match="Session"):
        bot.check()


def test_job_names_its_time() -> None:
    job = Job("tea", "m.ring", 1_700_000_000.0, {"arguments": {"what": "tea"}}, lambda: None)
    assert repr(job) == "<Job tea at 2023-11-14 22:13:20 UTC>"
    assert (job.arguments, job.text, job.job) == ({"what": "tea"}, "", "m.ring")
