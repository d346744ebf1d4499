"""The lines about a bot that moderates, at its real URL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cometbot import Bot, ModerationItem
from cometbot.cli.checks import CheckResult
from cometbot.cli.checks.http_client import CheckClient
from cometbot.cli.checks.moderation import check_moderation
from cometbot.settings import Settings

PASSWORD = "a-password-of-moderation"
CODE = "\n\n@bot.moderate\ndef check(item):\n    return 'casino' in item.text\n"
LOGIN = {"COMETCHAT_MODERATION_USERNAME": "mod", "COMETCHAT_MODERATION_PASSWORD": PASSWORD}


@pytest.fixture
def moderating_setup(bare_setup: Any) -> Any:
    """A bot whose code judges messages; nothing is served yet."""
    file: Path = bare_setup.folder / f"{bare_setup.module}.py"
    file.write_text(file.read_text() + CODE)
    bare_setup.set_variables(**LOGIN)
    return bare_setup


def serve(setup: Any, function: Callable[[ModerationItem], Any]) -> None:
    bot = Bot("helpdesk")
    bot.moderate(function)
    setup.serve_bot(bot)
    setup.register()


def run(setup: Any) -> dict[str, CheckResult]:
    results: dict[str, CheckResult] = setup.run_checks(url=setup.url)
    return {name: result for name, result in results.items() if name.startswith("moderation ")}


def test_function_that_decides_passes(moderating_setup: Any) -> None:
    serve(moderating_setup, lambda item: False)
    lines = run(moderating_setup)
    assert [line.ok for line in lines.values()] == [True, True, True]
    assert lines["moderation settings"].cause == "CometChat must log in as mod"
    assert lines["moderation decides"].cause.startswith('"cometbot doctor" does not match, ')
    assert PASSWORD not in repr(lines)


def test_bot_without_a_function_has_no_lines(doctor_setup: Any) -> None:
    assert run(doctor_setup) == {}


def test_missing_credentials_fail(moderating_setup: Any) -> None:
    moderating_setup.unset_variables(*LOGIN)
    lines = moderating_setup.run_checks(url="http://127.0.0.1:9")
    assert lines["moderation settings"].ok is False
    assert "COMETCHAT_MODERATION_USERNAME" in lines["moderation settings"].remedy
    assert lines["moderation decides"].ok is None


def test_open_moderation_is_noted(moderating_setup: Any) -> None:
    moderating_setup.unset_variables(*LOGIN)
    moderating_setup.set_variables(COMETCHAT_ALLOW_ANONYMOUS_MODERATION="1")
    serve(moderating_setup, lambda item: True)
    lines = run(moderating_setup)
    assert [line.ok for line in lines.values()] == [None, None, True]
    assert lines["moderation decides"].cause.startswith('"cometbot doctor" matches, ')


def fail(item: ModerationItem) -> bool:
    raise ValueError


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (lambda setup: serve(setup, fail), "the function raised an error or returned no decision"),
        (lambda setup: serve(setup, lambda item: "maybe"), "the function raised an error or returned no decision"),
        (lambda setup: setup.serve_response("200 OK", "{}"), "expected a decision, got status 200"),
        (lambda setup: setup.serve_response("502 Bad Gateway"), "the proxy cannot reach the bot (status 502)"),
        (lambda setup: setup.serve_response("404 Not Found"), "the service has no function for moderation"),
        (lambda setup: setup.serve_response("401 Unauthorized"), "the credentials of the settings are rejected"),
    ],
)
def test_missing_decision_is_explained(moderating_setup: Any, make: Callable[[Any], None], cause: str) -> None:
    make(moderating_setup)
    settings = Settings.from_environment()
    lines = check_moderation(settings, Bot("helpdesk"), moderating_setup.callback, CheckClient(), is_reached=True)
    assert {line.name: line.cause for line in lines}["moderation decides"] == cause


def test_accepted_wrong_password_fails(moderating_setup: Any) -> None:
    moderating_setup.set_variables(COMETCHAT_MODERATION_PASSWORD="another-password-there")
    serve(moderating_setup, lambda item: True)
    moderating_setup.serve_response("200 OK", '{"isMatchingCondition": true}')
    settings = Settings.from_environment()
    lines = check_moderation(settings, Bot("helpdesk"), moderating_setup.callback, CheckClient(), is_reached=True)
    assert lines[1].ok is False
    assert "expected 401 for a wrong password, got 200" in lines[1].cause


def test_unknown_url_is_not_asked(moderating_setup: Any) -> None:
    settings = Settings.from_environment()
    for url, is_reached, why in (("", True, "unknown URL"), ("http://127.0.0.1:9/x", False, "was not reached")):
        lines = check_moderation(settings, Bot("helpdesk"), url, CheckClient(), is_reached=is_reached)
        assert why in lines[-1].cause
        assert lines[-1].ok is None
