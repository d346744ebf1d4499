"""Which messages of groups a bot's handlers can want: CometChat's ``groupChatSetting``, told from the code."""

from __future__ import annotations

from dataclasses import dataclass

from cometbot.bot import Bot
from cometbot.channels.cometchat.operations import GROUP_SETTINGS
from cometbot.handlers import Handler
from cometbot.matchers import DIRECT, NAMING, OTHER

NOTHING, ALL, SLASHED, MENTIONED = GROUP_SETTINGS


@dataclass(frozen=True, slots=True)
class GroupNeed:
    """The narrowest group setting with which every handler can be reached, and why.

    ``handler`` is the first that wants no less. ``commands`` are those that need a mention in groups then, since their
    slash alone is not relayed. ``opaque`` are handlers whose matcher is a function: if it asks for messages of groups
    that do not mention the bot, that cannot be seen.
    """

    setting: str
    handler: str = ""
    commands: tuple[str, ...] = ()
    opaque: tuple[str, ...] = ()


def group_setting_needed(bot: Bot) -> str:
    """The narrowest ``groupChatSetting`` with which every handler of ``bot`` can be reached in groups.

    ``allMessages`` only where a handler asks for messages of groups that do not mention the bot (``in_group``,
    ``~mentioned``); ``slashedMessages`` where groups can reach nothing but commands; ``mentionedMessages`` for
    everything else, since who mentions the bot reaches commands as well; ``none`` where all is one-to-one. The values
    are in docs/protocols/cometchat.md, "Group setting".
    """
    return find_group_need(bot).setting


def find_group_need(bot: Bot) -> GroupNeed:
    """The setting of :func:`group_setting_needed`, with the reasons."""
    wanted = [(handler, _setting_of(handler)) for handler in bot.handlers]
    setting = next((item for item in (ALL, MENTIONED, SLASHED) if any(item == other for _, other in wanted)), NOTHING)
    reason = next((handler.name for handler, own in wanted if own == setting), "")
    unseen = [handler.name for handler, own in wanted if handler.matcher.reach.is_opaque and own != NOTHING]
    return GroupNeed(
        setting,
        handler=reason if setting != NOTHING else "",
        commands=tuple(command.name for command in bot.commands) if setting == MENTIONED else (),
        opaque=tuple(unseen) if setting != ALL else (),
    )


def _setting_of(handler: Handler) -> str:
    if handler.kind == "command":
        return SLASHED
    reach = handler.matcher.reach
    if reach.may <= {DIRECT}:
        return NOTHING
    if OTHER in reach.may and (reach.names_groups or DIRECT not in reach.may or NAMING not in reach.may):
        return ALL
    return MENTIONED
