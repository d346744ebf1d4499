"""Determines the ``groupChatSetting`` that a bot needs on CometChat from its handlers."""

from __future__ import annotations

from dataclasses import dataclass

from cometbot.bot import Bot
from cometbot.called_names import may_call
from cometbot.channels.cometchat.operations import GROUP_SETTINGS
from cometbot.handlers import Handler
from cometbot.matchers import DIRECT, MENTIONING, UNMENTIONED

NOTHING, ALL, SLASHED, MENTIONED = GROUP_SETTINGS


@dataclass(frozen=True, slots=True)
class RequiredGroupSetting:
    """The narrowest group setting with which every handler can be reached, and the reasons.

    ``handler`` is the first handler that needs it. ``commands`` are the commands that need a mention in groups then,
    because a slash alone is not relayed. ``opaque`` are handlers whose matcher is a function: it may match messages in
    groups that do not mention the bot, which cannot be determined from the code.
    """

    setting: str
    handler: str = ""
    commands: tuple[str, ...] = ()
    opaque: tuple[str, ...] = ()


def group_setting_needed(bot: Bot) -> str:
    """Return the narrowest ``groupChatSetting`` with which every handler of ``bot`` can be reached in groups.

    ``allMessages`` if a handler matches messages in groups that do not mention the bot (``in_group``, ``~mentioned``);
    ``slashedMessages`` if only commands can be reached from groups; ``none`` if all handlers are for one-to-one chats;
    else ``mentionedMessages``, because a message that mentions the bot can also be a command. The values are described
    in docs/protocols/cometchat.md, "Group setting".
    """
    return find_required_group_setting(bot).setting


def find_required_group_setting(bot: Bot) -> RequiredGroupSetting:
    """Return the setting of :func:`group_setting_needed` with the reasons."""
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


def describe_lost_answers(setting: str, bot: Bot) -> str:
    """Return which answers of groups a bot with this group setting does not get; empty if its handlers ask none."""
    asking = _find_asking_handler(bot) if setting in (SLASHED, MENTIONED) else ""
    if not asking:
        return ""
    relayed = "mention the bot" if setting == MENTIONED else "begin with a slash"
    return (
        f"{asking} may ask in groups, and CometChat relays only answers that {relayed}, and pressed buttons; "
        f"{ALL} relays all"
    )


def _find_required_setting(handler: Handler) -> str:
    if handler.kind == "command":
        return SLASHED
    scope = handler.matcher.scope
    if scope.possible <= {DIRECT}:
        asks_groups = any(may_call(handler.function, name) for name in ("approve", "hand_off"))
        return MENTIONED if asks_groups else NOTHING
    if UNMENTIONED in scope.possible and (
        scope.refers_to_groups or DIRECT not in scope.possible or MENTIONING not in scope.possible
    ):
        return ALL
    return MENTIONED


def _find_asking_handler(bot: Bot) -> str:
    """Return the first handler that can be reached in groups and may ask there, or an empty name."""
    in_groups = (handler for handler in bot.handlers if _find_required_setting(handler) != NOTHING)
    return next((handler.name for handler in in_groups if may_call(handler.function, "ask")), "")
