"""Commands on one of several CometChat apps, against two simulated ones over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from cometbot.cli.serve import summary_lines
from cometbot.settings import Settings
from cometbot.simulator import Simulator
from cometbot.web.app import create_app

Call = Callable[..., Result]
Write = Callable[..., str]
URL = "http://127.0.0.1:9000"


@pytest.fixture
def us(environ: pytest.MonkeyPatch, simulator: Simulator) -> Iterator[Simulator]:
    """The second app, ``shop_us``; the other simulator is ``shop_eu``."""
    with Simulator(app_id="a1b2c3d4e5f60002", api_key="2" * 40) as us:
        environ.setenv("COMETCHAT_APPS", "shop_eu,shop_us")
        environ.setenv("COMETCHAT_APP_ID__SHOP_US", us.app_id)
        environ.setenv("COMETCHAT_API_KEY__SHOP_US", us.api_key)
        environ.setenv("COMETCHAT_API_URL__SHOP_US", us.api_url)
        yield us


@pytest.mark.parametrize(
    "words",
    [
        ("bots", "list"),
        ("bots", "create", "shop", "--url", URL),
        ("bots", "update", "shop", "--disable"),
        ("bots", "delete", "shop", "--yes"),
        ("agents", "list"),
        ("agents", "delete", "a1", "--yes"),
        ("users", "create", "tom"),
        ("send", "hi", "--user", "tom", "--now", "--bot", "shop"),
    ],
)
def test_one_of_several_apps_must_be_named(cometbot: Call, us: Simulator, words: tuple[str, ...]) -> None:
    result = cometbot(*words)
    assert result.exit_code == 2
    assert result.stderr == "cometbot: there are several CometChat apps. Choose one with --app: shop_eu, shop_us\n"
    assert not us.requests


def test_unknown_app_is_refused_with_the_known_ones(cometbot: Call, us: Simulator) -> None:
    result = cometbot("bots", "list", "--app", "shop_asia")
    assert result.exit_code == 2
    assert "the app 'shop_asia' is not in COMETCHAT_APPS, which has: shop_eu, shop_us" in result.stderr


def test_app_without_several_ones_is_refused(cometbot: Call) -> None:
    assert "the app 'x' is not in COMETCHAT_APPS, which has: none" in cometbot("bots", "list", "--app", "x").stderr


def test_commands_change_the_named_app_alone(cometbot: Call, simulator: Simulator, us: Simulator) -> None:
    created = cometbot("bots", "create", "shop", "--url", URL, "--app", "Shop_US")
    assert created.exit_code == 0, created.output
    bot = us.world.directory.bots["shop"]
    assert bot.webhook_url == f"{URL}/cometchat/shop_us/shop"
    assert f"COMETBOT_CALLBACK_PASSWORD__SHOP_US={bot.password}\n" in created.stdout
    assert cometbot("users", "create", "tom", "--app", "shop_us").exit_code == 0
    assert "tom" in us.world.directory.users
    assert "shop" in cometbot("bots", "list", "--app", "shop_us").stdout
    assert not simulator.requests


def test_sync_registers_the_url_of_the_app(
    cometbot: Call, write_bot: Write, us: Simulator, environ: pytest.MonkeyPatch
) -> None:
    environ.setenv("COMETBOT_CALLBACK_USERNAME__SHOP_US", "cc")
    environ.setenv("COMETBOT_CALLBACK_PASSWORD__SHOP_US", "a-long-enough-password")
    assert cometbot("bots", "sync", write_bot(), "--url", URL, "--yes", "--app", "shop_us").exit_code == 0
    bot = us.world.directory.bots["shop"]
    assert (bot.webhook_url, bot.username) == (f"{URL}/cometchat/shop_us/shop", "cc")
    environ.setenv("COMETBOT_CALLBACK_PREVIOUS_PASSWORD__SHOP_US", "a-long-enough-password")
    environ.setenv("COMETBOT_CALLBACK_PASSWORD__SHOP_US", "another-long-password")
    assert cometbot("bots", "sync", write_bot(), "--url", URL, "--yes", "--app", "shop_us").exit_code == 0
    assert us.world.directory.bots["shop"].password == "another-long-password"


def test_send_goes_to_the_named_app(cometbot: Call, write_bot: Write, simulator: Simulator, us: Simulator) -> None:
    for app in (simulator, us):
        app.add_bot("shop", "http://127.0.0.1:9/")
        app.add_user("tom")
    assert cometbot("send", "hi", "--user", "tom", "--bot", write_bot(), "--app", "shop_us", "--now").exit_code == 0
    assert [message.text for message in us.messages()] == ["hi"]
    assert not simulator.messages()


def test_app_is_for_cometchat_only(cometbot: Call, write_bot: Write, us: Simulator) -> None:
    result = cometbot("send", "hi", "--user", "5", "--bot", write_bot(), "--channel", "simplex", "--app", "shop_us")
    assert "--app is for CometChat, and the channel is simplex." in result.stderr


@pytest.fixture
def rows(folder: Path, write_bot: Write, us: Simulator, simulator: Simulator) -> None:
    """A stored message of each app, dead letters all of them."""
    (folder / "shop.py").write_text("from cometbot import Bot\nbot = Bot('shop')\n")
    settings = Settings.from_environment({**dict_of(us, simulator), "COMETBOT_DATABASE_URL": "sqlite:///cometbot.db"})
    from cometbot import Bot

    bot = Bot("shop")
    app = create_app(bot, settings)
    delivery = app.extensions["cometbot"].delivery
    delivery.database.open()
    for name in ("shop_eu", "shop_us"):
        bot.send(user="tom", text=f"to {name}", app=name)
    with delivery.database.write() as connection:
        connection.exec_driver_sql("UPDATE outbox SET state = 'dead', error = 'refused', ended_at = 1")
    app.extensions["cometbot"].stop()


def dict_of(us: Simulator, eu: Simulator) -> dict[str, str]:
    return {
        "COMETCHAT_APPS": "shop_eu,shop_us",
        "COMETCHAT_APP_ID": eu.app_id,
        "COMETCHAT_API_KEY": eu.api_key,
        "COMETCHAT_API_URL": eu.api_url,
        "COMETCHAT_APP_ID__SHOP_US": us.app_id,
        "COMETCHAT_API_KEY__SHOP_US": us.api_key,
        "COMETCHAT_API_URL__SHOP_US": us.api_url,
        "COMETBOT_ALLOW_ANONYMOUS_CALLBACKS": "1",
    }


@pytest.mark.usefixtures("rows")
def test_dead_letters_are_listed_and_retried_by_app(cometbot: Call, us: Simulator) -> None:
    listed = json.loads(cometbot("deadletters", "list", "--json", "--app", "shop_us").stdout)
    assert [(letter["account"], letter["conversation"]) for letter in listed] == [(us.app_id, "shop_user_tom")]
    assert len(json.loads(cometbot("deadletters", "list", "--json").stdout)) == 2
    assert cometbot("deadletters", "retry", "--all", "--app", "shop_us").stdout == "Requeued 1 dead letter.\n"
    assert cometbot("deadletters", "list", "--app", "shop_us").stdout == "No dead letters in the app shop_us.\n"
    assert "--app works only with --all." in cometbot("deadletters", "retry", "r1", "--app", "shop_us").stderr


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("command", ["files", "dialogs", "jobs", "approvals"])
def test_lists_take_an_app(cometbot: Call, command: str) -> None:
    assert cometbot(command, "list", "--app", "shop_us").stdout == f"No {command} in the app shop_us.\n"
    assert cometbot(command, "list", "--app", "shop_asia").exit_code == 2


@pytest.mark.usefixtures("us")
def test_serve_names_the_address_of_each_app() -> None:
    lines = list(summary_lines(Settings.from_environment(), ["shop"]))
    assert [line for line in lines if "callback" in line] == [
        "CometChat callback of shop in shop_eu: http://localhost:8000/cometchat/shop_eu/shop",
        "CometChat callback of shop in shop_us: http://localhost:8000/cometchat/shop_us/shop",
    ]
