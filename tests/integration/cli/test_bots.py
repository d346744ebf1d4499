"""``cometbot bots`` against a simulated CometChat over HTTP."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from cometbot.simulator import Simulator

Call = Callable[..., Result]
Write = Callable[..., str]
URL = "http://127.0.0.1:9000"
PASSWORD = "s3cr3t-value"


def bot_of(simulator: Simulator, uid: str = "shop") -> Any:
    return simulator.world.directory.bots[uid]


def bodies(simulator: Simulator, method: str, path: str) -> list[Any]:
    return [item.body for item in simulator.requests if item.method == method and item.path == path]


def sentence(result: Result) -> str:
    """The one sentence that a command ended with, which must be all that it said."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) == 1
    return result.stderr


@pytest.fixture
def shop(simulator: Simulator) -> Simulator:
    simulator.add_bot("shop", f"{URL}/cometchat/shop", username="cc", password=PASSWORD, group_setting="none")
    return simulator


def test_list_without_bots_says_how_to_make_one(cometbot: Call) -> None:
    result = cometbot("bots", "list")
    assert (result.exit_code, "cometbot bots create" in result.stdout) == (0, True)
    assert json.loads(cometbot("bots", "list", "--json").stdout) == []


def test_list_shows_each_bot_and_no_password(cometbot: Call, shop: Simulator) -> None:
    shop.add_bot("other", f"{URL}/o", enabled=False)
    lines = [line.split() for line in cometbot("bots", "list").stdout.splitlines()]
    assert ["shop", "yes", "none", "cc", f"{URL}/cometchat/shop"] in lines
    assert ["other", "no", "allMessages", "none", f"{URL}/o"] in lines
    shown = cometbot("bots", "list", "--json").stdout
    assert [bot["uid"] for bot in json.loads(shown)] == ["other", "shop"]
    assert PASSWORD not in shown + cometbot("bots", "list").output


def test_list_searched_and_ai_bots_are_asked_for_like_this(cometbot: Call, shop: Simulator) -> None:
    assert "No bot found" in cometbot("bots", "list", "--search", "x").stdout
    assert "shop" not in cometbot("bots", "list", "--ai").stdout
    assert shop.requests[-1].query["isAIBot"] == "true"


def test_create_registers_bot_and_shows_credentials(cometbot: Call, simulator: Simulator) -> None:
    result = cometbot("bots", "create", "Shop", "--url", URL, "--name", "Shoe shop")
    assert result.exit_code == 0
    assert simulator.world.directory.users["shop"].name == "Shoe shop"
    (body,) = bodies(simulator, "POST", "/v3/bots")
    assert (body["enabled"], body["groupChatSetting"], body["useBasicAuth"]) == (True, "mentionedMessages", True)
    bot = bot_of(simulator)
    assert bot.webhook_url == f"{URL}/cometchat/shop"
    assert result.stdout.count(bot.password) == 1
    assert f"\nCOMETBOT_CALLBACK_USERNAME=cometchat\nCOMETBOT_CALLBACK_PASSWORD={bot.password}\n" in result.stdout


def test_create_the_two_lines_are_read_by_the_settings(cometbot: Call, simulator: Simulator, folder: Path) -> None:
    result = cometbot("bots", "create", "shop", "--url", URL)
    lines = re.findall(r"^COMETBOT_.*$", result.stdout, re.M)
    (folder / ".env").write_text("\n".join(lines))
    second = cometbot("bots", "create", "other", "--url", URL)
    assert "COMETBOT_CALLBACK" not in second.output
    assert bot_of(simulator, "other").password == bot_of(simulator).password


def test_create_credentials_are_set_they_are_taken_and_not_shown(
    cometbot: Call, simulator: Simulator, environ: pytest.MonkeyPatch
) -> None:
    environ.setenv("COMETBOT_CALLBACK_USERNAME__SHOP", "cc")
    environ.setenv("COMETBOT_CALLBACK_PASSWORD__SHOP", PASSWORD)
    environ.setenv("COMETBOT_PUBLIC_URL", URL)
    result = cometbot("bots", "create", "shop")
    assert (bot_of(simulator).username, bot_of(simulator).password) == ("cc", PASSWORD)
    assert PASSWORD not in result.output


def test_create_with_own_username_prints_own_variables(
    cometbot: Call, simulator: Simulator, environ: pytest.MonkeyPatch
) -> None:
    environ.setenv("COMETBOT_CALLBACK_USERNAME", "cc")
    environ.setenv("COMETBOT_CALLBACK_PASSWORD", PASSWORD)
    result = cometbot("bots", "create", "shop", "--url", URL, "--username", "me")
    assert f"COMETBOT_CALLBACK_PASSWORD__SHOP={bot_of(simulator).password}" in result.stdout


def test_create_as_json_the_credentials_are_on_standard_error(cometbot: Call, simulator: Simulator) -> None:
    result = cometbot("bots", "create", "shop", "--url", URL, "--json", "--disabled")
    told = json.loads(result.stdout)
    assert (told["uid"], told["password"], told["userMade"], told["enabled"]) == ("shop", "***", True, False)
    assert result.stderr.count(bot_of(simulator).password) == 1


def test_create_without_login_and_with_a_whole_url_both_count(cometbot: Call, simulator: Simulator) -> None:
    result = cometbot("bots", "create", "shop", "--webhook-url", f"{URL}/mine", "--no-login")
    assert (bot_of(simulator).webhook_url, bot_of(simulator).use_basic_auth) == (f"{URL}/mine", False)
    assert "COMETBOT_ALLOW_ANONYMOUS_CALLBACKS" in result.stdout


def test_create_bot_exists_it_says_what_to_do(cometbot: Call, shop: Simulator) -> None:
    assert "cometbot bots update shop" in sentence(cometbot("bots", "create", "shop", "--url", URL))
    assert bot_of(shop).password == PASSWORD


def test_create_user_is_deactivated_it_says_so(cometbot: Call, simulator: Simulator) -> None:
    simulator.add_user("shop")
    simulator.world.directory.delete_user("shop", permanent=False, now=1)
    assert "deactivated" in sentence(cometbot("bots", "create", "shop", "--url", URL))


def test_create_quota_is_reached_it_says_so(cometbot: Call, simulator: Simulator) -> None:
    for number in range(25):
        simulator.add_bot(f"bot{number}", URL)
    assert "25 bots" in sentence(cometbot("bots", "create", "shop", "--url", URL))


def test_create_without_a_url_it_says_what_to_give(cometbot: Call) -> None:
    result = cometbot("bots", "create", "shop")
    assert (result.exit_code, "--url https://" in result.stderr) == (2, True)


@pytest.mark.parametrize("uid", ["a b", "Bad Uid!", "käse", "x" * 51, "x" * 101, ""])
def test_create_with_invalid_uid_changes_nothing(cometbot: Call, simulator: Simulator, uid: str) -> None:
    said = sentence(cometbot("bots", "create", uid, "--url", URL))
    assert f"expected at most 50 characters of a-z, 0-9, - and _, got {uid.lower()!r}" in said
    assert not simulator.world.directory.bots
    assert uid not in simulator.world.directory.users


def test_create_longest_uid_of_a_bot_is_taken(cometbot: Call, simulator: Simulator) -> None:
    assert cometbot("bots", "create", "X" * 50, "--url", URL).exit_code == 0
    assert "x" * 50 in simulator.world.directory.bots


@pytest.mark.parametrize("words", [("--no-login", "--username", "x"), ("--no-login", "--password", "x")])
def test_create_with_conflicting_options_is_usage_error(cometbot: Call, words: tuple[str, ...]) -> None:
    assert cometbot("bots", "create", "shop", "--url", URL, *words).exit_code == 2


def test_update_keeps_what_is_not_named(cometbot: Call, shop: Simulator) -> None:
    result = cometbot("bots", "update", "shop", "--url", "http://127.0.0.1:1")
    assert result.exit_code == 0
    assert bodies(shop, "PUT", "/v3/bots/shop") == [
        {"enabled": True, "groupChatSetting": "none", "webhookURL": "http://127.0.0.1:1/cometchat/shop"}
    ]
    assert (bot_of(shop).password, PASSWORD in result.output) == (PASSWORD, False)


def test_update_of_everything_changes_bot_and_user(cometbot: Call, shop: Simulator) -> None:
    words = ("--disable", "--group-setting", "allMessages", "--name", "Shoes", "--avatar", "https://x.example/a.png")
    told = json.loads(cometbot("bots", "update", "shop", "--json", *words).stdout)
    assert (told["enabled"], told["groupChatSetting"], told["password"]) == (False, "allMessages", "***")
    user = shop.world.directory.users["shop"]
    assert (user.name, user.avatar) == ("Shoes", "https://x.example/a.png")


def test_update_new_password_keeps_username(cometbot: Call, shop: Simulator) -> None:
    result = cometbot("bots", "update", "shop", "--new-password")
    assert bot_of(shop).username == "cc"
    assert bot_of(shop).password != PASSWORD
    assert f"COMETBOT_CALLBACK_PASSWORD={bot_of(shop).password}\n" in result.stdout


def test_update_given_password_is_not_shown(cometbot: Call, shop: Simulator) -> None:
    result = cometbot("bots", "update", "shop", "--password", "given-one")
    assert (bot_of(shop).username, bot_of(shop).password) == ("cc", "given-one")
    assert "given-one" not in result.output


def test_update_no_login_cometchat_calls_without(cometbot: Call, shop: Simulator) -> None:
    assert "calls without" in cometbot("bots", "update", "shop", "--no-login").stdout
    assert bot_of(shop).use_basic_auth is False


def test_update_of_nothing_and_of_nobody_say_what_to_do(cometbot: Call, shop: Simulator) -> None:
    assert "Nothing to change" in cometbot("bots", "update", "shop").stderr
    assert "there is no bot nobody" in sentence(cometbot("bots", "update", "nobody", "--enable"))


def test_delete_asked_and_answered_the_user_stays(cometbot: Call, shop: Simulator) -> None:
    assert cometbot("bots", "delete", "shop", answers="n\n").exit_code == 1
    assert "shop" in shop.world.directory.bots
    assert cometbot("bots", "delete", "shop", answers="y\n").exit_code == 0
    assert "shop" not in shop.world.directory.bots
    assert "shop" in shop.world.directory.users


def test_delete_nobody_answers_nothing_is_changed(cometbot: Call, shop: Simulator) -> None:
    result = cometbot("bots", "delete", "shop")
    assert (result.exit_code, "--yes" in result.stderr) == (2, True)
    assert "shop" in shop.world.directory.bots
    assert cometbot("bots", "delete", "shop", "--yes").exit_code == 0


def test_delete_of_nobody_is_not_even_asked(cometbot: Call) -> None:
    assert "there is no bot nobody" in sentence(cometbot("bots", "delete", "nobody"))


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("COMETCHAT_API_KEY", "wrong", "does not know the API key"),
        ("COMETCHAT_API_KEY", "", "COMETCHAT_API_KEY"),
        ("COMETCHAT_API_URL", "http://127.0.0.1:1/v3", "could not be reached"),
    ],
)
@pytest.mark.parametrize(
    "words", [("list",), ("create", "x", "--url", URL), ("update", "x", "--enable"), ("delete", "x", "--yes")]
)
def test_settings_are_wrong_each_command_says_what_to_set(
    cometbot: Call, environ: pytest.MonkeyPatch, words: tuple[str, ...], variable: str, value: str, said: str
) -> None:
    environ.setenv(variable, value)
    assert said in sentence(cometbot("bots", *words))


def test_key_without_rights_says_which_key_is_needed(
    cometbot: Call, simulator: Simulator, environ: pytest.MonkeyPatch
) -> None:
    environ.setenv("COMETCHAT_API_KEY", simulator.auth_key)
    said = sentence(cometbot("bots", "create", "shop", "--url", URL))
    assert "fullAccess" in said
    assert simulator.auth_key not in said


@pytest.mark.parametrize(
    ("misbehave", "said"),
    [
        (lambda it: it.rate_limit(retry_after=7, routes="GET /bots"), "in 7 seconds"),
        (lambda it: it.fail(routes="GET /bots"), "response is not usable"),
        (lambda it: it.drop(routes="GET /bots"), "response is not usable"),
    ],
)
def test_cometchat_misbehaves_it_says_what_to_do(
    cometbot: Call, simulator: Simulator, misbehave: Callable[[Any], None], said: str
) -> None:
    misbehave(simulator.misbehave)
    assert said in sentence(cometbot("bots", "list"))


def test_create_answer_is_lost_it_says_that_nobody_knows(cometbot: Call, simulator: Simulator) -> None:
    simulator.misbehave.fail(routes="POST /bots", after=True)
    assert "the outcome is unknown" in sentence(cometbot("bots", "create", "shop", "--url", URL))


def test_debug_the_error_itself_comes_through(cometbot: Call, environ: pytest.MonkeyPatch) -> None:
    environ.setenv("COMETCHAT_API_KEY", "wrong")
    assert type(cometbot("--debug", "bots", "list").exception).__name__ == "AuthenticationFailed"


def test_sync_dry_run_shows_the_differences_and_changes_nothing(
    cometbot: Call, simulator: Simulator, write_bot: Write
) -> None:
    spec = write_bot("@bot.message(in_group)\ndef hear(ctx): ...")
    result = cometbot("bots", "sync", spec, "--url", URL, "--dry-run")
    assert result.exit_code == 1
    assert re.search(r"messages of groups\s+allMessages", result.stdout)
    assert ".hear." in result.stdout
    assert not simulator.world.directory.bots
    assert {item.method for item in simulator.requests} == {"GET"}


def test_sync_registers_what_is_missing_and_then_agrees(
    cometbot: Call, simulator: Simulator, write_bot: Write, folder: Path
) -> None:
    spec = write_bot("@bot.command('track')\ndef track(ctx): ...")
    result = cometbot("bots", "sync", spec, "--url", URL, answers="y\n")
    assert result.exit_code == 0
    bot = bot_of(simulator)
    assert (bot.group_chat_setting, bot.enabled, bot.use_basic_auth) == ("slashedMessages", True, True)
    assert simulator.world.directory.users["shop"].name == "Shop"
    lines = re.findall(r"^COMETBOT_CALLBACK_.*$", result.stdout, re.M)
    assert lines[1] == f"COMETBOT_CALLBACK_PASSWORD={bot.password}"
    (folder / ".env").write_text("\n".join(lines))
    again = cometbot("bots", "sync", spec, "--dry-run")
    assert (again.exit_code, again.stdout) == (0, "shop is in sync.\n")


def test_sync_changes_what_differs_and_that_alone(
    cometbot: Call, shop: Simulator, write_bot: Write, environ: pytest.MonkeyPatch
) -> None:
    environ.setenv("COMETBOT_CALLBACK_USERNAME", "cc")
    environ.setenv("COMETBOT_CALLBACK_PASSWORD", PASSWORD)
    shop.world.directory.bots["shop"].enabled = False
    spec = write_bot("@bot.fallback\ndef say(ctx): ...")
    result = cometbot("bots", "sync", spec, "--yes")
    assert (bot_of(shop).enabled, bot_of(shop).group_chat_setting) == (True, "mentionedMessages")
    assert (bot_of(shop).webhook_url, bot_of(shop).password) == (f"{URL}/cometchat/shop", PASSWORD)
    assert "URL" not in result.stdout
    assert "user name" not in result.stdout
    assert PASSWORD not in result.output


def test_sync_no_nothing_is_changed(cometbot: Call, shop: Simulator, write_bot: Write) -> None:
    result = cometbot("bots", "sync", write_bot(), "--url", "http://127.0.0.1:1", answers="n\n")
    assert result.exit_code == 1
    assert bot_of(shop).webhook_url == f"{URL}/cometchat/shop"


def test_sync_the_codes_credentials_and_uid_count(cometbot: Call, simulator: Simulator, write_bot: Write) -> None:
    words = 'cometchat_uid="Shop-Bot", callback_username="me", callback_password="s3cr3t-value"'
    result = cometbot("bots", "sync", write_bot(bot=f'Bot("shop", {words})'), "--url", URL, "--yes")
    bot = bot_of(simulator, "shop-bot")
    assert (bot.username, bot.password, bot.webhook_url) == ("me", PASSWORD, f"{URL}/cometchat/shop")
    assert PASSWORD not in result.output


def test_sync_chosen_group_setting_goes_before_the_handlers(
    cometbot: Call, simulator: Simulator, write_bot: Write
) -> None:
    cometbot("bots", "sync", write_bot(), "--url", URL, "--yes", "--group-setting", "allMessages")
    assert bot_of(simulator).group_chat_setting == "allMessages"


def test_sync_warns_of_answers_that_may_be_lost_in_groups(
    cometbot: Call, simulator: Simulator, write_bot: Write
) -> None:
    spec = write_bot("@bot.command()\ndef order(ctx):\n    return ctx.ask('Which?')")
    warning = f"Warning: {spec.removesuffix(':bot')}.order may ask in groups"
    first = cometbot("bots", "sync", spec, "--url", URL, "--yes")
    assert warning in first.stdout
    assert warning in cometbot("bots", "sync", spec, "--dry-run").stdout
    assert "Warning" not in cometbot("bots", "sync", spec, "--yes", "--group-setting", "allMessages").stdout


def test_sync_several_bots_each_gets_lines_of_its_own(cometbot: Call, simulator: Simulator, write_bot: Write) -> None:
    spec = ",".join([write_bot(), write_bot(bot='Bot("news")')])
    result = cometbot("bots", "sync", spec, "--url", URL, "--yes")
    for name in ("shop", "news"):
        assert f"COMETBOT_CALLBACK_PASSWORD__{name.upper()}={bot_of(simulator, name).password}" in result.stdout


def test_sync_as_json_tells_the_differences_without_secrets(cometbot: Call, shop: Simulator, write_bot: Write) -> None:
    result = cometbot("bots", "sync", write_bot(), "--dry-run", "--json")
    (told,) = json.loads(result.stdout)
    assert (told["bot"], told["agrees"]) == ("shop", False)
    assert {item["what"] for item in told["differences"]} == {"user name", "password"}
    assert PASSWORD not in result.output


def test_sync_unknown_url_it_says_how_to_say_it(cometbot: Call, write_bot: Write) -> None:
    assert "COMETBOT_PUBLIC_URL" in sentence(cometbot("bots", "sync", write_bot()))


@pytest.mark.parametrize(
    ("spec", "said"),
    [("", "COMETBOT_BOT"), ("nowhere:bot", "no module 'nowhere'"), ("shopx.py:bot", "no file shopx.py")],
)
def test_sync_there_is_no_such_bot_it_says_what_to_name(cometbot: Call, spec: str, said: str) -> None:
    assert said in sentence(cometbot("bots", "sync", *filter(None, [spec]), "--url", URL))


@pytest.mark.parametrize(
    ("code", "said"), [("def (", "SyntaxError"), ("1 / 0", "ZeroDivisionError"), ("exit()", "Exit")]
)
def test_sync_the_code_is_broken_it_says_where(cometbot: Call, write_bot: Write, code: str, said: str) -> None:
    spec = write_bot(code)
    result = sentence(cometbot("bots", "sync", spec, "--url", URL))
    assert said in result
    assert f"{spec.partition(':')[0]}.py, line" in result


@pytest.mark.process
def test_sync_in_a_process_of_its_own_ends_with_its_exit_code(environ: pytest.MonkeyPatch, write_bot: Write) -> None:
    words = ["bots", "sync", write_bot(), "--url", URL, "--dry-run"]
    command = [sys.executable, "-c", "from cometbot.cli import main; main()", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=dict(os.environ), check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert "is not registered" in done.stdout
