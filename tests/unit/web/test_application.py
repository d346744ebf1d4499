"""What goes past Flask, what does not, and that nobody can tell the difference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flask
import orjson
import pytest
from flask.testing import FlaskClient

from cometbot.http.direct import Answer, DirectBlueprint, Environ
from cometbot.web.application import Application


class Site:
    """An application with one direct view, ``/said``, that repeats its body; and what has been called."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.app = Application("site", before_all=lambda: self.called.append("before all"))
        blueprint = DirectBlueprint("said", __name__)
        blueprint.add_view("/said", self.say)
        blueprint.direct["/said"] = self.say
        self.app.register_blueprint(blueprint)
        self.client: FlaskClient = self.app.test_client()

    def say(self, environ: Environ) -> Answer:
        self.called.append("in Flask" if flask.has_request_context() else "past Flask")
        if environ["QUERY_STRING"] == "fail":
            raise ZeroDivisionError("the author's secret")
        return Answer(200, orjson.dumps(environ["REQUEST_METHOD"]), {"X-Said": "yes"})


@pytest.fixture
def site() -> Site:
    return Site()


def test_a_post_to_a_direct_path_is_answered_without_flask(site: Site) -> None:
    answer = site.client.post("/said")
    assert (answer.status, answer.json, answer.headers["X-Said"]) == ("200 OK", "POST", "yes")
    assert (answer.content_type, answer.content_length) == ("application/json", 6)
    assert site.called == ["before all", "past Flask"]


@pytest.mark.parametrize("ask", [FlaskClient.get, FlaskClient.put, FlaskClient.delete, FlaskClient.options])
def test_every_other_method_comes_to_the_same_view_through_flask(site: Site, ask: Callable[..., Any]) -> None:
    assert ask(site.client, "/said").status_code == 200
    assert site.called == ["before all", "in Flask"]


def test_a_head_request_gets_no_body(site: Site) -> None:
    answer = site.client.head("/said")
    assert (answer.status_code, answer.data) == (200, b"")


def add_before(app: flask.Flask, note: Callable[..., Any]) -> None:
    app.before_request(lambda: note("hook"))


def add_after(app: flask.Flask, note: Callable[..., Any]) -> None:
    @app.after_request
    def after(response: flask.Response) -> flask.Response:
        note("hook")
        return response


def add_teardown(app: flask.Flask, note: Callable[..., Any]) -> None:
    app.teardown_request(lambda error: note("hook"))


def add_teardown_of_context(app: flask.Flask, note: Callable[..., Any]) -> None:
    app.teardown_appcontext(lambda error: note("hook"))


def add_preprocessor(app: flask.Flask, note: Callable[..., Any]) -> None:
    app.url_value_preprocessor(lambda endpoint, values: note("hook"))


def add_signal(app: flask.Flask, note: Callable[..., Any]) -> None:
    app.extensions["receiver"] = lambda sender, **given: note("hook")
    flask.request_started.connect(app.extensions["receiver"], app)


@pytest.mark.parametrize(
    "add", [add_before, add_after, add_teardown, add_teardown_of_context, add_preprocessor, add_signal]
)
def test_what_an_author_hooks_into_flask_sees_every_request(site: Site, add: Callable[..., None]) -> None:
    add(site.app, site.called.append)
    assert site.client.post("/said").json == "POST"
    assert sorted(site.called) == ["before all", "hook", "in Flask"]


def test_an_unforeseen_error_is_answered_as_flask_answers_it(site: Site) -> None:
    @site.app.errorhandler(500)
    def show(error: Exception) -> tuple[str, int]:
        return f"sorry, {flask.request.path}", 500

    answer = site.client.post("/said?fail")
    assert (answer.status_code, answer.text) == (500, "sorry, /said")
    assert site.called == ["before all", "past Flask"]


def test_a_blueprint_under_a_prefix_is_left_to_flask() -> None:
    site = Site()
    blueprint = DirectBlueprint("other", __name__)
    blueprint.add_view("/said", site.say)
    blueprint.direct["/said"] = site.say
    site.app.register_blueprint(blueprint, url_prefix="/other")
    assert site.client.post("/other/said").status_code == 200
    assert site.called == ["before all", "in Flask"]
