"""Which messages of groups a bot's handlers need."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cometbot import ActionEvent, Bot, DeleteEvent, Event, Group, MembershipEvent, MessageEvent, Router
from cometbot.channels.cometchat.group_setting import (
    describe_lost_answers,
    find_required_group_setting,
    group_setting_needed,
)
from cometbot.channels.cometchat.operations import GROUP_SETTINGS
from cometbot.matchers import (
    any_message,
    contains,
    direct,
    has_attachment,
    in_group,
    in_thread,
    mentioned,
    of_type,
    sent_by,
    text,
)


def handler(ctx: Any) -> None:
    """Does nothing."""


def is_urgent(ctx: Any) -> bool:
    return False


def needed(*matchers: Any) -> str:
    bot = Bot("shop")
    bot.message(*matchers)(handler)
    return group_setting_needed(bot)


@pytest.mark.parametrize(
    "matcher",
    [direct, ~in_group, direct & text("hi"), in_group & direct, ~any_message, ~(in_group | mentioned) & direct],
)
def test_setting_handlers_fit_no_message_of_groups_it_is_none(matcher: Any) -> None:
    assert needed(matcher) == "none"


@pytest.mark.parametrize(
    "matcher",
    [
        mentioned,
        in_group & mentioned,
        direct | mentioned,
        in_group("ops-room") & mentioned & text("hi"),
        (in_group & mentioned) | text("hi"),
        text("hi"),
        re.compile("hi"),
        any_message,
        of_type("image"),
        has_attachment,
        in_thread,
        sent_by("tom"),
        contains("hi") & ~sent_by("tom"),
        ~in_group("ops-room"),
        is_urgent,
    ],
)
def test_handlers_reached_by_mention_need_mentioned_messages(matcher: Any) -> None:
    assert needed(matcher) == "mentionedMessages"


@pytest.mark.parametrize(
    "matcher",
    [
        in_group,
        in_group("ops-room"),
        in_group & text("hi"),
        in_group("ops-room") | direct,
        ~direct,
        ~mentioned,
        in_group & ~mentioned,
        direct | in_group,
        in_group & ~in_group("ops-room"),
        in_group & is_urgent,
    ],
)
def test_handlers_without_mention_need_all_messages(matcher: Any) -> None:
    assert needed(matcher) == "allMessages"


def test_setting_there_is_no_handler_it_is_none() -> None:
    assert group_setting_needed(Bot("shop", description="Sells shoes.")) == "none"


def test_only_commands_need_slashed_messages() -> None:
    bot = Bot("shop")
    bot.command("track")(handler)
    bot.message(direct)(handler)
    assert group_setting_needed(bot) == "slashedMessages"


def test_commands_and_others_need_mentioned_messages() -> None:
    bot = Bot("shop")
    bot.command("track")(handler)
    bot.fallback(handler)
    need = find_required_group_setting(bot)
    assert (need.setting, need.commands) == ("mentionedMessages", ("track",))
    assert need.handler.endswith("handler")


@pytest.mark.parametrize("kinds", [(MembershipEvent,), (MembershipEvent, DeleteEvent)])
def test_setting_events_that_are_no_messages_need_none(kinds: Any) -> None:
    bot = Bot("shop")
    bot.event(*kinds)(handler)
    assert group_setting_needed(bot) == "none"


@pytest.mark.parametrize("kind", [Event, MessageEvent, ActionEvent])
def test_setting_events_that_are_messages_need_a_mention(kind: Any) -> None:
    bot = Bot("shop")
    bot.event(kind)(handler)
    assert group_setting_needed(bot) == "mentionedMessages"


def test_actions_need_mentioned_messages() -> None:
    bot = Bot("shop")
    bot.action("buy")(handler)
    assert group_setting_needed(bot) == "mentionedMessages"


def test_setting_handlers_of_routers_count() -> None:
    bot, router = Bot("shop"), Router()
    router.message(in_group)(handler)
    bot.include(router)
    assert group_setting_needed(bot) == "allMessages"


def test_need_a_function_decides_it_is_named() -> None:
    bot = Bot("shop")
    bot.message(is_urgent)(handler)
    bot.message(direct & is_urgent)(handler)
    assert [name.rpartition(".")[2] for name in find_required_group_setting(bot).opaque] == ["handler"]
    bot.message(in_group)(handler)
    assert find_required_group_setting(bot).opaque == ()


def ask(ctx: Any) -> Any:
    return ctx.ask("Which?")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("mentionedMessages", "only answers that mention the bot, and pressed buttons"),
        ("slashedMessages", "only answers that begin with a slash, and pressed buttons"),
        ("allMessages", ""),
        ("none", ""),
    ],
)
def test_lost_answers_are_described(setting: str, words: str) -> None:
    bot = Bot("shop")
    bot.command("track")(handler)
    bot.command("order")(ask)
    found = describe_lost_answers(setting, bot)
    assert words in found
    assert ("ask may ask in groups" in found) is bool(words)


def test_no_answers_are_lost_where_nobody_asks_in_groups() -> None:
    bot = Bot("shop")
    bot.command("track")(handler)
    bot.message(direct)(ask)
    assert describe_lost_answers("mentionedMessages", bot) == ""


def test_command_line_offers_the_settings_that_cometchat_has() -> None:
    from cometbot.cli.bots import GROUP_SETTINGS as OFFERED

    assert OFFERED == GROUP_SETTINGS


def test_bot_that_asks_a_group_about_an_event_needs_mentions() -> None:
    bot = Bot("guard")
    bot.event(DeleteEvent)(handler)
    assert group_setting_needed(bot) == "none"

    @bot.event(MembershipEvent)
    def ask(ctx: Any) -> None:
        ctx.approve("Keep them?", to=Group("moderators"))

    assert group_setting_needed(bot) == "mentionedMessages"
