"""All checks, in the order of a message's path."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from cometbot.bot import Bot
from cometbot.channels.cometchat.provision import RegisteredBot
from cometbot.channels.cometchat.settings import get_cometchat_uid
from cometbot.cli._account import make_account_client
from cometbot.cli.checks import agents, callback, cometchat, registration
from cometbot.cli.checks.callback import CallbackTarget, check_callbacks, check_server, get_origin
from cometbot.cli.checks.cometchat import check_cometchat
from cometbot.cli.checks.configuration import check_bots, check_callback_credentials, check_settings
from cometbot.cli.checks.database import check_database
from cometbot.cli.checks.files import check_file_permissions, check_open_files
from cometbot.cli.checks.http_client import CheckClient
from cometbot.cli.checks.registration import ExpectedBot, check_registration, find_callback_url
from cometbot.cli.checks.result import CheckResult, failed, for_bot, skip_all, skipped
from cometbot.cli.checks.sent_files import check_files_route
from cometbot.errors import ConfigurationError
from cometbot.settings import Credentials, Settings
from cometbot.store.probe import locate_database as locate_database

CredentialsByBot = Mapping[str, Credentials | None]


@dataclass(frozen=True)
class CheckSuite:
    """All checks, from the settings to the callback at its public URL.

    ``spec`` names the bots (empty: those of COMETBOT_BOT). ``url`` is where CometChat reaches the service (empty:
    COMETBOT_PUBLIC_URL, else the registered URL). Nothing is changed, stored or sent to anybody.
    """

    spec: str = ""
    url: str = ""
    client: CheckClient = field(default_factory=CheckClient)
    now: Callable[[], float] = time.time

    def run(self) -> list[CheckResult]:
        """Run all checks and return their results, without secrets."""
        settings, first = check_settings()
        if settings is None:
            names = ("bots", "database", *cometchat.CHECK_NAMES, *registration.CHECK_NAMES, *callback.CHECK_NAMES)
            return [first, *skip_all(names, "the settings are invalid")]
        bots, second = check_bots(settings, self.spec or settings.default_bot_spec)
        logins, callers = check_callback_credentials(settings, bots) if "cometchat" in settings.channels else ({}, [])
        store = [*check_database(settings), check_file_permissions(settings), check_open_files(settings)]
        lines = [first, second, *callers, *store, *self._check_cometchat(settings, bots, logins)]
        lines.append(check_files_route(self.url or settings.public_url, self.client))
        if "agui" in settings.channels:
            lines += self._check_agents(settings, bots)
        hidden = list(_secret_values(settings, logins))
        return [line.masked(hidden) for line in lines]

    def _check_cometchat(self, settings: Settings, bots: Sequence[Bot], logins: CredentialsByBot) -> list[CheckResult]:
        if "cometchat" not in settings.channels:
            return [skipped("CometChat", "not in COMETBOT_CHANNELS")]
        found = check_cometchat(settings, self.client, now=self.now)
        lines = found.results
        if not bots:
            return [*lines, *skip_all((*registration.CHECK_NAMES, *callback.CHECK_NAMES), "no bot can be loaded")]
        registered: Mapping[str, RegisteredBot] = {}
        if found.client is None:
            lines += skip_all(registration.CHECK_NAMES, "CometChat cannot be queried, see above")
        else:
            try:
                registered, more = check_registration(found.client, list(self._expected_bots(settings, bots, logins)))
            finally:
                found.client.close()
            lines += more
        return [*lines, *self._check_callbacks(settings, bots, logins, registered)]

    def _check_agents(self, settings: Settings, bots: Sequence[Bot]) -> list[CheckResult]:
        if not settings.agui_token:
            remedy = 'set AGUI_TOKEN in .env, for example to what "openssl rand -hex 32" prints'
            return [failed("AGUI_TOKEN", "not set, so the service does not start", remedy)]
        base = self.url or settings.public_url
        lines: list[CheckResult] = []
        if base and "cometchat" not in settings.channels:
            lines += check_server(get_origin(base), self.client, _api_url(settings))
        command = self._sync_command("agents")
        expected = [agents.ExpectedAgent(bot, base, settings.agui_token[0], command) for bot in bots]
        try:
            cometchat = make_account_client(settings)
        except ConfigurationError:
            return lines + agents.check_agents(expected, None, self.client)
        with closing(cometchat):
            return lines + agents.check_agents(expected, cometchat, self.client)

    def _sync_command(self, group: str) -> str:
        spec, url = f" {self.spec}" if self.spec else "", f" --url {self.url}" if self.url else ""
        return f"cometbot {group} sync{spec}{url}"

    def _expected_bots(
        self, settings: Settings, bots: Sequence[Bot], logins: CredentialsByBot
    ) -> Iterator[ExpectedBot]:
        base = self.url or settings.public_url
        for bot in bots:
            yield ExpectedBot(
                bot,
                logins.get(bot.name),
                is_served=bot.name in logins,
                url=find_callback_url(bot, base, None),
                sync_command=self._sync_command("bots"),
            )

    def _check_callbacks(
        self, settings: Settings, bots: Sequence[Bot], logins: CredentialsByBot, registered: Mapping[str, RegisteredBot]
    ) -> list[CheckResult]:
        lines: list[CheckResult] = []
        targets: list[CallbackTarget] = []
        for bot in bots:
            url = find_callback_url(bot, self.url or settings.public_url, registered.get(bot.name))
            if bot.name not in logins or not url:
                why = "unknown URL: pass --url, or set COMETBOT_PUBLIC_URL"
                if bot.name not in logins:
                    why = "the bot is not served, see its callback settings"
                lines += for_bot(bot.name, skip_all(callback.CHECK_NAMES, why))
            else:
                uid, app_id = get_cometchat_uid(bot).lower(), settings.cometchat_app_id
                target = CallbackTarget(
                    bot.name, uid, app_id, url, logins[bot.name], has_buttons=settings.has_signed_addresses
                )
                targets.append(target)
        return [*lines, *check_callbacks(targets, self.client, _api_url(settings))]


def _api_url(settings: Settings) -> str:
    """Return CometChat's API URL, or that of a real CometChat if it is unknown.

    The checks decide by this URL which callback URLs are valid.
    """
    return settings.cometchat_api_url or "https://api.cometchat.io/v3"


def _secret_values(settings: Settings, logins: CredentialsByBot) -> Iterator[str]:
    """Yield the values that no result may contain: the key and the passwords, also that of the database URL."""
    yield settings.cometchat_api_key.reveal()
    yield locate_database(settings.database_url).password
    yield settings.secret_key.reveal()
    yield from (token.reveal() for token in settings.agui_token)
    yield from (login.password.reveal() for login in logins.values() if login is not None)
    yield from (login.password.reveal() for login in settings.bot_credentials.values())
    yield settings.callback_password.reveal()
