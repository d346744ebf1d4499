from __future__ import annotations

import dataclasses
import ipaddress
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, request
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from cometbot.bot import Bot
from cometbot.channels.base import Channel, DeliveryService
from cometbot.errors import ConfigurationError
from cometbot.observer import Observer
from cometbot.settings import Secret, Settings
from cometbot.testing.fake_channel import FakeChannel
from cometbot.web import app as web
from cometbot.web.app import AppRuntime, connect_from_settings, create_app
from cometbot.web.channels import channels_from_settings

COMETCHAT = Settings(
    cometchat_app_id="app1",
    cometchat_region="eu",
    cometchat_api_key=Secret("the-api-key"),
    callback_username="cc",
    callback_password=Secret("the-password"),
)


class OpenChannel(FakeChannel):
    """A platform that posts ``{"user": …, "text": …}`` to ``/fake/<bot>``."""

    def blueprint(self, intake: DeliveryService) -> Blueprint:
        views = Blueprint("fake", __name__)

        @views.post("/fake/<bot>")
        def receive(bot: str) -> Response:
            body: dict[str, Any] = request.get_json()
            is_new = intake.enqueue(self.incoming(intake.bots[bot], body["text"], user=body["user"]))
            return Response(str(is_new))

        @views.get("/broken")
        def fail() -> Response:
            raise ZeroDivisionError("the author's secret")

        return views


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(database_url=f"sqlite:///{tmp_path / 'bot.db'}", stop_timeout=5)


@pytest.fixture
def bot() -> Bot:
    bot = Bot("shop")

    @bot.message("hi")
    def greet(ctx: Any) -> str:
        return f"Hello {ctx.sender.uid}!"

    return bot


@pytest.fixture
def channel() -> OpenChannel:
    return OpenChannel()


Make = Callable[..., Flask]


@pytest.fixture
def make() -> Iterator[Make]:
    """``create_app``, with everything that was made stopped at the end."""
    made: list[Flask] = []

    def make(bots: Any, settings: Settings, channels: list[OpenChannel] | None = None, **options: Any) -> Flask:
        blueprints = [channel.blueprint for channel in channels or []]
        made.append(create_app(bots, settings, channels, blueprints=blueprints, **options))
        return made[-1]

    yield make
    for app in made:
        app.extensions["cometbot"].stop()


def post(app: Any, text: str, user: str = "maria", path: str = "/fake/shop") -> Any:
    return Client(app).post(path, json={"text": text, "user": user})


def test_what_comes_in_is_handled_and_answered(make: Make, bot: Bot, settings: Settings, channel: OpenChannel) -> None:
    app = make(bot, settings, [channel])
    assert post(app, "hi").text == "True"
    channel.wait_for(lambda: channel.texts() == ["Hello maria!"])


def test_an_app_under_another_one_answers_the_same(
    make: Make, bot: Bot, settings: Settings, channel: OpenChannel
) -> None:
    site = DispatcherMiddleware(Flask("site"), {"/bots": make(bot, settings, [channel])})
    assert Client(site).get("/bots/healthz").status_code == 200
    assert post(site, "hi", path="/bots/fake/shop").status_code == 200
    channel.wait_for(lambda: channel.texts() == ["Hello maria!"])


def test_delivery_starts_with_the_first_request_and_not_before(
    make: Make, bot: Bot, settings: Settings, channel: OpenChannel
) -> None:
    app = make(bot, settings, [channel])
    running: AppRuntime = app.extensions["cometbot"]
    assert not running.delivery.is_running
    assert Client(app).get("/healthz").status_code == 200
    assert running.delivery.is_running


def test_concurrent_first_requests_start_delivery_once(
    make: Make, bot: Bot, settings: Settings, channel: OpenChannel
) -> None:
    others = {thread.ident for thread in threading.enumerate()}
    app = make(bot, settings, [channel])
    together = threading.Barrier(4)

    def ask() -> None:
        together.wait(60)
        Client(app).get("/healthz")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    started = [thread.name for thread in threading.enumerate() if thread.ident not in others]
    assert started.count("cometbot-maintenance") == 1


def test_an_app_that_does_not_handle_stores_for_others(
    make: Make, bot: Bot, settings: Settings, channel: OpenChannel
) -> None:
    app = make(bot, settings, [channel], handles=False)
    assert post(app, "hi").text == "True"
    running: AppRuntime = app.extensions["cometbot"]
    assert not running.delivery.is_running
    assert running.delivery.backlog()["shop"].waiting == 1


def test_an_app_that_was_stopped_does_not_start_again(
    make: Make, bot: Bot, settings: Settings, channel: OpenChannel
) -> None:
    app = make(bot, settings, [channel])
    running: AppRuntime = app.extensions["cometbot"]
    running.start()
    running.stop()
    assert Client(app).get("/healthz").status_code == 200
    assert not running.delivery.is_running


def test_all_apps_of_a_process_start_and_stop_together(
    make: Make, bot: Bot, settings: Settings, channel: OpenChannel, tmp_path: Path
) -> None:
    other = dataclasses.replace(settings, database_url=f"sqlite:///{tmp_path / 'other.db'}")
    apps = [make(bot, settings, [channel]), make(Bot("desk"), other, [OpenChannel()])]
    deliveries = [app.extensions["cometbot"].delivery for app in apps]
    web.start_all()
    assert all(delivery.is_running for delivery in deliveries)
    web.stop_all()
    assert not any(delivery.is_running for delivery in deliveries)


def test_unusable_database_exits_with_one_line(
    make: Make, bot: Bot, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = dataclasses.replace(settings, database_url=f"sqlite:///{tmp_path / 'nowhere' / 'bot.db'}")
    app = make(bot, nowhere, [OpenChannel()])
    with pytest.raises(SystemExit) as caught:
        web.start_all()
    assert caught.value.code == web.APP_LOAD_ERROR
    assert capsys.readouterr().err.startswith(f"cometbot: the folder {tmp_path / 'nowhere'}")
    del app


def test_readyz_is_200_for_an_app_that_handles(make: Make, bot: Bot, settings: Settings, channel: OpenChannel) -> None:
    answer = Client(make(bot, settings, [channel])).get("/readyz")
    assert answer.status_code == 200, answer.text
    assert {"database", "schema"} <= set(json.loads(answer.text)["checks"])


def test_readyz_is_503_for_an_app_that_was_stopped(
    make: Make, bot: Bot, settings: Settings, channel: OpenChannel
) -> None:
    app = make(bot, settings, [channel])
    app.extensions["cometbot"].stop()
    answer = Client(app).get("/readyz")
    assert answer.status_code == 503
    assert json.loads(answer.text)["ready"] is False


def test_metrics_show_what_was_handled_and_sent(make: Make, bot: Bot, settings: Settings, channel: OpenChannel) -> None:
    app = make(bot, settings, [channel])
    post(app, "hi")
    channel.wait_for(lambda: 'cometbot_sends_total{bot="shop",outcome="sent"} 1.0' in Client(app).get("/metrics").text)
    text = Client(app).get("/metrics").text
    assert 'cometbot_events_handled_total{bot="shop",outcome="done"} 1.0' in text
    assert 'cometbot_waiting{bot="shop"} 0.0' in text


def test_a_bot_can_send_as_soon_as_its_app_is_made(
    make: Make, bot: Bot, settings: Settings, channel: OpenChannel
) -> None:
    app = make(bot, settings, [channel])
    assert bot.send(user="tom", text="Your order is out.")
    app.extensions["cometbot"].start()
    channel.wait_for(lambda: channel.texts() == ["Your order is out."])


def test_a_path_that_does_not_exist_is_404_in_json(
    make: Make, bot: Bot, settings: Settings, channel: OpenChannel
) -> None:
    answer = Client(make(bot, settings, [channel])).get("/" + "x" * 500)
    assert (answer.status_code, answer.content_type) == (404, "application/json")
    error = json.loads(answer.text)["error"]
    assert error["code"] == "ERR_NOT_FOUND"
    assert "Callbacks go to /cometchat/" in error["message"]
    assert len(error["message"]) < 300


def test_a_wrong_method_is_405_in_json_with_the_right_ones(
    make: Make, bot: Bot, settings: Settings, channel: OpenChannel
) -> None:
    answer = Client(make(bot, settings, [channel])).delete("/healthz")
    assert (answer.status_code, answer.content_type) == (405, "application/json")
    assert "GET" in answer.headers["Allow"]
    assert json.loads(answer.text)["error"] == {
        "code": "ERR_METHOD_NOT_ALLOWED",
        "message": "the method DELETE is not allowed here. The header Allow lists those that are.",
    }


def test_an_error_of_ours_is_500_in_json_without_its_text(
    make: Make, bot: Bot, settings: Settings, channel: OpenChannel, caplog: pytest.LogCaptureFixture
) -> None:
    answer = Client(make(bot, settings, [channel])).get("/broken")
    assert (answer.status_code, answer.content_type) == (500, "application/json")
    assert json.loads(answer.text)["error"]["code"] == "ERR_INTERNAL_SERVER_ERROR"
    assert "secret" not in answer.text
    assert "the author's secret" in caplog.text


def test_proxy_headers_are_believed_only_where_a_proxy_is_named(
    make: Make, bot: Bot, settings: Settings, channel: OpenChannel
) -> None:
    trusting = dataclasses.replace(settings, trusted_proxies=(ipaddress.ip_network("10.0.0.1/32"),))
    for chosen, expected in [(settings, "10.0.0.1"), (trusting, "198.51.100.7")]:
        app = make(bot, chosen, [OpenChannel()])
        app.add_url_rule("/who", "who", lambda: str(request.remote_addr))
        headers = {"X-Forwarded-For": "198.51.100.7"}
        assert Client(app).get("/who", headers=headers, environ_base={"REMOTE_ADDR": "10.0.0.1"}).text == expected


def test_an_app_without_bots_is_refused(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="expected a bot or a list of bots, got none"):
        create_app([], settings, [])


def test_two_bots_of_one_name_are_refused(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="two bots have the name 'shop'"):
        create_app([Bot("shop"), Bot("shop")], settings, [])


def test_bots_whose_variables_collide_are_refused(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="would share the variable"):
        create_app([Bot("help-desk"), Bot("help_desk")], settings, [])


@pytest.mark.parametrize(("names", "said"), [(("cometchat", "telegram"), "telegram"), ((), "none")])
def test_unknown_channel_is_refused_with_the_known_ones(bot: Bot, names: tuple[str, ...], said: str) -> None:
    chosen = dataclasses.replace(COMETCHAT, channels=names)
    with pytest.raises(ConfigurationError, match=f"COMETBOT_CHANNELS: expected some of cometchat, .*, got {said}"):
        channels_from_settings(chosen, [bot], Observer())


def cometchat(make: Make, bots: list[Bot], settings: Settings, **changes: Any) -> Flask:
    return make(bots, dataclasses.replace(COMETCHAT, database_url=settings.database_url, **changes), handles=False)


CALLBACK = {
    "trigger": "after_message",
    "appId": "app1",
    "bot": "shop",
    "data": {
        "id": "11",
        "conversationId": "maria_user_shop",
        "sender": "maria",
        "receiverType": "user",
        "receiver": "shop",
        "category": "message",
        "type": "text",
        "data": {"text": "hi"},
        "sentAt": 1700000000,
        "updatedAt": 1700000000,
    },
}


def test_missing_callback_credentials_are_refused(make: Make, bot: Bot, settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="COMETBOT_ALLOW_ANONYMOUS_CALLBACKS=1"):
        cometchat(make, [bot], settings, callback_username="", callback_password=Secret())


def test_anonymous_callbacks_are_served_if_allowed(make: Make, bot: Bot, settings: Settings) -> None:
    changes = {"callback_username": "", "callback_password": Secret(), "allow_anonymous_callbacks": True}
    app = cometchat(make, [bot], settings, **changes)
    assert Client(app).post("/cometchat/shop", json=CALLBACK).status_code == 200


def test_a_callback_is_let_in_with_its_credentials_and_counted(make: Make, bot: Bot, settings: Settings) -> None:
    client = Client(cometchat(make, [bot], settings))
    refused = client.post("/cometchat/shop", json=CALLBACK, auth=("cc", "wrong"))
    taken = [client.post("/cometchat/shop", json=CALLBACK, auth=("cc", "the-password")) for _ in range(2)]
    assert (refused.status_code, [answer.status_code for answer in taken]) == (401, [200, 200])
    text = client.get("/metrics").text
    for outcome in ("received", "duplicate", "refused"):
        assert f'cometbot_events_received_total{{bot="shop",outcome="{outcome}"}} 1.0' in text
    assert 'cometbot_waiting{bot="shop"} 1.0' in text


def test_each_bot_is_let_in_with_its_own_credentials_from_code(make: Make, settings: Settings) -> None:
    bots = [Bot("shop", callback_username="own", callback_password="of-shop"), Bot("desk")]
    client = Client(cometchat(make, bots, settings))
    assert client.post("/cometchat/shop", json=CALLBACK, auth=("cc", "the-password")).status_code == 401
    assert client.post("/cometchat/shop", json=CALLBACK, auth=("own", "of-shop")).status_code == 200


def test_app_webhooks_have_credentials_of_their_own(make: Make, bot: Bot, settings: Settings) -> None:
    changes = {"cometchat_webhook_username": "hook", "cometchat_webhook_password": Secret("hooked")}
    client = Client(cometchat(make, [bot], settings, **changes))
    assert client.post("/cometchat/shop/webhook", json={}, auth=("cc", "the-password")).status_code == 401
    assert client.post("/cometchat/shop/webhook", json={}, auth=("hook", "hooked")).status_code == 403


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"cometchat_app_id": ""}, "COMETCHAT_APP_ID"),
        ({"cometchat_region": ""}, "COMETCHAT_REGION"),
        ({"cometchat_api_key": Secret()}, "COMETCHAT_API_KEY"),
    ],
)
def test_missing_cometchat_setting_is_named(
    make: Make, bot: Bot, settings: Settings, changes: dict[str, Any], name: str
) -> None:
    with pytest.raises(ConfigurationError, match=name):
        cometchat(make, [bot], settings, **changes)


def test_a_script_sends_through_whoever_handles(
    make: Make, bot: Bot, settings: Settings, channel: OpenChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only(settings: Settings, bots: object, observer: object, source: object) -> list[Channel]:
        return [channel]

    monkeypatch.setenv("COMETBOT_DATABASE_URL", settings.database_url)
    monkeypatch.setattr(web, "channels_from_settings", only)
    script = Bot("shop")
    connect_from_settings(script)
    assert script.send(user="tom", text="Your order is out.")
    make(bot, settings, [channel]).extensions["cometbot"].start()
    channel.wait_for(lambda: channel.texts() == ["Your order is out."])
    script._sender.close()  # type: ignore[union-attr]


def test_app_from_settings_warns_of_unknown_settings(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "settings_shop.py").write_text("from cometbot.bot import Bot\nbot = Bot('shop')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    chosen = dataclasses.replace(
        COMETCHAT, bot="settings_shop:bot", database_url=settings.database_url, warnings=("COMETBOT_X means nothing",)
    )
    app = web.create_app_from_settings(chosen)
    assert list(app.extensions["cometbot"].delivery.bots) == ["shop"]
    assert "check the settings: COMETBOT_X means nothing" in caplog.text


def test_wrong_settings_exit_with_gunicorns_load_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        web.load_app(Settings())
    assert caught.value.code == 4
    assert capsys.readouterr().err.startswith("cometbot: no bot is named; set COMETBOT_BOT")
