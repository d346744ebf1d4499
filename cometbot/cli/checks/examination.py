"""All checks, in the order of the chain that a message takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cometbot.bot import Bot
from cometbot.channels.cometchat.channel import uid_of
from cometbot.channels.cometchat.provision import RegisteredBot
from cometbot.cli.checks import callback, platform, registration
from cometbot.cli.checks.callback import Callback, check_callbacks
from cometbot.cli.checks.client import Caller
from cometbot.cli.checks.code import check_bots, check_callers, check_settings
from cometbot.cli.checks.files import check_files
from cometbot.cli.checks.open_files import check_open_files
from cometbot.cli.checks.platform import check_platform
from cometbot.cli.checks.registration import Wanted, check_registration, place_of
from cometbot.cli.checks.result import Result, skipped
from cometbot.cli.checks.store import check_store
from cometbot.settings import Credentials, Settings
from cometbot.store.glance import place_of as database_place

Logins = Mapping[str, Credentials | None]


@dataclass(frozen=True)
class Examination:
    """The whole chain, from the settings to the callback at its real URL.

    ``spec`` names the bots (empty: as COMETBOT_BOT says); ``url`` is where CometChat reaches the service (empty: as
    COMETBOT_PUBLIC_URL says, else as CometChat has it). Nothing is changed, stored or sent to anybody.
    """

    spec: str = ""
    url: str = ""
    caller: Caller = field(default_factory=Caller)
    now: Callable[[], float] = time.time

    def results(self) -> list[Result]:
        """One line a check, none of them with a secret in it."""
        settings, first = check_settings()
        if settings is None:
            names = ("bots", "database", *platform.NAMES, *registration.NAMES, *callback.NAMES)
            return [first, *_skip(names, "the settings are wrong")]
        bots, second = check_bots(settings, self.spec or settings.named_bot)
        logins, callers = check_callers(settings, bots) if "cometchat" in settings.channels else ({}, [])
        store = [*check_store(settings), check_files(settings), check_open_files(settings)]
        lines = [first, second, *callers, *store, *self._check_cometchat(settings, bots, logins)]
        hidden = list(_secrets(settings, logins))
        return [line.masked(hidden) for line in lines]

    def _check_cometchat(self, settings: Settings, bots: Sequence[Bot], logins: Logins) -> list[Result]:
        if "cometchat" not in settings.channels:
            return [skipped("CometChat", "COMETBOT_CHANNELS does not name it")]
        found = check_platform(settings, self.caller, now=self.now)
        lines = found.results
        if not bots:
            return [*lines, *_skip((*registration.NAMES, *callback.NAMES), "no bot can be loaded")]
        registered: Mapping[str, RegisteredBot] = {}
        if found.client is None:
            lines += _skip(registration.NAMES, "CometChat cannot be asked, see above")
        else:
            try:
                registered, more = check_registration(found.client, list(self._wanted(settings, bots, logins)))
            finally:
                found.client.close()
            lines += more
        return [*lines, *self._check_callbacks(settings, bots, logins, registered)]

    def _wanted(self, settings: Settings, bots: Sequence[Bot], logins: Logins) -> Iterator[Wanted]:
        base = self.url or settings.public_url
        spec = f" {self.spec}" if self.spec else ""
        for bot in bots:
            yield Wanted(
                bot,
                logins.get(bot.name),
                is_open=bot.name in logins,
                url=place_of(bot, base, None),
                sync=f"cometbot bots sync{spec}{f' --url {self.url}' if self.url else ''}",
            )

    def _check_callbacks(
        self, settings: Settings, bots: Sequence[Bot], logins: Logins, registered: Mapping[str, RegisteredBot]
    ) -> list[Result]:
        lines: list[Result] = []
        called: list[Callback] = []
        for bot in bots:
            url = place_of(bot, self.url or settings.public_url, registered.get(bot.name))
            if bot.name not in logins:
                lines += _skip(callback.NAMES, "the bot is not served, see its callback settings", bot.name)
            elif not url:
                lines += _skip(callback.NAMES, "the URL is not known: add --url, or set COMETBOT_PUBLIC_URL", bot.name)
            else:
                uid = uid_of(bot).lower()
                called.append(Callback(bot.name, uid, settings.cometchat_app_id, url, logins[bot.name]))
        return [*lines, *check_callbacks(called, self.caller, _api_url(settings))]


def _api_url(settings: Settings) -> str:
    """Where CometChat is, as far as that says who may be called; a real one where it is not known."""
    return settings.cometchat_api_url or "https://api.cometchat.io/v3"


def _secrets(settings: Settings, logins: Logins) -> Iterator[str]:
    """What may be in no line: the key and the passwords, also that in the URL of the database."""
    yield settings.cometchat_api_key.reveal()
    yield database_place(settings.database_url).password
    yield settings.secret_key.reveal()
    yield from (login.password.reveal() for login in logins.values() if login is not None)
    yield from (login.password.reveal() for login in settings.bot_credentials.values())
    yield settings.callback_password.reveal()


def _skip(names: Sequence[str], why: str, bot: str = "") -> list[Result]:
    return [skipped(name, why, bot=bot) for name in names]
