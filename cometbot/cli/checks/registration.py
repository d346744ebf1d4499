"""Each bot as CometChat has it, against what the code and the settings say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cometbot.bot import Bot
from cometbot.channels.cometchat.channel import uid_of
from cometbot.channels.cometchat.client import CometChatClient
from cometbot.channels.cometchat.group_setting import ALL, MENTIONED, NOTHING, SLASHED, find_group_need
from cometbot.channels.cometchat.provision import RegisteredBot, callback_url, has_user, list_bots
from cometbot.cli.checks.client import shown_url
from cometbot.cli.checks.result import Result, failed, passed, skipped
from cometbot.errors import ChannelError
from cometbot.settings import Credentials

MOST_BOTS = 25
"""What CometChat lets an app have."""

NAMES = ("user", "bot", "enabled", "group setting", "callback URL", "callback credentials")

_SUITS = {
    NOTHING: frozenset({NOTHING}),
    SLASHED: frozenset({NOTHING, SLASHED}),
    # Who mentions the bot reaches its commands as well.
    MENTIONED: frozenset({NOTHING, SLASHED, MENTIONED}),
    ALL: frozenset({NOTHING, SLASHED, MENTIONED, ALL}),
}
"""By group setting: what handlers may need for it to do."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a bot shall be registered. ``sync`` is the command that makes it so; ``credentials`` None: it calls without.

    ``url`` is where CometChat shall call, empty where only CometChat knows that.
    """

    bot: Bot
    credentials: Credentials | None
    is_open: bool
    url: str
    sync: str

    @property
    def uid(self) -> str:
        """The bot's UID on CometChat."""
        return uid_of(self.bot).lower()

    @property
    def locate(self) -> str:
        """The same for a bot without a URL, or with a wrong one: to be filled in where nothing here says it."""
        return self.sync if self.url else f"{self.sync} --url https://…"


def check_registration(
    client: CometChatClient, wanted: Sequence[Wanted]
) -> tuple[Mapping[str, RegisteredBot], list[Result]]:
    """The bots of ``wanted`` that CometChat has, by name, and the lines about them and about their number."""
    try:
        listed = {found.uid.lower(): found for found in list_bots(client)}
        results = [_check_number(len(listed), [item.uid for item in wanted if item.uid not in listed])]
        for item in wanted:
            results += _check_bot(client, item, listed.get(item.uid))
    except ChannelError as error:
        return {}, [failed("bots on CometChat", str(error), "try again, and look at the lines above")]
    return {item.bot.name: listed[item.uid] for item in wanted if item.uid in listed}, results


def _check_number(count: int, missing: Iterable[str]) -> Result:
    name, names = "number of bots", ", ".join(missing)
    text = f"the app has {count} of {MOST_BOTS} bots"
    if names and count >= MOST_BOTS:
        return failed(name, f"{text}, and there is no room for {names}", "cometbot bots delete one that nobody needs")
    return passed(name, text)


def _check_bot(client: CometChatClient, wanted: Wanted, found: RegisteredBot | None) -> list[Result]:
    name, uid = wanted.bot.name, wanted.uid
    if found is None:
        is_there = has_user(client, uid)
        user = passed("user", uid, bot=name)
        if not is_there:
            cause = f"there is no user {uid}, or it is deactivated"
            user = failed("user", cause, f"{wanted.locate} (makes it), or cometbot users create {uid}", bot=name)
        bot = failed(
            "bot", f"the user {uid} is no bot" if is_there else f"there is no bot {uid}", wanted.locate, bot=name
        )
        return [user, bot, *(skipped(line, "it is no bot yet", bot=name) for line in NAMES[2:])]
    user = passed("user", uid, bot=name)
    if not has_user(client, uid):
        user = failed("user", f"the user {uid} is deactivated", "reactivate it in CometChat's dashboard", bot=name)
    return [
        user,
        passed("bot", f"{uid} is registered", bot=name),
        _check_enabled(wanted, found),
        _check_group_setting(wanted, found),
        _check_url(wanted, found),
        _check_credentials(wanted, found),
    ]


def _check_enabled(wanted: Wanted, found: RegisteredBot) -> Result:
    name = wanted.bot.name
    if found.enabled:
        return passed("enabled", "yes", bot=name)
    cause = "no: CometChat relays nothing to it"
    return failed("enabled", cause, f"{wanted.sync}, or cometbot bots update {wanted.uid} --enable", bot=name)


def _check_group_setting(wanted: Wanted, found: RegisteredBot) -> Result:
    line, name, need = "group setting", wanted.bot.name, find_group_need(wanted.bot)
    has = found.group_setting
    if not suits(has, need.setting):
        cause = f"CometChat relays {has}, and {need.handler} needs {need.setting}"
        return failed(line, cause, wanted.sync, bot=name)
    note = "" if has == need.setting else f"; the handlers need no more than {need.setting}"
    return passed(line, f"{has}{note}", bot=name)


def suits(has: str, needed: str) -> bool:
    """Whether a bot with the group setting ``has`` gets what handlers with the need ``needed`` are for."""
    return needed in _SUITS.get(has, frozenset())


def _check_url(wanted: Wanted, found: RegisteredBot) -> Result:
    line, name = "callback URL", wanted.bot.name
    if not wanted.url:
        if found.url.rstrip("/").endswith((f"/cometchat/{name}", "/cometchat")):
            return passed(line, shown_url(found.url), bot=name)
        cause = f"CometChat calls {shown_url(found.url)}, which does not end in /cometchat/{name}"
        return failed(line, cause, wanted.locate, bot=name)
    shared = wanted.url.removesuffix(f"/{name}")
    if found.url.rstrip("/") in (wanted.url, shared):
        return passed(line, shown_url(found.url), bot=name)
    cause = f"CometChat calls {shown_url(found.url)}, not {shown_url(wanted.url)}"
    return failed(line, cause, wanted.sync, bot=name)


def _check_credentials(wanted: Wanted, found: RegisteredBot) -> Result:
    line, name, given = "callback credentials", wanted.bot.name, wanted.credentials
    if given is None:
        why = "callbacks are open to anybody" if wanted.is_open else "the bot has none, see its callback settings"
        return skipped(line, why, bot=name)
    if not found.uses_login:
        return failed(line, "CometChat calls without any, and is refused", wanted.sync, bot=name)
    wrong = "user name" if found.username != given.username else "password" if found.password != given.password else ""
    if wrong:
        return failed(line, f"CometChat has another {wrong} than the settings", wanted.sync, bot=name)
    return passed(line, "CometChat has those of the settings", bot=name)


def place_of(bot: Bot, base: str, found: RegisteredBot | None) -> str:
    """Where CometChat calls ``bot``: as ``base`` says, else as CometChat says; empty where neither does."""
    if base:
        return callback_url(base, bot.name)
    return found.url if found is not None else ""
