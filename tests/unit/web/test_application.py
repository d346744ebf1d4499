"""What goes past Flask, what does not, and that nobody can tell the difference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flask
import orjson
import pytest
from flask.testing import FlaskClient

from cometbot.http.raw_wsgi import Environ, RawResponse, RawWSGIBlueprint
from cometbot.web.application import Application


class SampleApplication:
    """An application with one direct view, ``/said``, that repeats its body; and what has been called."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.app = Application("site", before_each_request=lambda: self.called.append("before all"))
        blueprint = RawWSGIBlueprint("said", __name__)
        blueprint.add_raw_view("/said", self.answer)
        blueprint.raw_views["/said"] = self.answer
        self.app.register_blueprint(blueprint)
        self.client: FlaskClient = self.app.test_client()

    def answer(self, environ: Environ) -> RawResponse:
        self.called.append("in Flask" if flask.has_request_context() else "past Flask")
        if environ["QUERY_STRING"] == "fail":
            raise ZeroDivisionError("the author's secret")
        return RawResponse(200, orjson.dumps(environ["REQUEST_METHOD"]), {"X-Said": "yes"})


@pytest.fixture
def site() -> SampleApplication:
    return SampleApplication()


def test_a_post_to_a_direct_path_is_answered_without_flask(site: SampleApplication) -> None:
    answer = site.client.post("/said")
    assert (answer.status, answer.json, answer.headers["X-Said"]) == ("200 OK", "POST", "yes")
    assert (answer.content_type, answer.content_length) == ("application/json", 6)
    assert site.called == ["before all", "past Flask"]


@pytest.mark.parametrize("ask", [FlaskClient.get, FlaskClient.put, FlaskClient.delete, FlaskClient.options])
def test_every_other_method_comes_to_the_same_view_through_flask(
    site: SampleApplication, ask: Callable[..., Any]
) -> None:
    assert ask(site.client, "/said").status_code == 200
    assert site.called == ["before all", "in Flask"]


def test_a_head_request_gets_no_body(site: SampleApplication) -> None:
    answer = site.client.head("/said")
    assert (answer.status_code, answer.data) == (200, b"")


def add_before(app: flask.Flask, record_call: Callable[..., Any]) -> None:
    app.before_request(lambda: record_call("hook"))


def add_after(app: flask.Flask, record_call: Callable[..., Any]) -> None:
    @app.after_request
    def after(response: flask.Response) -> flask.Response:
        record_call("hook")
        return response


def add_teardown(app: flask.Flask, record_call: Callable[..., Any]) -> None:
    app.teardown_request(lambda error: record_call("hook"))


def add_teardown_of_context(app: flask.Flask, record_call: Callable[..., Any]) -> None:
    app.teardown_appcontext(lambda error: record_call("hook"))


def add_preprocessor(app: flask.Flask, record_call: Callable[..., Any]) -> None:
    app.url_value_preprocessor(lambda endpoint, values: record_call("hook"))


def add_signal(app: flask.Flask, record_call: Callable[..., Any]) -> None:
    app.extensions["receiver"] = lambda sender, **given: record_call("hook")
    flask.request_started.connect(app.extensions["receiver"], app)


@pytest.mark.parametrize(
    "add", [add_before, add_after, add_teardown, add_teardown_of_context, add_preprocessor, add_signal]
)
def test_what_an_author_hooks_into_flask_sees_every_request(site: SampleApplication, add: Callable[..., None]) -> None:
    add(site.app, site.called.append)
    assert site.client.post("/said").json == "POST"
    assert sorted(site.called) == ["before all", "hook", "in Flask"]


def test_an_unforeseen_error_is_answered_as_flask_answers_it(site: SampleApplication) -> None:
    @site.app.errorhandler(500)
    def show(error: Exception) -> tuple[str, int]:
        return f"sorry, {flask.request.path}", 500

    answer = site.client.post("/said?fail")
    assert (answer.status_code, answer.text) == (500, "sorry, /said")
    assert site.called == ["before all", "past Flask"]


def test_a_blueprint_under_a_prefix_is_left_to_flask() -> None:
    site = SampleApplication()
    blueprint = RawWSGIBlueprint("other", __name__)
    blueprint.add_raw_view("/said", site.answer)
    blueprint.raw_views["/said"] = site.answer
    site.app.register_blueprint(blueprint, url_prefix="/other")
    assert site.client.post("/other/said").status_code == 200
    assert site.called == ["before all", "in Flask"]
