"""What delivery reports of dialogs to metrics."""

from __future__ import annotations

from typing import Any

import pytest

from cometbot import AskCancelled, Bot, Context
from cometbot.errors import NotDelivered, Rejected
from cometbot.observer import Observer
from cometbot.testing import BotClient


class DialogRecorder(Observer):
    """What was reported of dialogs."""

    def __init__(self) -> None:
        self.answers: list[float] = []
        self.ends: list[str] = []

    def question_answered(self, bot: str, seconds: float) -> None:
        self.answers.append(seconds)

    def dialog_ended(self, bot: str, outcome: str) -> None:
        self.ends.append(outcome)


def make_bot() -> Bot:
    bot = Bot("helpdesk")

    @bot.command("name")
    def name(ctx: Context) -> str:
        return f"Hello {ctx.ask('Your name?', validate=str.isalpha, attempts=2, timeout='1h')}."

    @bot.command("caught")
    def caught(ctx: Context) -> str:
        try:
            return str(ctx.ask("Which?"))
        except AskCancelled:
            return "Then not."

    @bot.command("refusable")
    def refusable(ctx: Context) -> str:
        try:
            return str(ctx.ask("Which?"))
        except NotDelivered:
            return "I could not ask."

    @bot.command("crash")
    def crash(ctx: Context) -> str:
        raise ValueError(ctx.ask("Ready?"))

    @bot.command("nap")
    def nap(ctx: Context) -> str:
        ctx.sleep("1h")
        return "Awake."

    @bot.command("plain")
    def plain(ctx: Context) -> str:
        return str(ctx.once(lambda: 1))

    return bot


@pytest.fixture
def recorder() -> DialogRecorder:
    return DialogRecorder()


@pytest.fixture
def client(recorder: DialogRecorder, monkeypatch: pytest.MonkeyPatch) -> BotClient:
    client = BotClient(make_bot(), raise_errors=False)
    observer = client._harness.delivery.observer
    monkeypatch.setattr(observer, "question_answered", recorder.question_answered)
    monkeypatch.setattr(observer, "dialog_ended", recorder.dialog_ended)
    return client


@pytest.mark.parametrize(
    ("lines", "ends"),
    [
        (["/plain"], []),
        (["/name"], []),
        (["/name", "Maria"], ["done"]),
        (["/name", "/cancel"], ["cancelled"]),
        (["/caught", "/cancel"], ["cancelled"]),
        (["/name", "1", "2"], ["given_up"]),
        (["/name", "/name", "Tom"], ["replaced", "done"]),
        (["/crash", "yes"], ["failed"]),
    ],
)
def test_end_is_reported_by_its_kind(
    client: BotClient, recorder: DialogRecorder, lines: list[str], ends: list[str]
) -> None:
    for line in lines:
        client.send(line)
    assert recorder.ends == ends


def test_times_that_come_are_reported(client: BotClient, recorder: DialogRecorder) -> None:
    client.send("/name")
    client.advance(3600)
    client.send("/nap")
    client.advance(3600)
    assert (recorder.ends, recorder.answers) == (["timeout", "done"], [])


@pytest.mark.parametrize(("line", "end"), [("/refusable", "refused"), ("/caught", "failed")])
def test_refused_question_is_reported(client: BotClient, recorder: DialogRecorder, line: str, end: str) -> None:
    channel: Any = client.channel
    channel.faults.append(Rejected("blocked", status=403))
    client.send(line)
    assert recorder.ends == [end]


def test_seconds_until_the_answer_are_reported(client: BotClient, recorder: DialogRecorder) -> None:
    client.send("/name")
    client.advance(30)
    client.send("1")
    client.advance(10)
    client.send("Maria")
    assert recorder.answers == [30.0, 10.0]


def test_open_dialogs_are_in_the_backlog(client: BotClient) -> None:
    client.send("/name")
    client.send("/nap")
    assert client._harness.delivery.backlog()["helpdesk"].open_dialogs == 2
    client.send("Maria")
    assert client._harness.delivery.backlog()["helpdesk"].open_dialogs == 1
