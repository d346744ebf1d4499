"""The line about the addresses that buttons of cards call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cometbot.cli.checks import CheckResult
from cometbot.cli.checks.callback import CallbackTarget, check_callback
from cometbot.cli.checks.http_client import CheckClient

URL_BUTTONS = {
    "COMETCHAT_RICH": "card",
    "COMETCHAT_CARD_BUTTONS": "url",
    "COMETBOT_PUBLIC_URL": "https://bots.example.com",
}
FORBIDDEN = '{"error":{"code":"AUTH_ERR_NO_ACCESS","message":"x"}}'


URL_FORMS = {"COMETCHAT_RICH": "interactive", "COMETBOT_PUBLIC_URL": "https://bots.example.com"}


@pytest.fixture
def url_setup(bare_setup: Any) -> Any:
    bare_setup.set_variables(**URL_BUTTONS)
    return bare_setup


def check_line(setup: Any) -> CheckResult:
    target = CallbackTarget("helpdesk", "helpdesk", "app", setup.callback, None, has_buttons=True)
    return {line.name: line for line in check_callback(target, CheckClient())}["buttons"]


def test_served_addresses_pass(url_setup: Any) -> None:
    url_setup.serve_bot()
    url_setup.register()
    results = url_setup.run_checks(url=url_setup.url)
    assert results["buttons"].ok
    assert results["credentials accepted"].ok


def test_served_addresses_of_forms_pass(bare_setup: Any) -> None:
    bare_setup.set_variables(**URL_FORMS)
    bare_setup.serve_bot()
    bare_setup.register()
    assert bare_setup.run_checks(url=bare_setup.url)["buttons"].ok


def test_buttons_that_send_messages_are_not_checked(doctor_setup: Any) -> None:
    assert "buttons" not in doctor_setup.run_checks(url=doctor_setup.url)


def test_service_with_other_settings_is_named(url_setup: Any) -> None:
    url_setup.unset_variables("COMETCHAT_CARD_BUTTONS")
    url_setup.serve_bot()
    line = check_line(url_setup)
    assert line.ok is False
    assert "COMETCHAT_CARD_BUTTONS is another there" in line.cause


@pytest.mark.parametrize(
    ("serve", "cause"),
    [
        (lambda setup: setup.serve_response("403 Forbidden", "no"), "got status 403 from another program"),
        (lambda setup: setup.serve_response("200 OK", "{}"), "got status 200 from another program"),
        (lambda setup: setup.serve_response("403 Forbidden", FORBIDDEN), "Access-Control-Allow-Origin is removed"),
    ],
)
def test_proxy_that_changes_the_route_is_named(bare_setup: Any, serve: Callable[[Any], None], cause: str) -> None:
    serve(bare_setup)
    line = check_line(bare_setup)
    assert line.ok is False
    assert cause in line.cause
    assert "forward /cometchat/" in line.remedy


def test_server_that_does_not_answer_is_named(bare_setup: Any) -> None:
    bare_setup.url = "http://127.0.0.1:1"
    assert check_line(bare_setup).ok is False
