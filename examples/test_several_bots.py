"""Two bots of one service, each with its own and the shared handlers."""

from __future__ import annotations

from pathlib import Path

from cometbot.settings import Settings
from cometbot.testing import BotClient
from cometbot.web import create_app
from examples.several_bots import orders, stock


def test_each_bot_has_its_own_commands() -> None:
    assert BotClient(orders).send("/track 4711").text == "Order 4711 is on its way."
    assert BotClient(stock).send("/stock red shoes").text == "There are 12 of red shoes left."
    assert not BotClient(stock).send("/track 4711")


def test_what_they_share_knows_which_bot_it_belongs_to() -> None:
    assert "Knows orders." in BotClient(orders).send("hi").text
    assert BotClient(stock).send("/human").text == "Write to stock@example.com."


def test_one_application_has_the_callbacks_of_both(tmp_path: Path) -> None:
    values = {
        "COMETCHAT_APP_ID": "app1",
        "COMETCHAT_REGION": "eu",
        "COMETCHAT_API_KEY": "key",
        "COMETBOT_CALLBACK_USERNAME": "cometchat",
        "COMETBOT_CALLBACK_PASSWORD": "s3cret",
        "COMETBOT_DATABASE_URL": f"sqlite:///{tmp_path}/bots.db",
    }
    app = create_app([orders, stock], Settings.from_environment(values, dotenv=None), handles=False)

    for name in ("orders", "stock"):
        assert app.test_client().post(f"/cometchat/{name}", json={}).status_code == 401
    known = app.test_client().post("/cometchat/other", json={}, auth=("cometchat", "s3cret"))
    assert known.status_code == 404
    app.extensions["cometbot"].stop()
