"""The route of CometChat's moderation, over the application."""

from __future__ import annotations

import base64
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from cometbot import Bot, ModerationItem, Verdict
from cometbot.channels.cometchat import CallbackSettings, CometChatChannel, CometChatClient, moderation_view
from cometbot.channels.cometchat.settings import ModerationSettings
from cometbot.errors import ConfigurationError
from cometbot.simulator import Simulator
from cometbot.testing.wsgi import make_channel_app, make_wsgi_session
from tests.integration.channels.cometchat.documented_payloads import direct

LOGIN = ("mod", "a-password-for-tests")
Function = Callable[[ModerationItem], Any]


class Site:
    """The application of two bots, of which ``shop`` has a function for moderation."""

    def __init__(self, function: Function | None, **settings: Any) -> None:
        self.outcomes: list[tuple[str, str]] = []
        self.simulator = Simulator()
        self.bot, self.other = Bot("shop"), Bot("other")
        if function is not None:
            self.bot.moderate(function)
        self.delivery = _NoDelivery({"shop": self.bot, "other": self.other})
        channel = CometChatChannel(
            self.simulator.app_id,
            CometChatClient(
                self.simulator.api_url,
                self.simulator.api_key,
                app_id=self.simulator.app_id,
                session=make_wsgi_session(self.simulator.app),
            ),
            bots=self.delivery.bots,
            callback=CallbackSettings(allow_anonymous=True),
            moderation=ModerationSettings(**{"credentials": LOGIN, **settings}),
            observe_moderation=lambda bot, seconds, outcome: self.outcomes.append((bot, outcome)),
        )
        self.client = Client(make_channel_app(channel, self.delivery))  # type: ignore[arg-type]

    def ask(self, text: str = "hi", *, bot: str = "shop", login: tuple[str, str] | None = LOGIN, **more: Any) -> Any:
        message = more.pop("message", None) or direct(data={"text": text})
        options = {"json": {"contextMessages": [{"tom": "before"}, {"maria": message}]}, **more}
        return self.client.post(f"/cometchat/{bot}/moderation", auth=login, **options)


class _NoDelivery:
    """Refuses to store anything: moderation needs no database."""

    def __init__(self, bots: dict[str, Bot]) -> None:
        self.bots = bots

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"moderation must not use delivery.{name}")


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    gate = threading.Event()
    yield gate
    gate.set()


def code(response: TestResponse) -> tuple[int, str]:
    return response.status_code, response.get_json()["error"]["code"]


def test_decision_is_answered() -> None:
    site = Site(lambda item: Verdict("casino" in item.text, 0.9, f"{item.context[0].text} {item.sender.uid}"))
    response = site.ask("our casino")
    assert response.status_code == 200
    assert response.get_json()["isMatchingCondition"] is True
    assert response.get_json()["confidence"] == 0.9
    assert response.get_json()["reason"].startswith("before ")
    assert site.ask("lunch?").get_json()["isMatchingCondition"] is False
    assert site.outcomes == [("shop", "match"), ("shop", "no_match")]


def test_wrong_credentials_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    site = Site(lambda item: True)
    assert code(site.ask(login=None)) == (401, "AUTH_ERR_EMPTY_AUTH_HEADER")
    assert code(site.ask(login=("mod", "wrong"))) == (401, "AUTH_ERR_NO_ACCESS")
    assert code(site.ask(login=("other", LOGIN[1]))) == (401, "AUTH_ERR_NO_ACCESS")
    assert site.ask(login=("mod", "wrong")).headers["WWW-Authenticate"].startswith("Basic ")
    assert site.outcomes == [("shop", "refused")] * 4
    assert [record.levelname for record in caplog.records if "COMETCHAT_MODERATION_USERNAME" in record.message] == [
        "WARNING"
    ]
    assert "wrong" not in caplog.text


def test_two_passwords_count_while_one_is_changed() -> None:
    site = Site(lambda item: True, previous=("mod", "the-password-before"))
    assert site.ask(login=("mod", "the-password-before")).status_code == 200
    assert site.ask().status_code == 200
    assert site.ask(login=("mod", "another")).status_code == 401


def test_anybody_asks_where_that_is_allowed() -> None:
    site = Site(lambda item: True, credentials=None, allow_anonymous=True)
    assert site.ask(login=None).status_code == 200


def test_function_without_credentials_is_an_error_at_start() -> None:
    with pytest.raises(ConfigurationError, match="COMETCHAT_MODERATION_USERNAME"):
        Site(lambda item: True, credentials=None)
    with pytest.raises(ConfigurationError, match="without a colon"):
        Site(lambda item: True, credentials=("a:b", "c"))


def test_without_a_function_there_is_no_route() -> None:
    assert Site(None, credentials=None).ask().status_code == 404


def test_other_bots_are_named() -> None:
    site = Site(lambda item: True)
    assert code(site.ask(bot="other")) == (404, "ERR_NO_MODERATION")
    assert code(site.ask(bot="nobody")) == (404, "ERR_BOT_NOT_FOUND")
    assert code(site.ask(bot="nobody", login=None)) == (401, "AUTH_ERR_EMPTY_AUTH_HEADER")


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        ({"json": None, "data": b"{", "content_type": "application/json"}, (400, "ERR_BAD_REQUEST")),
        ({"json": []}, (400, "ERR_BAD_REQUEST")),
        ({"json": {"contextMessages": []}}, (400, "ERR_BAD_REQUEST")),
        ({"json": None, "data": b"", "content_type": "application/json"}, (411, "ERR_LENGTH_REQUIRED")),
        ({"json": None, "data": b"x", "content_type": "text/plain"}, (415, "ERR_UNSUPPORTED_MEDIA_TYPE")),
        ({"headers": {"Content-Encoding": "gzip"}}, (415, "ERR_UNSUPPORTED_ENCODING")),
        (
            {"json": None, "data": b" " * (1024 * 1024 + 1), "content_type": "application/json"},
            (413, "ERR_BODY_TOO_LARGE"),
        ),
    ],
)
def test_bad_requests_are_refused(options: dict[str, Any], answer: tuple[int, str]) -> None:
    site = Site(lambda item: True)
    options = {name: value for name, value in options.items() if value is not None or name != "json"}
    if "data" in options:
        response = site.client.post("/cometchat/shop/moderation", auth=LOGIN, **options)
    else:
        response = site.ask(**options)
    assert code(response) == answer
    assert site.outcomes == [("shop", "refused")]


def test_other_methods_are_refused() -> None:
    site = Site(lambda item: True)
    response = site.client.get("/cometchat/shop/moderation", auth=LOGIN)
    assert code(response) == (405, "ERR_METHOD_NOT_ALLOWED")
    assert response.headers["Allow"] == "POST"


def test_unknown_media_are_judged() -> None:
    site = Site(lambda item: item.type == "hologram" and item.attachments == ())
    response = site.ask(message=direct(type="hologram", data={"attachments": 5}))
    assert response.get_json()["isMatchingCondition"] is True


def raise_error(item: ModerationItem) -> bool:
    raise ValueError(f"cannot judge {item.text}")


@pytest.mark.parametrize("function", [raise_error, lambda item: "maybe", lambda item: None, lambda item: exit()])
def test_no_decision_is_invented(function: Function, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    site = Site(function)
    assert code(site.ask("a secret text")) == (503, "ERR_MODERATION_FAILED")
    assert site.outcomes == [("shop", "failed")]
    assert "CometChat decides by its own setting" in caplog.text
    assert "secret text" not in caplog.text


def test_log_names_the_place_in_the_code(caplog: pytest.LogCaptureFixture) -> None:
    Site(raise_error).ask()
    (record,) = (record for record in caplog.records if record.levelname == "ERROR")
    assert "ValueError at" in record.message
    assert "test_moderation.py, line " in record.message
    assert record.__dict__["bot"] == "shop"


def test_debug_log_has_the_traceback(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    Site(raise_error).ask("this text")
    assert "cannot judge this text" in caplog.text


def test_late_function_is_a_failure(monkeypatch: pytest.MonkeyPatch, gate: threading.Event) -> None:
    monkeypatch.setattr(moderation_view, "TIME_LIMIT", 0.05)
    site = Site(lambda item: gate.wait(60))
    assert code(site.ask()) == (503, "ERR_MODERATION_LATE")
    assert site.outcomes == [("shop", "late")]


def test_all_threads_taken_is_a_failure_at_once(monkeypatch: pytest.MonkeyPatch, gate: threading.Event) -> None:
    monkeypatch.setattr(moderation_view, "TIME_LIMIT", 0.05)
    site = Site(lambda item: gate.wait(60), threads=2)
    answers = [code(site.ask()) for _ in range(3)]
    assert answers == [(503, "ERR_MODERATION_LATE")] * 2 + [(503, "ERR_MODERATION_BUSY")]
    assert site.ask().headers["Retry-After"] == "1"
    assert site.outcomes[2:] == [("shop", "busy")] * 2


def test_late_thread_is_free_when_it_ends(monkeypatch: pytest.MonkeyPatch, gate: threading.Event) -> None:
    monkeypatch.setattr(moderation_view, "TIME_LIMIT", 0.05)
    site = Site(lambda item: item.text == "quick" or gate.wait(60), threads=1)
    assert code(site.ask()) == (503, "ERR_MODERATION_LATE")
    gate.set()
    monkeypatch.setattr(moderation_view, "TIME_LIMIT", 60.0)
    while (response := site.ask("quick")).status_code == 503:
        assert code(response) == (503, "ERR_MODERATION_BUSY")
    assert response.get_json()["isMatchingCondition"] is True


def test_async_function_decides() -> None:
    async def check(item: ModerationItem) -> float:
        return 0.4

    assert Site(check).ask().get_json() == {"isMatchingCondition": True, "confidence": 0.4, "reason": ""}


@pytest.mark.parametrize("is_async", [False, True])
def test_attachment_can_be_read(is_async: bool) -> None:
    def check(item: ModerationItem) -> bool:
        return item.attachments[0].read() == b"picture"

    async def check_async(item: ModerationItem) -> bool:
        return check(item)

    site = Site(check_async if is_async else check)
    url = site.simulator.add_file("a.png", b"picture", "image/png")
    response = site.ask(message=direct(type="image", data={"attachments": [{"url": url, "name": "a.png"}]}))
    assert response.get_json() == {"isMatchingCondition": True, "confidence": 1.0, "reason": ""}


def test_unusual_forms_of_the_header_are_accepted() -> None:
    site = Site(lambda item: True)
    token = base64.b64encode(":".join(LOGIN).encode()).decode()
    assert site.ask(login=None, headers={"Authorization": f"bAsIc  {token}"}).status_code == 200
