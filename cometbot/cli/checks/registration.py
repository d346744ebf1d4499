"""Checks of each bot's registration on CometChat against the code and the settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cometbot.bot import Bot
from cometbot.channels.cometchat.client import CometChatClient
from cometbot.channels.cometchat.group_setting import (
    ALL,
    MENTIONED,
    NOTHING,
    SLASHED,
    describe_lost_answers,
    find_required_group_setting,
)
from cometbot.channels.cometchat.provision import RegisteredBot, callback_url, has_user, list_bots
from cometbot.channels.cometchat.settings import get_cometchat_uid
from cometbot.cli.checks.http_client import redact_url
from cometbot.cli.checks.result import CheckResult, failed, for_bot, passed, skip_all, skipped
from cometbot.errors import ChannelError
from cometbot.settings import Credentials

MAX_BOTS = 25
"""CometChat's limit of bots per app."""

CHECK_NAMES = ("user", "bot", "enabled", "group setting", "callback URL", "callback credentials")

_COVERED_NEEDS = {
    NOTHING: frozenset({NOTHING}),
    SLASHED: frozenset({NOTHING, SLASHED}),
    # A message that mentions the bot can also be a command.
    MENTIONED: frozenset({NOTHING, SLASHED, MENTIONED}),
    ALL: frozenset({NOTHING, SLASHED, MENTIONED, ALL}),
}
"""The needs of handlers that each group setting covers."""


@dataclass(frozen=True, slots=True)
class ExpectedBot:
    """The expected registration of a bot.

    Without ``credentials``, CometChat calls it anonymously. ``url`` is the URL that CometChat should call, empty if
    only CometChat knows it. ``sync_command`` is the command that registers the bot this way. The server has the bot
    below each of ``paths``. ``app_option`` chooses its app in commands, empty if there is only one.
    """

    bot: Bot
    credentials: Credentials | None
    is_served: bool
    url: str
    sync_command: str
    paths: Sequence[str] = ("/cometchat",)
    app_option: str = ""

    @property
    def uid(self) -> str:
        """The bot's UID on CometChat."""
        return get_cometchat_uid(self.bot).lower()

    @property
    def sync_command_with_url(self) -> str:
        """``sync_command`` for a bot without a URL or with a wrong one.

        If ``url`` is empty it has a placeholder for the URL.
        """
        return self.sync_command if self.url else f"{self.sync_command} --url https://…"


def check_registration(
    client: CometChatClient, expected: Sequence[ExpectedBot]
) -> tuple[Mapping[str, RegisteredBot], list[CheckResult]]:
    """Check each bot's registration, and their number.

    Return the bots of ``expected`` that exist, by name, and the results.
    """
    try:
        listed = {found.uid.lower(): found for found in list_bots(client)}
        results = [_check_number(len(listed), [item.uid for item in expected if item.uid not in listed])]
        for item in expected:
            results += for_bot(item.bot.name, _check_bot(client, item, listed.get(item.uid)))
    except ChannelError as error:
        return {}, [failed("bots on CometChat", str(error), "try again; see also the lines above")]
    return {item.bot.name: listed[item.uid] for item in expected if item.uid in listed}, results


def _check_number(count: int, missing: Iterable[str]) -> CheckResult:
    name, names = "number of bots", ", ".join(missing)
    text = f"the app has {count} of {MAX_BOTS} bots"
    if names and count >= MAX_BOTS:
        return failed(name, f"{text}; no room for {names}", "cometbot bots delete UID of an unused bot")
    return passed(name, text)


def _check_bot(client: CometChatClient, expected: ExpectedBot, found: RegisteredBot | None) -> list[CheckResult]:
    uid, has_account = expected.uid, has_user(client, expected.uid)
    user = passed("user", uid)
    if found is None:
        if not has_account:
            remedy = (
                f"{expected.sync_command_with_url} (creates it), or cometbot users create {uid}{expected.app_option}"
            )
            user = failed("user", f"the user {uid} does not exist or is deactivated", remedy)
        cause = f"the user {uid} is not a bot" if has_account else f"no bot {uid}"
        bot = failed("bot", cause, expected.sync_command_with_url)
        return [user, bot, *skip_all(CHECK_NAMES[2:], "not a bot yet")]
    if not has_account:
        user = failed("user", f"the user {uid} is deactivated", "reactivate it in CometChat's dashboard")
    return [
        user,
        passed("bot", f"{uid} is registered"),
        _check_enabled(expected, found),
        _check_group_setting(expected, found),
        _check_url(expected, found),
        _check_credentials(expected, found),
    ]


def _check_enabled(expected: ExpectedBot, found: RegisteredBot) -> CheckResult:
    if found.enabled:
        return passed("enabled", "yes")
    remedy = f"{expected.sync_command}, or cometbot bots update {expected.uid} --enable{expected.app_option}"
    return failed("enabled", "no: CometChat sends it nothing", remedy)


def _check_group_setting(expected: ExpectedBot, found: RegisteredBot) -> CheckResult:
    line, need = "group setting", find_required_group_setting(expected.bot)
    setting = found.group_setting
    if not covers_need(setting, need.setting):
        cause = f"expected {need.setting}, which {need.handler} needs, got {setting}"
        return failed(line, cause, expected.sync_command)
    note = "" if setting == need.setting else f"; the handlers only need {need.setting}"
    lost = describe_lost_answers(setting, expected.bot)
    return passed(line, f"{setting}{note}{f'; {lost}' if lost else ''}")


def covers_need(setting: str, need: str) -> bool:
    """Return True if a bot with the group setting ``setting`` receives what handlers with the need ``need`` handle."""
    return need in _COVERED_NEEDS.get(setting, frozenset())


def _check_url(expected: ExpectedBot, found: RegisteredBot) -> CheckResult:
    line, name = "callback URL", expected.bot.name
    if not expected.url:
        if found.url.rstrip("/").endswith((*(f"{path}/{name}" for path in expected.paths), *expected.paths)):
            return passed(line, redact_url(found.url))
        cause = f"expected a URL that ends in {expected.paths[0]}/{name}, got {redact_url(found.url)}"
        return failed(line, cause, expected.sync_command_with_url)
    server = expected.url.removesuffix(f"{expected.paths[0]}/{name}")
    served = [f"{server}{path}{end}" for path in expected.paths for end in ("", f"/{name}")]
    if found.url.rstrip("/") in (expected.url, *served):
        return passed(line, redact_url(found.url))
    cause = f"expected {redact_url(expected.url)}, got {redact_url(found.url)}"
    return failed(line, cause, expected.sync_command)


def _check_credentials(expected: ExpectedBot, found: RegisteredBot) -> CheckResult:
    line, given = "callback credentials", expected.credentials
    if given is None:
        why = "callbacks are open to anyone" if expected.is_served else "the bot has none, see its callback settings"
        return skipped(line, why)
    if not found.uses_basic_auth:
        return failed(line, "CometChat sends none, so its callbacks are rejected", expected.sync_command)
    wrong = "user name" if found.username != given.username else "password" if found.password != given.password else ""
    if wrong == "password" and given.previous and found.password == given.previous:
        return passed(line, f"CometChat still has the previous password; to set the new one: {expected.sync_command}")
    if wrong:
        return failed(line, f"CometChat has a different {wrong} than the settings", expected.sync_command)
    if given.previous:
        return passed(line, "the same on CometChat and in the settings; the previous password is not needed any more")
    return passed(line, "the same on CometChat and in the settings")


def find_callback_url(bot: Bot, base: str, found: RegisteredBot | None, root: str = "/cometchat") -> str:
    """Return the URL that CometChat calls for ``bot``: from ``base``, else as registered, else ""."""
    if base:
        return callback_url(base, bot.name, root)
    return found.url if found is not None else ""
