"""The command menu, from the commands of a bot."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from cometbot import Bot, Router
from cometbot.channels.simplex.command_menu import LABEL_LIMIT, MENU_LIMIT, is_same_menu, make_menu
from tests.simplex_reference import find_errors

HELP = {"type": "command", "keyword": "help", "label": "Help"}


def add(bot: Any, name: str, description: str = "", **options: Any) -> None:
    @bot.command(name, description=description, **options)
    def handler(ctx: Any) -> None: ...


def test_menu_is_in_registration_order_then_help() -> None:
    bot = Bot("helpdesk")
    add(bot, "track", "Track an order")
    add(bot, "hours")
    add(bot, "hidden", hidden=True)
    assert make_menu(bot) == [
        {"type": "command", "keyword": "track", "label": "Track an order"},
        {"type": "command", "keyword": "hours", "label": "Hours"},
        HELP,
    ]


def test_menu_without_commands_and_with_own_help() -> None:
    bot = Bot("helpdesk", description="Helps.")
    assert make_menu(bot) == []
    add(bot, "help", "What I can do")
    assert make_menu(bot) == [{"type": "command", "keyword": "help", "label": "What I can do"}]


def test_required_parameters_are_in_the_menu() -> None:
    bot = Bot("helpdesk")

    @bot.command("remind", description="Reminds you.")
    def remind(ctx: Any, minutes: int, *, what: str) -> None: ...

    @bot.command("stretch", description="Reminds you to stretch.")
    def stretch(ctx: Any, minutes: int = 10) -> None: ...

    first, second, _ = make_menu(bot)
    assert first["params"] == "<minutes> <what>"
    assert "params" not in second


def test_commands_with_common_prefix_are_nested() -> None:
    bot = Bot("shop")
    orders = Router()
    for name in ("track", "list", "item_add", "item_drop"):
        add(orders, name)
    bot.include(orders, prefix="order_")
    add(bot, "hours")
    menu = make_menu(bot)
    assert [(entry["type"], entry["label"]) for entry in menu] == [
        ("menu", "Order"),
        ("command", "Hours"),
        ("command", "Help"),
    ]
    inner = menu[0]["commands"]
    assert [entry.get("keyword", entry["label"]) for entry in inner] == ["order_track", "order_list", "Item"]
    assert [entry["keyword"] for entry in inner[2]["commands"]] == ["order_item_add", "order_item_drop"]
    assert find_errors(menu, "[ChatBotCommand]") == []


def test_a_command_beside_its_family_stands_in_the_same_menu() -> None:
    bot = Bot("shop")
    for name in ("order", "order_track", "_x", "_y"):
        add(bot, name)
    menu = make_menu(bot)
    assert [entry["keyword"] for entry in menu[0]["commands"]] == ["order", "order_track"]
    assert [entry.get("keyword") for entry in menu[1:]] == ["_x", "_y", "help"]


def test_invalid_name_uses_alias_or_is_omitted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bot = Bot("shop")

    @bot.command("opening-hours", "hours")
    def hours(ctx: Any) -> None: ...

    add(bot, "sign-off")
    with caplog.at_level(logging.WARNING):
        assert [entry["keyword"] for entry in make_menu(bot)] == ["hours", "help"]
    assert "sign-off" in caplog.text


def test_oversized_menu_is_cut_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    bot = Bot("shop")
    for number in range(200):
        add(bot, f"command{number}", "x" * 300)
    with caplog.at_level(logging.WARNING):
        menu = make_menu(bot)
    assert len(json.dumps(menu, separators=(",", ":"))) <= MENU_LIMIT
    assert 20 < len(menu) < 200
    assert all(len(entry["label"]) <= LABEL_LIMIT for entry in menu)
    assert f"room for {len(menu)} of 201 commands" in caplog.text


@pytest.mark.parametrize(
    ("given", "is_same"),
    [
        ([{"type": "command", "keyword": "help", "label": "Help"}], True),
        ([{"type": "command", "keyword": "help", "label": "Help", "params": None, "icon": "?"}], True),
        ([{"type": "command", "keyword": "help", "label": "Help", "params": ""}], False),
        ([{"type": "command", "keyword": "help", "label": "More"}], False),
        ([], False),
        (None, False),
        ("help", False),
        (["help"], False),
        ([{"type": "menu", "label": "Help", "commands": []}], False),
    ],
)
def test_menus_are_compared_by_known_fields(given: object, is_same: bool) -> None:
    assert is_same_menu(given, [{"type": "command", "keyword": "help", "label": "Help"}]) is is_same


def test_nested_menus_are_compared_by_known_fields() -> None:
    inner = {"type": "command", "keyword": "list", "label": "List"}
    menu = [{"type": "menu", "label": "Orders", "commands": [inner]}]
    assert is_same_menu([{**menu[0], "commands": [{**inner, "new": 1}], "new": None}], menu)
    assert not is_same_menu([{**menu[0], "commands": []}], menu)
    assert is_same_menu(None, [])
