"""``cometbot approvals`` over real databases."""

from __future__ import annotations

import dataclasses

import pytest

from cometbot import Context, Field, Form, Text
from tests.integration.cli.conftest import Shop, on_both_databases, read_json, run_command

pytestmark = on_both_databases


def test_list_shows_what_waits_and_for_whom(shop: Shop) -> None:
    assert run_command("approvals", "list").output == "No approvals.\n"
    assert run_command("approvals", "list", "--bot", "shop").output == "No approvals of the bot shop.\n"
    shop.send("/refund 30")
    assert read_json("approvals", "list") == []  # it waits for an answer
    shop.send("yes")
    shop.send("/refund 300", user="eve")
    shop.send("yes", user="eve")

    lines = {line.split()[0]: line for line in run_command("approvals", "list").output.splitlines() if line.strip()}
    assert lines["2"].split()[1:4] == ["m1", "shop", "maria"]
    assert "all there" in lines["2"]
    assert lines["2"].rstrip().endswith("Refund 30 €?")
    assert "tom, ann" in lines["4"]
    newest, oldest = read_json("approvals", "list")
    assert (newest["number"], newest["dialog"], newest["user"], newest["by"]) == (4, "m3", "eve", ["tom", "ann"])
    assert (oldest["card_channel"], oldest["card_in"], oldest["by"]) == ("fake", "group_managers", [])
    assert oldest["expires_at"] == pytest.approx(oldest["since"] + 86400, abs=5)

    shop.send("approve 2", user="tom", group="managers")
    assert [item["number"] for item in read_json("approvals", "list")] == [4]


def test_dialogs_name_the_approval_that_they_wait_for(shop: Shop) -> None:
    shop.send("/refund 300")
    shop.send("yes")

    assert "approve 2: Refund 300 €?" in run_command("dialogs", "list").output
    output = run_command("dialogs", "show", "m1").output
    assert "waits for     approve 2: Refund 300 €?\n" in output
    assert "decided by    tom, ann in fake: group_managers\n" in output


def test_answer_that_looks_like_an_approval_is_none(shop: Shop) -> None:
    @shop.bot.command
    def plan(ctx: Context) -> str:
        return str(ctx.ask(Form("Plan", [Field("kind"), Field("day")])))

    shop.channel.capabilities = dataclasses.replace(shop.channel.capabilities, native=frozenset({Text}))
    shop.send("/plan")
    shop.send("approve")
    assert read_json("approvals", "list") == []
    [dialog] = read_json("dialogs", "list")
    assert dialog["kind"] == "ask"
