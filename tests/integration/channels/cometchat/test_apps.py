"""Two simulated CometChat apps, whose bots one process serves over HTTP."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner
from flask import Flask

from cometbot import Bot, BotError, Button, Card, Context, Group, ModerationItem
from cometbot.cli import main
from cometbot.delivery import Delivery
from cometbot.errors import ConfigurationError
from cometbot.settings import Settings
from cometbot.simulator import Simulator, StoredMessage
from cometbot.simulator.server import LoopbackServer
from cometbot.web.app import create_app

EU, US = ("eu-user", "the-password-of-shop-eu"), ("us-user", "the-password-of-shop-us")


class Site:
    """A server with the bot ``helpdesk`` in the apps ``shop_eu`` and ``shop_us``, beside these apps."""

    def __init__(self, folder: Path) -> None:
        self.eu = Simulator(app_id="a1b2c3d4e5f60001", api_key="1" * 40)
        self.us = Simulator(app_id="a1b2c3d4e5f60002", api_key="2" * 40)
        self.folder = folder
        self.bot = make_bot()
        self._app: Flask | None = None
        self._server: LoopbackServer | None = None
        for app in (self.eu, self.us):
            app.start()
            app.add_user("maria")
            app.add_user("tom")

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def delivery(self) -> Delivery:
        assert self._app is not None
        delivery: Delivery = self._app.extensions["cometbot"].delivery
        return delivery

    def environ(self, **changes: str) -> dict[str, str]:
        return {
            "COMETBOT_DATABASE_URL": f"sqlite:///{self.folder / 'bot.db'}",
            "COMETBOT_DATA": str(self.folder / "data"),
            "COMETCHAT_APPS": "shop_eu,shop_us",
            "COMETCHAT_APP_ID": self.eu.app_id,
            "COMETCHAT_API_KEY": self.eu.api_key,
            "COMETCHAT_API_URL": self.eu.api_url,
            "COMETCHAT_APP_ID__SHOP_US": self.us.app_id,
            "COMETCHAT_API_KEY__SHOP_US": self.us.api_key,
            "COMETCHAT_API_URL__SHOP_US": self.us.api_url,
            "COMETBOT_CALLBACK_USERNAME__SHOP_EU": EU[0],
            "COMETBOT_CALLBACK_PASSWORD__SHOP_EU": EU[1],
            "COMETBOT_CALLBACK_USERNAME__SHOP_US": US[0],
            "COMETBOT_CALLBACK_PASSWORD__SHOP_US": US[1],
            **changes,
        }

    def start(self, *, others: Sequence[Bot] = (), **changes: str) -> None:
        """Serve the bot, beside others, and register it in both apps at the first start."""
        self._app = create_app([self.bot, *others], Settings.from_environment(self.environ(**changes), dotenv=None))
        self._app.extensions["cometbot"].start()
        self._server = LoopbackServer(self._app, self._server.port if self._server else 0)
        for app, name, login in ((self.eu, "shop_eu", EU), (self.us, "shop_us", US)):
            if "helpdesk" not in app.world.directory.bots:
                url = f"{self.url}/cometchat/{name}/helpdesk"
                app.add_bot("helpdesk", url, username=login[0], password=login[1])

    def stop(self) -> None:
        """End the server, as between two starts of a process."""
        if self._server is not None and self._app is not None:
            self._server.stop()
            self._app.extensions["cometbot"].stop()
            self._app = None

    def close(self) -> None:
        self.stop()
        self.eu.stop()
        self.us.stop()

    def post(self, path: str, login: tuple[str, str] | None, app_id: str, text: str = "hi") -> requests.Response:
        """Post a callback about a message of maria's with the id 7001."""
        message = {
            "id": "7001",
            "conversationId": "helpdesk_user_maria",
            "sender": "maria",
            "receiverType": "user",
            "receiver": "helpdesk",
            "category": "message",
            "type": "text",
            "data": {"text": text},
            "sentAt": 1767225600,
        }
        body = {"trigger": "after_message", "data": message, "appId": app_id, "bot": "helpdesk"}
        return requests.post(f"{self.url}{path}", json=body, auth=login, timeout=30)

    def count_stored(self) -> int:
        with self.delivery.database.read() as connection:
            return int(connection.exec_driver_sql("SELECT count(*) FROM mailbox").scalar_one())


def make_bot() -> Bot:
    bot = Bot("helpdesk")

    @bot.command("where")
    def where(ctx: Context) -> str:
        return f"in {ctx.app}"

    @bot.command("tell")
    def tell(ctx: Context, app: str) -> str:
        bot.send(group="ops", text=f"{ctx.app} says hello", app=app)
        ctx.send("and again", to=ctx.conversation_with(group="ops", app=app))
        return "told"

    @bot.command("tell-once")
    def tell_once(ctx: Context) -> str:
        ctx.once(lambda: bot.send(user="tom", text=f"once in {ctx.app}"))
        return "told"

    @bot.command("buy")
    def buy(ctx: Context) -> str:
        return f"{ctx.approve('Buy a desk?', to=Group('managers')).status} in {ctx.app}"

    @bot.command("buy-abroad")
    def buy_abroad(ctx: Context) -> str:
        abroad = ctx.conversation_with(group="managers", app="shop_eu")
        return f"{ctx.approve('Buy a desk?', to=abroad).status} in {ctx.app}"

    @bot.command("human")
    def ask_people(ctx: Context) -> str:
        return f"{ctx.hand_off(to=Group('managers')).status} in {ctx.app}"

    @bot.command("later")
    def later(ctx: Context) -> str:
        ctx.later(0.1, ring)
        return "soon"

    @bot.job
    def ring(ctx: Context) -> None:
        ctx.send(f"ring in {ctx.app}")
        ctx.send(f"ring in {ctx.app}", to=ctx.conversation_with(group="ops"))

    @bot.command("tomorrow")
    def tomorrow(ctx: Context) -> str:
        ctx.later("1d", ring, name="tomorrow")
        return "soon"

    @bot.command("publish")
    def publish(ctx: Context, app: str = "") -> str:
        return f"to {bot.broadcast(users=['maria', 'tom'], text=f'News of {ctx.app}', app=app).recipients}"

    @bot.command("publish-later")
    def publish_later(ctx: Context) -> str:
        ctx.later(0.1, publish_in_job)
        return "soon"

    @bot.job
    def publish_in_job(ctx: Context) -> None:
        bot.broadcast(users=["tom"], text=f"Job of {ctx.app}")

    @bot.command("publish-once")
    def publish_once(ctx: Context) -> str:
        sent = ctx.once(lambda: bot.broadcast(users=["tom"], text="News", name=f"of {ctx.app}").recipients)
        return f"to {sent}"

    @bot.command("card")
    def card(ctx: Context) -> Card:
        return Card("A card", buttons=[Button("Press", "press", "1")])

    @bot.action("press")
    def press(ctx: Context) -> str:
        return f"pressed in {ctx.app}"

    @bot.command("count")
    def count(ctx: Context) -> str:
        ctx.user_state["count"] = ctx.user_state.get("count", 0) + 1
        return str(ctx.user_state["count"])

    @bot.message()
    def echo(ctx: Context) -> str:
        return f"{ctx.app}: {ctx.text}"

    return bot


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


def said(app: Simulator, user: str = "maria") -> list[str]:
    return [message.text for message in app.messages(between=(user, "helpdesk")) if message.sender == "helpdesk"]


def said_in_group(app: Simulator, group: str) -> list[str]:
    found = [message for message in app.messages() if message.receiver == group and message.sender == "helpdesk"]
    return [message.text for message in found]


def ask(app: Simulator, text: str, user: str = "maria") -> str:
    """Return the bot's first reply to what a user writes."""
    question = app.user(user).say(text, to="helpdesk")
    return app.wait_reply(question, timeout=30)[0].text


def test_same_message_in_both_apps_is_answered_in_each(site: Site) -> None:
    site.start()
    first: list[StoredMessage] = [app.user("maria").say("/where", to="helpdesk") for app in (site.eu, site.us)]
    assert first[0].id == first[1].id
    assert first[0].conversation_id == first[1].conversation_id
    assert [
        app.wait_reply(message, timeout=30)[0].text for app, message in zip((site.eu, site.us), first, strict=True)
    ] == [
        "in shop_eu",
        "in shop_us",
    ]
    assert [ask(app, "/count") for app in (site.eu, site.eu, site.us)] == ["1", "2", "1"]


@pytest.mark.parametrize(
    ("path", "login", "app", "status", "code"),
    [
        ("/cometchat/shop_eu/helpdesk", EU, "us", 403, "AUTH_ERR_INVALID_APPID"),
        ("/cometchat/shop_eu", EU, "us", 403, "AUTH_ERR_INVALID_APPID"),
        ("/cometchat/shop_eu/helpdesk/webhook", EU, "us", 403, "AUTH_ERR_INVALID_APPID"),
        ("/cometchat/shop_eu/helpdesk", US, "eu", 401, "AUTH_ERR_NO_ACCESS"),
        ("/cometchat/shop_eu/helpdesk", US, "us", 401, "AUTH_ERR_NO_ACCESS"),
        ("/cometchat/shop_us/helpdesk", EU, "eu", 401, "AUTH_ERR_NO_ACCESS"),
        ("/cometchat/shop_us/helpdesk", None, "us", 401, "AUTH_ERR_EMPTY_AUTH_HEADER"),
        ("/cometchat/shop_asia/helpdesk", EU, "eu", 404, "ERR_API_NOT_FOUND"),
    ],
)
def test_callback_of_another_app_is_refused(
    site: Site, path: str, login: tuple[str, str] | None, app: str, status: int, code: str
) -> None:
    site.start()
    answer = site.post(path, login, getattr(site, app).app_id)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code or status == 404
    assert site.count_stored() == 0


def test_app_with_the_plain_id_keeps_the_routes_of_before(site: Site) -> None:
    site.start()
    assert site.post("/cometchat/helpdesk", EU, site.eu.app_id).status_code == 200
    assert site.post("/cometchat", EU, site.eu.app_id).status_code == 200
    assert site.post("/cometchat/helpdesk", US, site.us.app_id).status_code == 401
    site.eu.wait_for(lambda app: said(app) == ["shop_eu: hi"])
    assert site.count_stored() == 1


def test_one_app_waits_for_its_429_while_the_other_sends(site: Site) -> None:
    site.start()
    site.eu.misbehave.rate_limit(retry_after=3, times=1)
    question = site.eu.user("maria").say("first", to="helpdesk")
    site.eu.wait_for(lambda app: any(request.status == 429 for request in app.requests))
    assert [ask(site.us, f"n{number}") for number in range(5)] == [f"shop_us: n{number}" for number in range(5)]
    assert said(site.eu) == []
    assert site.eu.wait_reply(question, timeout=30)[0].text == "shop_eu: first"


def test_app_whose_key_was_revoked_fails_alone(site: Site) -> None:
    site.start()
    site.eu.misbehave.fail(401, code="AUTH_ERR_APIKEY_NOT_FOUND")
    site.eu.user("maria").say("lost?", to="helpdesk")
    site.eu.wait_for(lambda app: site.delivery.dead_letters.list() != [])
    assert ask(site.us, "fine?") == "shop_us: fine?"
    [letter] = site.delivery.dead_letters.list(account=site.eu.app_id)
    assert "AUTH_ERR_APIKEY_NOT_FOUND" in letter.error
    assert site.delivery.dead_letters.list(account=site.us.app_id) == []
    site.eu.misbehave.clear()
    assert site.delivery.retry(letter.id)
    site.eu.wait_for(lambda app: said(app) == ["shop_eu: lost?"])


def test_bot_sends_to_the_app_that_is_named(site: Site) -> None:
    site.start()
    for app in (site.eu, site.us):
        app.add_group("ops", owner="tom")
    assert ask(site.eu, "/tell shop_us") == "told"
    site.us.wait_for(lambda app: said_in_group(app, "ops") == ["shop_eu says hello", "and again"])
    site.bot.send(user="tom", text="by hand", app="shop_us")
    site.bot.send(user="tom", text="the first one")
    site.us.wait_for(lambda app: said(app, "tom") == ["by hand"])
    site.eu.wait_for(lambda app: said(app, "tom") == ["the first one"])
    assert said_in_group(site.eu, "ops") == []
    with pytest.raises(BotError, match="the app 'shop_asia' is not served here; there is: shop_eu, shop_us"):
        site.bot.send(user="tom", text="x", app="shop_asia")


def test_message_inside_once_stays_in_the_app_of_its_event(site: Site) -> None:
    site.start()
    assert ask(site.us, "/tell-once") == "told"
    site.us.wait_for(lambda app: said(app, "tom") == ["once in shop_us"])
    assert said(site.eu, "tom") == []


def test_message_of_another_bot_stays_in_the_app_of_the_event(site: Site) -> None:
    other = Bot("courier")

    @site.bot.command("fetch")
    def fetch(ctx: Context) -> str:
        other.send(user="tom", text="I come.")
        return str(other.broadcast(users=["tom"], text="I bring news.").recipients)

    site.start(others=[other])
    for app in (site.eu, site.us):
        app.add_bot("courier", f"{site.url}/unused", enabled=False)
    assert ask(site.us, "/fetch") == "1"
    site.us.wait_for(lambda app: len(app.messages(between=("tom", "courier"))) == 2)
    assert site.eu.messages(between=("tom", "courier")) == []


def test_approval_stays_in_the_app_of_its_event(site: Site) -> None:
    site.start()
    for app in (site.eu, site.us):
        app.add_group("managers", owner="tom")
    question = site.us.user("maria").say("/buy", to="helpdesk")
    [card] = site.us.wait_for(lambda app: said_in_group(app, "managers"))
    number = card.rpartition("approve ")[2].partition("”")[0]
    site.us.user("tom").say(f"<@uid:helpdesk> approve {number}", group="managers")
    assert site.us.wait_reply(question, timeout=30)[0].text == "approved in shop_us"
    assert said_in_group(site.eu, "managers") == []


def test_approval_of_another_app_is_decided_there(site: Site) -> None:
    site.start()
    for app in (site.eu, site.us):
        app.add_group("managers", owner="tom")
    question = site.us.user("maria").say("/buy-abroad", to="helpdesk")
    [card] = site.eu.wait_for(lambda app: said_in_group(app, "managers"))
    number = card.rpartition("approve ")[2].partition("”")[0]
    site.eu.user("tom").say(f"<@uid:helpdesk> decline {number}", group="managers")
    assert site.us.wait_reply(question, timeout=30)[0].text == "declined in shop_us"
    assert said_in_group(site.us, "managers") == []


def test_hand_off_stays_in_the_app_of_its_event(site: Site) -> None:
    site.start()
    for app in (site.eu, site.us):
        app.add_group("managers", owner="tom")
    site.us.user("maria").say("/human", to="helpdesk")
    site.us.wait_for(lambda app: said_in_group(app, "managers"))
    thread = next(message for message in site.us.messages() if message.receiver == "managers")
    site.us.user("tom").say("<@uid:helpdesk> I can help.", group="managers", parent=thread)
    site.us.wait_for(lambda app: any("I can help." in text for text in said(app)))
    assert said_in_group(site.eu, "managers") == said(site.eu) == []


def test_moderation_asks_each_app_with_its_own_credentials(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    @site.bot.moderate
    def check(item: ModerationItem) -> bool:
        return "casino" in item.text

    site.start(
        COMETCHAT_MODERATION_USERNAME="cc",
        COMETCHAT_MODERATION_PASSWORD="the-password-of-moderation",
        COMETCHAT_MODERATION_PASSWORD__SHOP_US="the-other-one-of-moderation",
    )
    message = {
        "id": "7001",
        "conversationId": "maria_user_tom",
        "sender": "maria",
        "receiverType": "user",
        "receiver": "tom",
        "category": "message",
        "type": "text",
        "data": {"text": "To the casino!"},
        "sentAt": 1767225600,
    }

    def judge(app: str, password: str) -> requests.Response:
        url = f"{site.url}/cometchat/{app}/helpdesk/moderation"
        return requests.post(url, json={"contextMessages": [{"maria": message}]}, auth=("cc", password), timeout=30)

    assert judge("shop_us", "the-other-one-of-moderation").json()["isMatchingCondition"] is True
    assert judge("shop_eu", "the-password-of-moderation").json()["isMatchingCondition"] is True
    assert judge("shop_us", "the-password-of-moderation").status_code == 401
    assert "refused a request for moderation by the bot helpdesk at /cometchat/shop_us" in caplog.text
    assert "at /cometchat/shop_eu" not in caplog.text


def test_job_stays_in_the_app_of_its_handler(site: Site) -> None:
    site.start()
    site.us.add_group("ops", owner="tom")
    assert ask(site.us, "/later") == "soon"
    site.us.wait_for(lambda app: said_in_group(app, "ops") == ["ring in shop_us"])
    assert said(site.us)[-1] == "ring in shop_us"
    assert said(site.eu) == []


def test_broadcast_stays_in_the_app_of_its_event(site: Site) -> None:
    site.start()
    assert ask(site.us, "/publish", user="tom") == "to 2"
    site.us.wait_for(lambda app: said(app)[-1:] == said(app, "tom")[-1:] == ["News of shop_us"])
    assert said(site.eu) == said(site.eu, "tom") == []


def test_broadcasts_of_events_with_the_same_id_are_two(site: Site) -> None:
    site.start()
    written = [app.user("maria").say("/publish", to="helpdesk") for app in (site.eu, site.us)]
    assert written[0].id == written[1].id
    site.eu.wait_for(lambda app: said(app, "tom") == ["News of shop_eu"])
    site.us.wait_for(lambda app: said(app, "tom") == ["News of shop_us"])


def test_broadcast_of_a_job_stays_in_the_app_of_its_handler(site: Site) -> None:
    site.start()
    assert ask(site.us, "/publish-later") == "soon"
    site.us.wait_for(lambda app: said(app, "tom") == ["Job of shop_us"])
    assert said(site.eu, "tom") == []


def test_broadcast_inside_once_stays_in_the_app_of_its_event(site: Site) -> None:
    site.start()
    assert [ask(app, "/publish-once") for app in (site.us, site.eu)] == ["to 1", "to 1"]
    for app in (site.us, site.eu):
        app.wait_for(lambda it: said(it, "tom") == ["News"])


def test_broadcast_goes_to_the_app_that_is_named(site: Site) -> None:
    site.start()
    assert ask(site.eu, "/publish shop_us") == "to 2"
    site.us.wait_for(lambda app: said(app) == said(app, "tom") == ["News of shop_eu"])
    site.bot.broadcast(users=["tom"], text="by hand", app="shop_us", name="us")
    site.bot.broadcast(users=["tom"], text="by hand", name="first")
    site.us.wait_for(lambda app: said(app, "tom") == ["News of shop_eu", "by hand"])
    site.eu.wait_for(lambda app: said(app, "tom") == ["by hand"])
    with pytest.raises(BotError, match="the broadcast 'us' of helpdesk has another message, channel or app"):
        site.bot.broadcast(users=["tom"], text="by hand", app="shop_eu", name="us")
    with pytest.raises(BotError, match="the app 'shop_asia' is not served here; there is: shop_eu, shop_us"):
        site.bot.broadcast(users=["tom"], text="x", app="shop_asia")
    with pytest.raises(BotError, match="the app 'shop_us' is not served here"):
        site.bot.broadcast(users=["tom"], text="x", app="shop_us", channel="telex")


def test_user_opts_out_in_one_app(site: Site) -> None:
    site.bot.opt_outs = Bot("words", opt_out_words=["unsubscribe"]).opt_outs
    site.start()
    assert ask(site.us, "unsubscribe").startswith("All right")
    for name in ("shop_eu", "shop_us"):
        site.bot.broadcast(users=["maria", "tom"], text="News", app=name, name=name)
    for app in (site.eu, site.us):
        app.wait_for(lambda it: said(it, "tom") == ["News"])
    site.eu.wait_for(lambda app: said(app) == ["News"])
    assert "News" not in said(site.us)
    assert site.delivery.broadcasts.get("shop_us").opted_out == 1
    listed = site.delivery.broadcasts.list(account=site.us.app_id)
    assert [item.name for item in listed] == ["shop_us"]


def test_jobs_of_one_app_are_listed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.start()
    site.bot.broadcast(users=["tom"], text="News", app="shop_us", name="of us")
    site.bot.broadcast(users=["tom"], text="News", app="shop_eu", name="of eu")
    assert ask(site.us, "/tomorrow") == "soon"
    site.us.wait_for(lambda app: said(app, "tom") == ["News"])
    for name, value in site.environ().items():
        monkeypatch.setenv(name, value)

    def list_jobs(*options: str) -> list[str]:
        done = CliRunner().invoke(main, ["jobs", "list", "--json", *options], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return [str(item["name"]) for item in json.loads(done.stdout)]

    assert sorted(list_jobs()) == ["of eu", "of us", "tomorrow"]
    assert sorted(list_jobs("--app", "shop_us")) == ["of us", "tomorrow"]
    assert list_jobs("--app", "shop_eu") == ["of eu"]
    shown = CliRunner().invoke(main, ["jobs", "show", "of us"], catch_exceptions=False)
    assert f"account       {site.us.app_id}\n" in shown.output


def test_conversations_of_an_app_that_is_gone_are_left_alone(site: Site) -> None:
    site.start()
    site.us.misbehave.rate_limit(retry_after=600, times=1)
    site.us.user("maria").say("waits", to="helpdesk")
    site.us.wait_for(lambda app: any(request.status == 429 for request in app.requests))
    site.stop()
    key = f"cometchat/{site.us.app_id}/helpdesk/helpdesk_user_maria"
    site.start(COMETCHAT_APPS="shop_eu")
    with site.delivery.database.write() as connection:
        connection.exec_driver_sql("UPDATE conversations SET due_at = 0")
        connection.exec_driver_sql("UPDATE outbox SET due_at = 0 WHERE state = 'held'")
        connection.exec_driver_sql("DELETE FROM pauses")
    assert ask(site.eu, "here") == "shop_eu: here"
    site.delivery.notify(key)
    assert ask(site.eu, "again") == "shop_eu: again"
    assert [said(app) for app in (site.eu, site.us)] == [["shop_eu: here", "shop_eu: again"], []]
    with site.delivery.database.read() as connection:
        assert site.delivery.store.leases.find(connection, key) is not None
    site.stop()
    site.start()
    site.us.wait_for(lambda app: said(app) == ["shop_us: waits"])


def test_both_passwords_are_accepted_while_one_replaces_the_other(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    new = (EU[0], "the-new-password-of-shop-eu")
    site.start(
        COMETBOT_CALLBACK_PASSWORD__SHOP_EU=new[1],
        COMETBOT_CALLBACK_PREVIOUS_PASSWORD__SHOP_EU=EU[1],
    )
    path = "/cometchat/shop_eu/helpdesk"
    assert [site.post(path, login, site.eu.app_id).status_code for login in (EU, new, US)] == [200, 200, 401]
    lines = [record.getMessage() for record in caplog.records if "the previous password" in record.getMessage()]
    assert lines == [
        "CometChat calls /cometchat/shop_eu/helpdesk with the previous password, COMETBOT_CALLBACK_PREVIOUS_PASSWORD; "
        "set the new one: cometbot bots sync --app shop_eu"
    ]
    assert EU[1] not in caplog.text
    assert new[1] not in caplog.text


def test_button_of_one_app_cannot_be_pressed_in_another(site: Site) -> None:
    site.start(COMETCHAT_RICH="card", COMETCHAT_CARD_BUTTONS="url", COMETBOT_PUBLIC_URL="https://bots.example.com")
    question = site.us.user("maria").say("/card", to="helpdesk")
    [shown] = site.us.wait_reply(question, timeout=30)
    url = find_url(shown.data["card"])
    assert url.startswith("https://bots.example.com/cometchat/shop_us/helpdesk/press/")
    path = url.removeprefix("https://bots.example.com")
    assert requests.post(f"{site.url}{path.replace('shop_us', 'shop_eu')}", timeout=30).status_code == 403
    assert requests.post(f"{site.url}{path}", timeout=30).status_code == 200
    site.us.wait_for(lambda app: said(app)[-1] == "pressed in shop_us")


def find_url(value: Any) -> str:
    """Return the first address in a card."""
    if isinstance(value, dict):
        return str(value["url"]) if "url" in value else find_url(list(value.values()))
    return next(filter(None, map(find_url, value)), "") if isinstance(value, list) else ""


def test_metrics_tell_the_apps_apart(site: Site) -> None:
    site.start()
    ask(site.us, "hi")
    text = requests.get(f"{site.url}/metrics", timeout=30).text
    for app, count in (("shop_eu", 0), ("shop_us", 1)):
        labels = f'{{app="{app}",bot="helpdesk",outcome="received"}}'
        assert f"cometbot_events_received_total{labels} {count}.0" in text


def test_app_without_a_key_is_named_at_the_start(site: Site) -> None:
    with pytest.raises(ConfigurationError, match="the CometChat app shop_eu: "):
        site.start(COMETCHAT_API_KEY="")


def test_two_apps_under_load_get_their_own_replies_in_order(site: Site) -> None:
    """60 users in each app write five messages each, all at once."""
    site.start()
    for app in (site.eu, site.us):
        app.configure(callback_threads=8, standard_limit=10**9)

    def write(number: int) -> None:
        for app in (site.eu, site.us):
            for text in "abcde":
                app.user(f"user{number}").say(text, to="helpdesk")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(60)))
    for app, name in ((site.eu, "shop_eu"), (site.us, "shop_us")):
        app.wait_for(lambda it: sum(len(said(it, f"user{number}")) for number in range(60)) >= 300, timeout=120)
        for number in range(60):
            assert said(app, f"user{number}") == [f"{name}: {text}" for text in "abcde"]
