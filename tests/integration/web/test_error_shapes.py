"""An unexpected error in a view is answered in the shape of the view's channel, and says nothing of its cause."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

from cometbot.bot import Bot
from cometbot.settings import Secret, Settings
from cometbot.web.app import create_app

CHANNELS = ("cometchat", "chat_api", "platform", "simplex", "agui")
SECRET = "the cause of the failure"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("shapes")
    settings = Settings(
        channels=CHANNELS,
        database_url=f"sqlite:///{folder}/bot.db",
        data=folder / "data",
        cometchat_app_id="app1",
        cometchat_region="eu",
        cometchat_api_key=Secret("the-api-key-of-cometchat"),
        allow_anonymous_callbacks=True,
        platform_admin_secret_key=Secret("the-admin-s-secret-key"),
        agui_token=(Secret("the token of the agents, 32 long"),),
    )
    app = create_app(Bot("helpdesk"), settings)
    app.before_request_funcs.setdefault(None, []).append(lambda: None)  # so that callbacks pass through Flask
    yield app
    app.extensions["cometbot"].stop()


def fail(*_: object, **__: object) -> NoReturn:
    raise RuntimeError(SECRET)


def shape_of(path: str) -> set[str]:
    """Return the names in the body of an error at `path`."""
    if path.startswith("/chat"):
        return {"id", "code", "type", "message"}
    if path.startswith(("/cometchat", "/agui", "/files", "/healthz", "/readyz", "/metrics")):
        return {"error"}
    return {"message"}


def test_an_unexpected_error_has_the_shape_of_its_channel(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client = app.test_client()
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint in app.view_functions]
    assert {rule.rule.split("/")[1] for rule in rules} >= {
        "cometchat",
        "chat",
        "agui",
        "static",
        "v1",
        "page",
        "healthz",
    }
    for rule in rules:
        monkeypatch.setitem(app.view_functions, rule.endpoint, fail)
        path = app.url_map.bind("localhost").build(rule.endpoint, dict.fromkeys(rule.arguments, "helpdesk"))
        method = "POST" if rule.methods and "GET" not in rule.methods else "GET"
        answer = client.open(path, method=method)
        assert answer.status_code == 500, path
        assert answer.is_json, path
        assert set(answer.json) == shape_of(path), path
        assert SECRET not in answer.text, path


def test_a_refusal_of_flask_has_the_shape_of_its_channel(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> NoReturn:
        from werkzeug.exceptions import RequestedRangeNotSatisfiable

        raise RequestedRangeNotSatisfiable(length=5)

    monkeypatch.setitem(app.view_functions, "platform.static_file", refuse)
    answer = app.test_client().get("/static/images/abc.png")
    assert (answer.status_code, set(answer.json)) == (416, {"message"})
    assert answer.headers["Content-Range"] == "bytes */5"
