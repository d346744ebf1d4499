"""``cometbot dialogs`` over real databases."""

from __future__ import annotations

import pytest

from cometbot import Context
from tests.integration.cli.conftest import Shop, on_both_databases, read_json, run_command


def test_list_without_dialogs_says_so(shop: Shop) -> None:
    result = run_command("dialogs", "list")
    assert (result.exit_code, result.output) == (0, "No dialogs.\n")
    assert run_command("dialogs", "list", "--bot", "shop").output == "No dialogs of the bot shop.\n"
    assert read_json("dialogs", "list") == []


@on_both_databases
def test_list_shows_what_each_waits_for(shop: Shop) -> None:
    shop.send("/order tea")
    shop.send("huge")
    shop.send("/later", user="tom")
    lines = {line.split()[0]: line for line in run_command("dialogs", "list").output.splitlines() if line.strip()}
    assert lines["m1"].split()[1:5] == ["open", "shop", "shop_user_maria", "maria"]
    assert "ask: Which size?" in lines["m1"]
    assert lines["m1"].rstrip().endswith("(1 wrong answer)")
    assert lines["m3"].rstrip().endswith("sleep")
    by_id = {dialog["id"]: dialog for dialog in read_json("dialogs", "list", "--bot", "shop")}
    assert by_id["m1"]["expires_at"] == pytest.approx(by_id["m1"]["opened_at"] + 3600)
    assert (by_id["m1"]["kind"], by_id["m1"]["attempts"], by_id["m1"]["status"]) == ("ask", 1, "open")
    assert by_id["m1"]["handler"].endswith("order")
    assert by_id["m1"]["call"]["line"] == "tea"
    assert read_json("dialogs", "list", "--bot", "news") == []
    assert "There are more. Show them with --limit 10." in run_command("dialogs", "list", "--limit", "1").output


@on_both_databases
def test_show_has_the_steps_with_short_results(shop: Shop) -> None:
    shop.send("/order tea")
    assert "No steps have a result yet." in run_command("dialogs", "show", "m1").output
    shop.send("M")
    output = run_command("dialogs", "show", "m1").output
    assert "dialog        m1, open\n" in output
    assert "waits for     ask: How many?\n" in output
    assert "x" * 150 in output
    assert "x" * 500 not in output
    steps = read_json("dialogs", "show", "m1")["steps"]
    assert [(step["step"], step["kind"], step["message"]) for step in steps] == [(1, "ask", "m2"), (2, "once", "m2")]
    assert len(steps[1]["result"]) <= 201


def test_failed_dialog_names_its_dead_letter(shop: Shop) -> None:
    shop.send("/crash")
    shop.send("yes")
    [letter] = shop.delivery.dead_letters.list()
    assert (read_json("dialogs", "show", "m1")["status"], read_json("dialogs", "show", "m1")["dead_letter"]) == (
        "failed",
        letter.id,
    )
    assert f"dead letter   {letter.id}\n" in run_command("dialogs", "show", "m1").output
    result = run_command("dialogs", "cancel", "m1")
    assert result.exit_code == 2
    assert result.stderr == (
        f"cometbot: the dialog m1 has failed. Retry or discard its dead letter: cometbot deadletters show {letter.id}\n"
    )


@on_both_databases
@pytest.mark.parametrize("words", ["/order tea", "/later"])
def test_cancel_ends_a_dialog_as_its_user_does(shop: Shop, words: str) -> None:
    shop.send(words)
    result = run_command("dialogs", "cancel", "m1")
    assert (result.exit_code, result.output) == (0, "Cancelled the dialog m1.\n")
    again = run_command("dialogs", "cancel", "m1")
    assert again.stderr == "cometbot: the dialog m1 is over: its handler runs for the last time\n"
    shop.run_pending()
    assert shop.channel.texts()[-1] == ("Then not." if "order" in words else shop.bot.cancel_text)
    assert read_json("dialogs", "list") == []
    assert shop.delivery.dead_letters.list() == []


def test_answer_of_a_cancelled_dialog_is_an_ordinary_message(shop: Shop) -> None:
    shop.send("/order tea")
    run_command("dialogs", "cancel", "m1")
    shop.send("M")
    assert [text.partition("\n")[0] for text in shop.channel.texts()] == ["Which size?", "Then not."]


@pytest.mark.parametrize("command", ["show", "cancel"])
@pytest.mark.parametrize("name", ["m99", "r1", "nonsense"])
def test_dialog_that_does_not_exist_is_wrong_use_and_says_so(shop: Shop, command: str, name: str) -> None:
    result = run_command("dialogs", command, name)
    assert result.exit_code == 2
    assert result.stderr == (
        f"cometbot: there is no dialog {name!r} (any more). List them with: cometbot dialogs list\n"
    )


def test_question_cannot_write_to_the_terminal_what_it_likes(shop: Shop) -> None:
    @shop.bot.command("ask")
    def ask(ctx: Context) -> str:
        return str(ctx.ask("\x1b[2J[red]Well?"))

    shop.send("/ask")
    for result in (run_command("dialogs", "list"), run_command("dialogs", "show", "m1")):
        assert "\x1b" not in result.output
        assert "[red]Well?" in result.output
