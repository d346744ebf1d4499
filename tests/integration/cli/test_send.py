"""``cometbot send``: stored for the running bot, or sent at once, to a simulated CometChat over HTTP."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result

from cometbot import Bot
from cometbot.channels.cometchat import CometChatChannel, CometChatClient
from cometbot.channels.simplex.service import SimplexService
from cometbot.cli.send import CHANNELS
from cometbot.delivery import Delivery
from cometbot.errors import ConfigurationError
from cometbot.observer import Observer
from cometbot.settings import Settings
from cometbot.simulator import Simulator
from cometbot.testing import FakeSimplexCLI
from cometbot.web.app import create_app
from cometbot.web.channels import channels_from_settings

Call = Callable[..., Result]
Write = Callable[..., str]


@pytest.fixture(autouse=True)
def users(simulator: Simulator) -> None:
    simulator.add_bot("shop", "http://127.0.0.1:9/")
    simulator.add_user("tom")
    simulator.add_group("ops-room", owner="tom")


@pytest.fixture
def running(simulator: Simulator, folder: Path) -> Iterator[Delivery]:
    """A bot at work over the database of the current folder."""
    bot = Bot("shop")
    client = CometChatClient(simulator.api_url, simulator.api_key)
    channel = CometChatChannel(simulator.app_id, client, bots={"shop": bot})
    delivery = Delivery([bot], [channel], f"sqlite:///{folder / 'cometbot.db'}")
    delivery.start()
    yield delivery
    delivery.close()


def texts(simulator: Simulator) -> list[tuple[str, str]]:
    return [(message.sender, message.text) for message in simulator.messages()]


def test_send_is_stored_and_sent_by_the_running_bot(
    cometbot: Call, simulator: Simulator, write_bot: Write, running: Delivery
) -> None:
    result = cometbot("send", "--bot", write_bot(), "--user", "tom", "Your order is out.")
    assert (result.exit_code, "Stored." in result.stdout) == (0, True)
    simulator.wait_for(lambda it: texts(it) == [("shop", "Your order is out.")])


def test_send_bot_by_its_name_among_those_of_the_settings(
    cometbot: Call, simulator: Simulator, write_bot: Write, running: Delivery, environ: pytest.MonkeyPatch
) -> None:
    environ.setenv("COMETBOT_BOT", ",".join([write_bot(), write_bot(bot='Bot("news")')]))
    assert cometbot("send", "--bot", "Shop", "--group", "ops-room", "Hello").exit_code == 0
    simulator.wait_for(lambda it: texts(it) == [("shop", "Hello")])


@pytest.mark.parametrize("options", [[], ["--now"]])
def test_send_passes_the_outgoing_middleware_of_the_bot(
    cometbot: Call, simulator: Simulator, write_bot: Write, running: Delivery, options: list[str]
) -> None:
    spec = write_bot("@bot.outgoing\ndef check(message, outgoing): return None if message.text == 'x' else Text('y')")
    dropped = cometbot("send", *options, "--bot", spec, "--user", "tom", "x")
    assert (dropped.exit_code, "Not sent: the bot's outgoing middleware dropped" in dropped.stderr) == (2, True)
    assert cometbot("send", *options, "--bot", spec, "--user", "tom", "z").exit_code == 0
    simulator.wait_for(lambda it: texts(it) == [("shop", "y")])


def test_send_there_is_no_database_it_says_so_and_makes_none(cometbot: Call, write_bot: Write, folder: Path) -> None:
    result = cometbot("send", "--bot", write_bot(), "--user", "tom", "Hello")
    assert (result.exit_code, "database not found" in result.stderr) == (2, True)
    assert not list(folder.glob("*.db*"))


def test_send_now_needs_no_database_and_no_code(cometbot: Call, simulator: Simulator, folder: Path) -> None:
    result = cometbot("send", "--bot", "shop", "--user", "tom", "Hello", "--now")
    assert (result.exit_code, result.stdout) == (0, "Sent to tom.\n")
    assert texts(simulator) == [("shop", "Hello")]
    assert list(folder.iterdir()) == []


def test_send_now_picks_cometchat_among_channels(
    cometbot: Call, simulator: Simulator, environ: pytest.MonkeyPatch
) -> None:
    environ.setenv("COMETBOT_CHANNELS", "platform,cometchat")
    assert cometbot("send", "--bot", "shop", "--user", "tom", "Hello", "--now").exit_code == 0
    assert texts(simulator) == [("shop", "Hello")]


def test_send_now_to_a_group_the_bot_joins_it(cometbot: Call, simulator: Simulator) -> None:
    assert cometbot("send", "--bot", "shop", "--group", "Ops-Room", "Hello", "--now").exit_code == 0
    assert "shop" in simulator.world.directory.groups["ops-room"].members
    assert texts(simulator) == [("shop", "Hello")]


def test_send_now_a_long_text_goes_in_parts(cometbot: Call, simulator: Simulator, write_bot: Write) -> None:
    cometbot("send", "--bot", write_bot(), "--user", "tom", "-", "--now", answers="word " * 4000)
    assert len(texts(simulator)) > 1
    assert " ".join(text for _, text in texts(simulator)).split() == ["word"] * 4000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--user", "nobody"), "no user nobody"),
        (("--group", "nowhere"), "no group nowhere"),
        (("--user", "tom", "--bot", "stranger"), "there is no bot stranger"),
    ],
)
def test_send_now_cometchat_refuses_it_says_what_is_missing(
    cometbot: Call, simulator: Simulator, words: tuple[str, ...], said: str
) -> None:
    result = cometbot("send", *(() if "--bot" in words else ("--bot", "shop")), *words, "Hello", "--now")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert said in result.stderr
    assert texts(simulator) == []


def test_send_now_with_a_lost_answer_says_the_outcome_is_unknown(cometbot: Call, simulator: Simulator) -> None:
    simulator.misbehave.fail(after=True)
    result = cometbot("send", "--bot", "shop", "--user", "tom", "Hello", "--now")
    assert (result.exit_code, "the outcome is unknown" in result.stderr) == (2, True)
    assert len(texts(simulator)) == 1


@pytest.mark.parametrize(
    "words", [(), ("--user", "tom", "--group", "ops-room"), ("--user", "tom", " "), ("--user", "tom", "")]
)
def test_send_to_nobody_to_two_or_nothing_is_a_usage_error(cometbot: Call, words: tuple[str, ...]) -> None:
    text = () if words and not words[-1].strip() else ("Hello",)
    result = cometbot("send", "--bot", "shop", "--now", *words, *text)
    assert (result.exit_code, "Error: " in result.stderr) == (2, True)


def test_send_bot_is_not_clear_it_lists_those_that_there_are(
    cometbot: Call, write_bot: Write, environ: pytest.MonkeyPatch
) -> None:
    environ.setenv("COMETBOT_BOT", ",".join([write_bot(), write_bot(bot='Bot("news")')]))
    assert "Choose one with --bot: shop, news" in cometbot("send", "--user", "tom", "Hello").stderr
    assert "no bot 'nix'. Choose" in cometbot("send", "--bot", "nix", "--user", "tom", "Hello").stderr


@pytest.fixture
def without_cometchat(environ: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("COMETCHAT_APP_ID", "COMETCHAT_API_URL", "COMETCHAT_API_KEY"):
        environ.delenv(name)
    return environ


@pytest.mark.parametrize(("words", "listed"), [((), "simplex"), (("--channel", "simplex"), "cometchat,simplex")])
def test_send_on_simplex_is_stored(
    cometbot: Call, write_bot: Write, without_cometchat: pytest.MonkeyPatch, words: tuple[str, ...], listed: str
) -> None:
    without_cometchat.setenv("COMETBOT_CHANNELS", listed)
    spec = write_bot()
    with FakeSimplexCLI(display_name="shop") as cli:
        owner = SimplexService(Settings(simplex_url=cli.url), Bot("shop"))
        with closing(Delivery([Bot("shop")], [owner.channel], "sqlite:///cometbot.db")) as delivery:
            maria = cli.connect("maria")
            delivery.start()
            owner.open(delivery)
            result = cometbot("send", "Hello", "--bot", spec, "--user", str(maria.contact_id), *words)
            assert (result.exit_code, result.stdout) == (0, "Stored. cometbot simplex will send it.\n"), result.output
            cli.wait_for(lambda: maria.texts() == ["Hello"], 60)


def test_send_on_the_platform_reaches_a_users_chat(
    cometbot: Call, write_bot: Write, without_cometchat: pytest.MonkeyPatch
) -> None:
    without_cometchat.setenv("COMETBOT_CHANNELS", "platform")
    spec = write_bot()
    app = create_app(Bot("shop"), Settings.from_environment())
    running = app.extensions["cometbot"]
    try:
        person = app.test_client()
        user = person.post("/v1/client-api/user", json={"nickname": "Maria"}).get_json()
        result = cometbot("send", "Hello", "--bot", spec, "--user", user["id"])
        assert (result.exit_code, "Stored." in result.stdout) == (0, True), result.output
        ends_at = time.monotonic() + 60
        while not (chats := person.get("/v1/client-api/chats?bot_id=shop").get_json()):
            assert time.monotonic() < ends_at
            time.sleep(0.02)
        [said] = person.get(f"/v1/client-api/chat/{chats[0]['id']}/messages").get_json()["messages"]
        assert said["body"] == "Hello"
    finally:
        running.stop()


def test_send_on_agui_opens_the_next_answer(
    cometbot: Call, write_bot: Write, without_cometchat: pytest.MonkeyPatch
) -> None:
    token = "0123456789abcdef" * 2
    without_cometchat.setenv("COMETBOT_CHANNELS", "agui")
    without_cometchat.setenv("AGUI_TOKEN", token)
    spec = write_bot()
    bot = Bot("shop")
    bot.fallback(lambda ctx: f"echo {ctx.text}")
    app = create_app(bot, Settings.from_environment())
    running = app.extensions["cometbot"]
    headers = {"Authorization": f"Bearer {token}"}
    messages: list[dict[str, str]] = []

    def ask(text: str) -> list[str]:
        messages.append({"id": text, "role": "user", "content": text})
        body = {"threadId": "maria", "runId": text, "messages": messages}
        answer = app.test_client().post("/agui/shop", json=body, headers=headers).text
        return re.findall(r'"delta":"([^"]+)"', answer)

    try:
        assert ask("one") == ["echo one"]
        result = cometbot("send", "Hello", "--bot", spec, "--user", "maria")
        assert (result.exit_code, "Stored." in result.stdout) == (0, True), result.output
        assert ask("two") == ["Hello", "echo two"]
    finally:
        running.stop()


@pytest.mark.parametrize("channel", ["simplex", "platform", "chat_api", "agui"])
def test_send_now_on_another_channel_is_refused(
    cometbot: Call, write_bot: Write, without_cometchat: pytest.MonkeyPatch, channel: str
) -> None:
    without_cometchat.setenv("COMETBOT_CHANNELS", channel)
    result = cometbot("send", "Hello", "--bot", write_bot(), "--user", "4", "--now")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert f"--now works only with CometChat, got the channel {channel}" in result.stderr


def test_send_to_whom_the_channel_does_not_know_says_so(
    cometbot: Call, write_bot: Write, without_cometchat: pytest.MonkeyPatch
) -> None:
    without_cometchat.setenv("AGUI_TOKEN", "0123456789abcdef" * 2)
    delivery = Delivery([], [], "sqlite:///cometbot.db")
    delivery.database.open()
    delivery.close()
    for words, said in (
        (("simplex", "--user", "maria"), "SimpleX contact: expected a number"),
        (("platform", "--group", "4"), "the platform has no groups"),
        (("agui", "--group", "4"), "AG-UI has no groups"),
        (("nix", "--user", "4"), "'nix' is not one of 'cometchat', 'chat_api', 'platform', 'simplex', 'agui'"),
    ):
        result = cometbot("send", "Hello", "--bot", write_bot(), "--channel", *words)
        assert result.exit_code == 2
        assert said in result.stderr, result.stderr


def test_send_knows_the_channels_that_the_settings_know(environ: pytest.MonkeyPatch) -> None:
    settings = replace(Settings.from_environment(), channels=("nix",))
    with pytest.raises(ConfigurationError, match=f"expected some of {', '.join(CHANNELS)}, got nix"):
        channels_from_settings(settings, [], Observer())


@pytest.mark.process
def test_send_in_a_process_of_its_own_wakes_the_running_bot(
    simulator: Simulator, environ: pytest.MonkeyPatch, write_bot: Write, running: Delivery
) -> None:
    command = [sys.executable, "-c", "from cometbot.cli import main; main()", "send", "--bot", write_bot()]
    done = subprocess.run(
        [*command, "--user", "tom", "Hello"],
        capture_output=True, text=True, timeout=30, env=dict(os.environ), check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    simulator.wait_for(lambda it: texts(it) == [("shop", "Hello")])
