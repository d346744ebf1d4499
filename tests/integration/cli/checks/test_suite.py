"""The whole chain: a line for everything, well and broken."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from cometbot.cli import main
from cometbot.cli.checks import CheckResult, CheckSuite
from cometbot.simulator import Simulator

CALLBACK = ("credentials refused", "credentials accepted", "response time")


def failures(results: dict[str, Any]) -> list[str]:
    return [name for name, result in results.items() if result.ok is False]


def test_a_bot_that_is_well_fails_nothing(doctor_setup: Any) -> None:
    results = doctor_setup.run_checks()
    assert failures(results) == []
    assert [name for name, result in results.items() if result.ok is None] == ["certificate", "files of bots"]


def test_files_of_bots_are_asked_for_through_the_public_url(doctor_setup: Any) -> None:
    result = doctor_setup.run_checks(url=doctor_setup.url)["files of bots"]
    assert (result.ok, result.cause) == (True, f"{doctor_setup.url}/files reaches the service")
    doctor_setup.serve_response("404 Not Found", "nginx")
    result = doctor_setup.run_checks(url=doctor_setup.url)["files of bots"]
    assert result.ok is False
    assert "/files/doctor/file: expected cometbot's answer, got 404 from another program" in result.cause
    assert "let the proxy forward /files/ unchanged" in result.remedy
    result = doctor_setup.run_checks(url="http://127.0.0.1:9")["files of bots"]
    assert (result.ok, "the server was not reached" in result.cause) == (None, True)


def test_nothing_is_stored_sent_or_changed(doctor_setup: Any) -> None:
    doctor_setup.run_checks()
    assert [entry.method for entry in doctor_setup.simulator.requests if entry.method != "GET"] == []
    delivery = doctor_setup._running[0].delivery
    assert delivery.is_idle
    with delivery.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM mailbox").scalar() == 0


def test_every_failure_has_a_cause_and_a_remedy(bare_setup: Any) -> None:
    bare_setup.unset_variables("COMETBOT_CALLBACK_USERNAME", "COMETBOT_CALLBACK_PASSWORD")
    results = bare_setup.run_checks(url="http://127.0.0.1:9")
    assert failures(results)
    assert all(result.cause and result.remedy for result in results.values() if result.ok is False)


def test_wrong_settings_are_the_one_failure(bare_setup: Any) -> None:
    bare_setup.set_variables(COMETBOT_THREADS="many")
    results = bare_setup.run_checks()
    assert failures(results) == ["settings"]
    assert "COMETBOT_THREADS" in results["settings"].cause
    assert {result.ok for name, result in results.items() if name != "settings"} == {None}


@pytest.mark.parametrize("channel", ["chat_api", "platform", "simplex"])
def test_without_the_cometchat_channel_no_credentials_are_needed(doctor_setup: Any, channel: str) -> None:
    doctor_setup.set_variables(COMETBOT_CHANNELS=channel)
    doctor_setup.unset_variables("COMETBOT_CALLBACK_USERNAME", "COMETBOT_CALLBACK_PASSWORD", "COMETCHAT_API_KEY")
    results = doctor_setup.run_checks()
    assert failures(results) == []
    assert results["CometChat"].cause == "not in COMETBOT_CHANNELS"


def test_a_variable_without_meaning_is_named(doctor_setup: Any) -> None:
    doctor_setup.set_variables(COMETBOT_TREADS="8")
    assert "did you mean COMETBOT_THREADS?" in doctor_setup.run_checks()["settings"].cause


def test_a_module_that_is_not_there_leaves_the_other_checks(doctor_setup: Any) -> None:
    results = doctor_setup.run_checks("nowhere:bot")
    assert failures(results) == ["bots"]
    assert "nowhere" in results["bots"].cause
    assert results["API key"].ok
    assert results["enabled"].cause == "no bot can be loaded"


def test_code_that_cannot_be_imported_is_shown_with_its_place(doctor_setup: Any) -> None:
    (doctor_setup.folder / "broken_shop.py").write_text('from cometbot import Bot\n\nbot = Bot("helpdesk")\n1 / 0\n')
    result = doctor_setup.run_checks("broken_shop:bot")["bots"]
    assert "ZeroDivisionError" in result.cause
    assert result.remedy.endswith("broken_shop.py, line 4")


def test_code_that_is_no_python_is_shown_with_its_place(doctor_setup: Any) -> None:
    (doctor_setup.folder / "misspelt_shop.py").write_text("from cometbot import Bot\n\nbot = Bot(\n")
    result = doctor_setup.run_checks("misspelt_shop:bot")["bots"]
    assert "SyntaxError" in result.cause
    assert result.remedy.endswith("misspelt_shop.py, line 3")


def test_a_bot_without_handlers_fails(doctor_setup: Any) -> None:
    (doctor_setup.folder / "mute_shop.py").write_text('from cometbot import Bot\n\nbot = Bot("helpdesk")\n')
    assert "no handler" in doctor_setup.run_checks("mute_shop:bot")["bots"].cause


def test_a_bot_without_credentials_is_not_served(bare_setup: Any) -> None:
    bare_setup.unset_variables("COMETBOT_CALLBACK_USERNAME", "COMETBOT_CALLBACK_PASSWORD")
    results = bare_setup.run_checks()
    assert results["callback settings"].ok is False
    assert "COMETBOT_CALLBACK_USERNAME" in results["callback settings"].remedy
    assert {results[name].ok for name in CALLBACK} == {None}


def test_half_credentials_in_code_are_told(bare_setup: Any) -> None:
    code = 'from cometbot import Bot\n\nbot = Bot("helpdesk", callback_username="cc")\nbot.fallback(lambda ctx: "Hi")\n'
    (bare_setup.folder / "half_shop.py").write_text(code)
    assert "only one of" in bare_setup.run_checks("half_shop:bot")["callback settings"].cause


def test_callbacks_that_are_open_on_purpose_fail_nothing(bare_setup: Any) -> None:
    bare_setup.unset_variables("COMETBOT_CALLBACK_USERNAME", "COMETBOT_CALLBACK_PASSWORD")
    bare_setup.set_variables(COMETBOT_ALLOW_ANONYMOUS_CALLBACKS="1")
    bare_setup.serve_bot()
    bare_setup.register(username="", password="")
    results = bare_setup.run_checks()
    assert failures(results) == []
    assert results["credentials refused"].ok is None
    assert results["credentials accepted"].ok


def test_cometchat_is_skipped_when_not_a_channel(doctor_setup: Any) -> None:
    doctor_setup.set_variables(COMETBOT_CHANNELS="other")
    results = doctor_setup.run_checks()
    assert results["CometChat"].ok is None
    assert "API key" not in results


def test_unknown_url_skips_the_callback_checks(bare_setup: Any) -> None:
    bare_setup.serve_bot()
    assert "--url" in bare_setup.run_checks()["credentials accepted"].cause


def test_the_public_url_of_the_settings_counts(doctor_setup: Any) -> None:
    doctor_setup.set_variables(COMETBOT_PUBLIC_URL="http://127.0.0.1:9")
    results = doctor_setup.run_checks()
    assert results["reachable"].ok is False
    assert results["callback URL"].ok is False


def test_two_bots_have_their_own_lines(doctor_setup: Any) -> None:
    (doctor_setup.folder / f"more_{doctor_setup.module}.py").write_text(
        'from cometbot import Bot\n\nbot = Bot("sales")\nbot.message("hi")(lambda ctx: "Hi")\n'
    )
    both = f"{doctor_setup.module}:bot,more_{doctor_setup.module}:bot"
    enabled = [(line.bot, line.ok) for line in CheckSuite(both).run() if line.name == "enabled"]
    assert enabled == [("helpdesk", True), ("sales", None)]


@pytest.fixture
def two_apps(bare_setup: Any) -> Iterator[Any]:
    """The bot in two apps, ``shop_eu`` with the settings of all and ``shop_us``, served and registered."""
    with Simulator(app_id="a1b2c3d4e5f60002", api_key="2" * 40) as us:
        bare_setup.set_variables(
            COMETCHAT_APPS="shop_eu,shop_us",
            COMETCHAT_APP_ID__SHOP_US=us.app_id,
            COMETCHAT_API_KEY__SHOP_US=us.api_key,
            COMETCHAT_API_URL__SHOP_US=us.api_url,
        )
        bare_setup.serve_bot()
        bare_setup.register(webhook_url=f"{bare_setup.url}/cometchat/shop_eu/helpdesk")
        us.add_bot("helpdesk", f"{bare_setup.url}/cometchat/shop_us/helpdesk", username="cc", password="s3cret-word")
        bare_setup.us = us
        yield bare_setup


def lines_by_app(setup: Any, **options: Any) -> dict[tuple[str, str], CheckResult]:
    return {(line.app, line.name): line for line in CheckSuite(url=setup.url, **options).run()}


def test_each_app_has_its_own_lines(two_apps: Any) -> None:
    lines = lines_by_app(two_apps)
    assert [name for name, line in lines.items() if line.ok is False] == []
    for app in ("shop_eu", "shop_us"):
        assert lines[app, "API key"].ok
        assert lines[app, "callback URL"].cause == f"{two_apps.url}/cometchat/{app}/helpdesk"
        assert [lines[app, name].ok for name in CALLBACK] == [True] * 3
    assert ("", "reachable") in lines


def test_problem_of_one_app_is_shown_there_with_its_command(two_apps: Any) -> None:
    two_apps.set_variables(COMETCHAT_API_KEY__SHOP_EU="9" * 40)
    two_apps.us.world.directory.bots["helpdesk"].enabled = False
    lines = lines_by_app(two_apps)
    assert [name for name, line in lines.items() if line.ok is False] == [
        ("shop_eu", "API key"),
        ("shop_us", "enabled"),
    ]
    assert lines["shop_us", "enabled"].remedy == (
        f"cometbot bots sync --url {two_apps.url} --app shop_us, "
        "or cometbot bots update helpdesk --enable --app shop_us"
    )
    output = CliRunner().invoke(main, ["doctor"]).output
    assert "✗ shop_us/helpdesk: enabled" in output
    assert "9" * 40 not in output


def test_url_of_before_passes_for_the_app_with_the_plain_id(two_apps: Any) -> None:
    two_apps.simulator.world.directory.bots["helpdesk"].webhook_url = f"{two_apps.url}/cometchat/helpdesk"
    assert lines_by_app(two_apps)["shop_eu", "callback URL"].ok
    two_apps.us.world.directory.bots["helpdesk"].webhook_url = f"{two_apps.url}/cometchat/helpdesk"
    line = lines_by_app(two_apps)["shop_us", "callback URL"]
    assert line.cause == f"expected {two_apps.url}/cometchat/shop_us/helpdesk, got {two_apps.url}/cometchat/helpdesk"


def test_previous_password_on_cometchat_is_said_and_passes(doctor_setup: Any) -> None:
    doctor_setup.set_variables(
        COMETBOT_CALLBACK_PASSWORD="another-long-password", COMETBOT_CALLBACK_PREVIOUS_PASSWORD="s3cret-word"
    )
    line = doctor_setup.run_checks()["callback credentials"]
    assert (line.ok, line.cause) == (
        True,
        "CometChat still has the previous password; to set the new one: cometbot bots sync",
    )
    doctor_setup.simulator.world.directory.bots["helpdesk"].password = "another-long-password"
    line = doctor_setup.run_checks()["callback credentials"]
    assert line.cause == "the same on CometChat and in the settings; the previous password is not needed any more"


def test_no_secret_is_in_any_line(doctor_setup: Any) -> None:
    key, password = doctor_setup.simulator.api_key, "s3cret-word"
    doctor_setup.simulator.misbehave.fail(400, code=f"KEY_{key}_{password}", routes=["GET /bots"])
    output = json.dumps([str(result) for result in doctor_setup.run_checks().values()])
    assert "KEY_***_***" in output
    assert key not in output
    assert password not in output


def test_the_command_prints_a_line_a_check_and_exits_with_0(doctor_setup: Any) -> None:
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 0, result.output
    assert "✓ helpdesk: credentials accepted" in result.output
    assert "– certificate" in result.output
    assert result.output.endswith("All checks passed.\n")


def test_the_command_prints_cause_and_remedy_and_exits_with_1(doctor_setup: Any) -> None:
    doctor_setup.simulator.world.directory.bots["helpdesk"].enabled = False
    result = CliRunner().invoke(main, ["doctor", "--url", doctor_setup.url])
    assert result.exit_code == 1
    [line] = [line for line in result.output.splitlines() if line.startswith("✗")]
    assert "sends it nothing" in line
    assert f"→ cometbot bots sync --url {doctor_setup.url}" in line
    assert "1 of " in result.output


def test_the_command_as_json_has_the_same_lines(doctor_setup: Any) -> None:
    result = CliRunner().invoke(main, ["doctor", "--json"])
    told = json.loads(result.output)
    assert told["ok"] is True
    assert {"name", "ok", "cause", "remedy", "bot", "app"} == set(told["checks"][0])
    assert [line["name"] for line in told["checks"]] == list(doctor_setup.run_checks())


@pytest.mark.parametrize("url", ["bots.example.com", "ftp://host", "https://", "https://host:port"])
def test_a_url_that_is_none_is_refused(doctor_setup: Any, url: str) -> None:
    result = CliRunner().invoke(main, ["doctor", "--url", url])
    assert result.exit_code == 2
    assert "https://bots.example.com" in result.output
