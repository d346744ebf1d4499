"""A simulated CometChat over HTTP, a folder of an author's, a bot beside the command line, and the command line."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from click.testing import CliRunner, Result

from cometbot import AskCancelled, Bot, Context, Group
from cometbot.cli import main
from cometbot.delivery import Delivery
from cometbot.simulator import Simulator
from cometbot.testing.fake_channel import FakeChannel
from cometbot.testing.immediate_engine import ImmediateEngine

_numbers = itertools.count(1)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, which is the current one; imports from it and the commands' variables are forgotten at the end.

    ``cometbot serve`` sets variables for the processes that it starts.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with mock.patch.dict(os.environ):
        for name in [name for name in os.environ if name.startswith(("COMETBOT_", "COMETCHAT_"))]:
            del os.environ[name]
        yield tmp_path


@pytest.fixture
def environ(simulator: Simulator, folder: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The settings that lead to the simulator, to change them."""
    monkeypatch.setenv("COMETCHAT_API_URL", simulator.api_url)
    monkeypatch.setenv("COMETCHAT_API_KEY", simulator.api_key)
    monkeypatch.setenv("COMETCHAT_APP_ID", simulator.app_id)
    return monkeypatch


@pytest.fixture
def cometbot(environ: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Calls the command line: ``cometbot("bots", "list")``; ``answers`` is what is typed."""
    return lambda *words, answers="": CliRunner().invoke(main, list(words), input=answers)


@pytest.fixture
def write_bot(folder: Path) -> Iterator[Callable[[str], str]]:
    """Writes a module with the Bot ``bot`` and returns its ``module:attribute``; ``lines`` come behind the bot."""
    written: list[str] = []

    def write(lines: str = "", bot: str = 'Bot("shop")') -> str:
        name = f"shop{next(_numbers)}"
        (folder / f"{name}.py").write_text(f"from cometbot import *\n\nbot = {bot}\n{lines}\n")
        written.append(name)
        return f"{name}:bot"

    yield write
    for name in written:
        sys.modules.pop(name, None)


class Shop:
    """A bot that asks questions and for approvals, beside the command line."""

    def __init__(self, url: str) -> None:
        self.bot, self.channel, self.engine = Bot("shop"), FakeChannel(), ImmediateEngine()
        self.delivery = Delivery([self.bot], [self.channel], url, engine=self.engine)
        self.delivery.start()
        add_handlers(self.bot)

    def send(self, text: str, user: str = "maria", group: str = "") -> None:
        self.delivery.enqueue(self.channel.incoming(self.bot, text, user=user, group=group))
        self.engine.run_until_idle()

    def run_pending(self) -> None:
        """Do what the command left to the running bot."""
        with self.delivery.database.read() as connection:
            keys = self.delivery.store.leases.find_abandoned(connection, ["shop"], ["fake", "jobs"])
        for key in keys:
            self.engine.notify(key)
        self.engine.run_until_idle()


def add_handlers(bot: Bot) -> None:
    @bot.command("order")
    def order(ctx: Context, what: str) -> str:
        try:
            size = ctx.ask("Which size?", choices=["S", "M"], timeout="1h")
            order_id = ctx.once(lambda: "x" * 500)
            return f"{ctx.ask('How many?', type=int)} × {size} {what} {order_id}"
        except AskCancelled:
            return "Then not."

    @bot.command("crash")
    def crash(ctx: Context) -> str:
        raise ValueError(ctx.ask("Ready?"))

    @bot.command("later")
    def later(ctx: Context) -> str:
        ctx.sleep("1h")
        return "Now."

    @bot.command("refund")
    def refund(ctx: Context, euros: int) -> str:
        ctx.ask("Are you sure?")
        by = ["tom", "ann"] if euros > 100 else None
        return ctx.approve(f"Refund {euros} €?", to=Group("managers"), by=by, timeout="24h").status


on_both_databases = pytest.mark.parametrize("shop", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def shop(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.chdir(tmp_path)
    is_server = getattr(request, "param", "") == "postgresql"
    url = request.getfixturevalue("postgres_url") if is_server else f"sqlite:///{tmp_path / 'bot.db'}"
    monkeypatch.setenv("COMETBOT_DATABASE_URL", url)
    shop = Shop(url)
    yield shop
    shop.delivery.close()


def run_command(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def read_json(*words: str) -> Any:
    return json.loads(run_command(*words, "--json").output)
