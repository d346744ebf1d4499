"""Which messages of groups a bot's handlers can want: CometChat's ``groupChatSetting``, told from the code."""

from __future__ import annotations

from dataclasses import dataclass

from cometbot.bot import Bot
from cometbot.channels.cometchat.operations import GROUP_SETTINGS
from cometbot.handlers import Handler
from cometbot.matchers import DIRECT, MENTIONING, UNMENTIONED

NOTHING, ALL, SLASHED, MENTIONED = GROUP_SETTINGS


@dataclass(frozen=True, slots=True)
class RequiredGroupSetting:
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
    return find_required_group_setting(bot).setting


def find_required_group_setting(bot: Bot) -> RequiredGroupSetting:
    """The setting of :func:`group_setting_needed`, with the reasons."""
    requirements = [(handler, _find_required_setting(handler)) for handler in bot.handlers]
    setting = next(
        (item for item in (ALL, MENTIONED, SLASHED) if any(item == other for _, other in requirements)), NOTHING
    )
    reason = next((handler.name for handler, required in requirements if required == setting), "")
    opaque_handlers = [
        handler.name for handler, required in requirements if handler.matcher.scope.is_opaque and required != NOTHING
    ]
    return RequiredGroupSetting(
        setting,
        handler=reason if setting != NOTHING else "",
        commands=tuple(command.name for command in bot.commands) if setting == MENTIONED else (),
        opaque=tuple(opaque_handlers) if setting != ALL else (),
    )


def _find_required_setting(handler: Handler) -> str:
    if handler.kind == "command":
        return SLASHED
    scope = handler.matcher.scope
    if scope.possible <= {DIRECT}:
        return NOTHING
    if UNMENTIONED in scope.possible and (
        scope.refers_to_groups or DIRECT not in scope.possible or MENTIONING not in scope.possible
    ):
        return ALL
    return MENTIONED
