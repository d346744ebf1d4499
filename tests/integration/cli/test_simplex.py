"""``cometbot simplex``: its demo, its start, and its sentences."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from cometbot.cli import main
from cometbot.cli.simplex.process import run
from cometbot.errors import ConfigurationError
from cometbot.settings import Settings
from cometbot.shutdown import ShutdownEvent
from cometbot.testing import FakeSimplexCLI

BOT = """
from cometbot import Bot, Context, EditEvent, ReactionEvent, has_attachment

bot = Bot("shop", description="Sells.")
other = Bot("other")

@bot.message("like")
def like(ctx: Context):
    ctx.react("👍")

@bot.message("change")
def change(ctx: Context):
    ctx.reply("working").edit("done")

@bot.message("take back")
def take_back(ctx: Context):
    ctx.reply("oops").delete()

@bot.message("stream")
def stream(ctx: Context):
    ctx.stream(["one ", "two"])

@bot.event(EditEvent, ReactionEvent)
def changes(ctx: Context):
    return type(ctx.event).__name__

@bot.message(has_attachment)
def file(ctx: Context):
    return ctx.client.download(ctx.attachments[0].url).decode()

@bot.fallback
def answer(ctx: Context):
    return f"re: {ctx.text}"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a bot in it."""
    (tmp_path / "shop_on_simplex.py").write_text(BOT)
    monkeypatch.chdir(tmp_path)
    for name in ("COMETBOT_BOT", "SIMPLEX_URL", "COMETBOT_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def demo(*lines: str) -> str:
    """What the terminal shows after the introduction."""
    result = CliRunner().invoke(main, ["simplex", "--demo", "shop_on_simplex.py:bot"], input="\n".join(lines) + "\n")
    assert result.exit_code == 0, result.output
    return result.output.partition("Ctrl-D\n\n")[2]


def test_one_talks_to_a_bot_without_a_cli(folder: Path) -> None:
    assert demo("hello", "well?") == "you: hello\nshop: re: hello\nyou: well?\nshop: re: well?\n"
    assert demo("change").splitlines()[-1] in ("shop: done", "shop, changed: done")
    assert not (folder / "cometbot.db").exists(), "nothing of it is kept"


def test_everything_that_a_bot_and_a_user_can_do_is_shown(folder: Path) -> None:
    (folder / "list.txt").write_text("Milk")
    said = demo(
        "like", "take back", "stream", "!group hello", "!file list.txt", "hi", "!edit ho", "!react 🎉", "!delete"
    )

    shown = [line for line in said.splitlines() if not line.startswith("you: ")]
    # What is taken back at once may be gone before it was seen.
    assert [line for line in shown if "oops" not in line] == [
        "shop reacts with 👍", "shop: one two", "shop in the group: re: hello", "shop: Milk", "shop: re: hi",
        "shop: EditEvent", "shop: ReactionEvent",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("!edit x", "you have not written a message yet"),
        ("!react 🎉", "has not sent a message yet"),
        ("!file nowhere", "No such file"),
    ],
)
def test_impossible_command_is_explained_and_demo_continues(line: str, problem: str) -> None:
    said = demo(line, "hello")

    assert f"That did not work: {problem}" in said or problem in said
    assert said.endswith("shop: re: hello\n")


def test_demo_prints_its_usage() -> None:
    result = CliRunner().invoke(main, ["simplex", "--demo", "shop_on_simplex.py:bot"], input="!help\n")

    assert result.output.count("!react") >= 2


@pytest.mark.parametrize(
    ("arguments", "environ", "problem"),
    [
        ([], {}, "no bot is named"),
        (["shop_on_simplex.py:cot"], {}, "has no 'cot'"),
        (["nowhere:bot"], {}, "there is no module 'nowhere'"),
        (["shop_on_simplex.py:bot"], {"SIMPLEX_URL": "ws://chat.example.com:5225"}, "uses unencrypted ws://"),
        (["shop_on_simplex.py:bot"], {"SIMPLEX_URL": "http://localhost"}, "SIMPLEX_URL: expected a ws or wss URL"),
        (
            ["shop_on_simplex.py:bot"],
            {"SIMPLEX_GROUP_MESSAGES": "some"},
            "SIMPLEX_GROUP_MESSAGES: expected addressed or all",
        ),
        (["shop_on_simplex.py:bot,shop_on_simplex.py:other"], {}, "one bot"),
        (["--bind", "nowhere", "shop_on_simplex.py:bot"], {}, "--bind: expected HOST:PORT"),
        (["--demo", "--no-handlers", "shop_on_simplex.py:bot"], {}, "--demo goes alone"),
    ],
)
def test_invalid_start_is_an_error(
    arguments: list[str], environ: dict[str, str], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in environ.items():
        monkeypatch.setenv(name, text)
    result = CliRunner().invoke(main, ["simplex", *arguments])

    assert result.exit_code == 2
    assert problem in result.output
    assert "Traceback" not in result.output


@pytest.fixture
def cli() -> Iterator[FakeSimplexCLI]:
    with FakeSimplexCLI() as cli:
        yield cli


def test_bot_answers_until_terminated(cli: FakeSimplexCLI, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(simplex_url=cli.url, database_url=f"sqlite:///{folder}/bot.db", data=folder)
    ended = ShutdownEvent()
    thread = threading.Thread(target=run, args=(settings, "shop_on_simplex.py:bot", ended))
    thread.start()
    try:
        cli.wait_for(lambda: cli.do("address") is not None)
        alice = cli.connect("alice")
        alice.say("hello")
        cli.wait_for(lambda: alice.texts() == ["re: hello"])
        cli.drop()
        alice.say("again")
        cli.wait_for(lambda: alice.texts() == ["re: hello", "re: again"])
    finally:
        ended.set()
        thread.join(20)
    shown = capsys.readouterr().out

    assert not thread.is_alive()
    assert re.fullmatch(r"Connected to SimpleX as Echo bot\.\nAddress: https://\S+\n", shown), "once, not at each break"


def test_bot_without_address_says_how_to_get_one(
    cli: FakeSimplexCLI, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(
        simplex_url=cli.url, database_url=f"sqlite:///{folder}/bot.db", data=folder, simplex_address=False
    )
    ended = ShutdownEvent()
    thread = threading.Thread(target=run, args=(settings, "shop_on_simplex.py:bot", ended))
    thread.start()
    shown = ""
    try:
        cli.wait_for(lambda: any(text.startswith("/_get chats") for text in cli.commands))
        alice = cli.connect("alice")
        alice.say("hello")
        cli.wait_for(lambda: alice.texts() == ["re: hello"])
    finally:
        ended.set()
        thread.join(20)
    shown = capsys.readouterr().out

    assert "set SIMPLEX_ADDRESS=1" in shown


def test_simplex_process_has_the_other_named_channels(folder: Path) -> None:
    settings = Settings(channels=("simplex", "cometchat"), database_url=f"sqlite:///{folder}/bot.db")
    with pytest.raises(ConfigurationError, match="COMETCHAT_APP_ID"):
        run(settings, "shop_on_simplex.py:bot", threading.Event())
