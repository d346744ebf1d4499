"""The lines about a bot as a simulated CometChat has it."""

from __future__ import annotations

from typing import Any

import pytest

SYNC = "cometbot bots sync"


@pytest.fixture
def served(bare_setup: Any) -> Any:
    """A bot that is served and not registered yet."""
    bare_setup.serve_bot()
    return bare_setup


def test_a_bot_that_is_not_registered_is_told_with_its_command(served: Any) -> None:
    results = served.run_checks(url=served.url)
    assert (results["user"].ok, results["bot"].ok, results["enabled"].ok) == (False, False, None)
    assert results["bot"].remedy == f"{SYNC} --url {served.url}"
    assert "cometbot users create helpdesk" in results["user"].remedy
    assert served.run_checks()["bot"].remedy == f"{SYNC} --url https://…"
    served.set_variables(COMETBOT_PUBLIC_URL=served.url)
    assert served.run_checks()["bot"].remedy == SYNC


def test_a_user_that_is_no_bot_is_told_apart(served: Any) -> None:
    served.simulator.add_user("helpdesk")
    results = served.run_checks(url=served.url)
    assert (results["user"].ok, results["bot"].ok) == (True, False)
    assert "is not a bot" in results["bot"].cause


def test_callback_is_checked_for_an_unregistered_bot(served: Any) -> None:
    assert served.run_checks(url=served.url)["credentials accepted"].ok


def test_the_command_names_the_bot_that_was_named(served: Any) -> None:
    spec = f"{served.module}:bot"
    assert served.run_checks(spec, served.url)["bot"].remedy == f"{SYNC} {spec} --url {served.url}"


def test_a_deactivated_user_is_told(doctor_setup: Any) -> None:
    doctor_setup.simulator.world.directory.users["helpdesk"].deactivated_at = 1
    results = doctor_setup.run_checks()
    assert results["user"].ok is False
    assert "deactivated" in results["user"].cause
    assert results["bot"].ok


def test_a_bot_that_is_disabled_is_told(served: Any) -> None:
    served.register(enabled=False)
    result = served.run_checks()["enabled"]
    assert result.ok is False
    assert SYNC in result.remedy


def test_a_full_app_without_the_bot_is_told(served: Any) -> None:
    for number in range(25):
        served.simulator.add_bot(f"other-{number}", "https://bots.example.com")
    result = served.run_checks()["number of bots"]
    assert result.ok is False
    assert "no room for helpdesk" in result.cause


def test_a_full_app_with_the_bot_fails_nothing(doctor_setup: Any) -> None:
    for number in range(24):
        doctor_setup.simulator.add_bot(f"other-{number}", "https://bots.example.com")
    result = doctor_setup.run_checks()["number of bots"]
    assert result.ok
    assert "25 of 25" in result.cause


GROUPS = {
    "command": 'bot.command("track")(lambda ctx: "Soon")',
    "message": 'bot.message("hi")(lambda ctx: "Hi")',
    "group": 'bot.message(in_group)(lambda ctx: "Hi")',
    "direct": 'bot.message(direct)(lambda ctx: "Hi")',
}


@pytest.mark.parametrize(
    ("handler", "setting", "ok"),
    [
        ("direct", "none", True),
        ("command", "none", False),
        ("command", "slashedMessages", True),
        ("command", "mentionedMessages", True),
        ("message", "none", False),
        ("message", "slashedMessages", False),
        ("message", "mentionedMessages", True),
        ("group", "mentionedMessages", False),
        ("group", "allMessages", True),
        ("direct", "allMessages", True),
        ("message", "newMessages", False),
    ],
)
def test_the_group_setting_is_held_against_the_handlers(served: Any, handler: str, setting: str, ok: bool) -> None:
    begin = 'from cometbot import Bot\nfrom cometbot.matchers import direct, in_group\n\nbot = Bot("helpdesk")\n'
    module = f"{handler}_{served.module}"
    (served.folder / f"{module}.py").write_text(begin + GROUPS[handler])
    served.register()
    served.simulator.world.directory.bots["helpdesk"].group_chat_setting = setting
    result = served.run_checks(f"{module}:bot")["group setting"]
    assert result.ok is ok, result
    assert (SYNC in result.remedy) is not ok


@pytest.mark.parametrize(
    ("setting", "is_warned"), [("slashedMessages", True), ("mentionedMessages", True), ("allMessages", False)]
)
def test_handlers_whose_answers_may_be_lost_in_groups_are_named(served: Any, setting: str, is_warned: bool) -> None:
    module = f"asking_{served.module}"
    (served.folder / f"{module}.py").write_text(
        'from cometbot import Bot\n\nbot = Bot("helpdesk")\n\n\n@bot.command()\n'
        'def order(ctx):\n    return ctx.ask("Which?")\n'
    )
    served.register()
    served.simulator.world.directory.bots["helpdesk"].group_chat_setting = setting
    result = served.run_checks(f"{module}:bot")["group setting"]
    assert result.ok
    assert (f"{module}.order may ask in groups" in result.cause) is is_warned


@pytest.mark.parametrize("end", ["/cometchat/helpdesk", "/cometchat", "/cometchat/helpdesk/"])
def test_a_url_that_leads_to_the_bot_is_right(served: Any, end: str) -> None:
    served.register(webhook_url=f"{served.url}{end}")
    assert served.run_checks()["callback URL"].ok
    assert served.run_checks(url=served.url)["callback URL"].ok


def test_a_url_of_something_else_is_told(served: Any) -> None:
    served.register(webhook_url=f"{served.url}/hook")
    result = served.run_checks()["callback URL"]
    assert result.ok is False
    assert "/hook" in result.cause
    assert result.remedy == f"{SYNC} --url https://…"


def test_other_url_fails_without_its_password(served: Any) -> None:
    served.register(webhook_url="https://me:hidden@old.example.com/cometchat/helpdesk")
    result = served.run_checks(url=served.url)["callback URL"]
    assert result.ok is False
    assert "old.example.com" in result.cause
    assert "hidden" not in str(result)


def test_a_cometchat_that_calls_without_credentials_is_told(served: Any) -> None:
    served.register(username="", password="")
    assert "sends none" in served.run_checks()["callback credentials"].cause


@pytest.mark.parametrize(("wrong", "word"), [({"username": "dd"}, "user name"), ({"password": "other"}, "password")])
def test_other_credentials_than_those_of_the_settings_are_told(served: Any, wrong: dict[str, str], word: str) -> None:
    served.register(**wrong)
    result = served.run_checks()["callback credentials"]
    assert result.ok is False
    assert word in result.cause
    assert "other" not in result.cause.replace("another", "")


def test_a_registration_that_cannot_be_read_is_one_failure(doctor_setup: Any) -> None:
    doctor_setup.simulator.misbehave.fail(500, routes=["GET /users/*"])
    results = doctor_setup.run_checks()
    assert results["bots on CometChat"].ok is False
    assert "enabled" not in results
