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
from cometbot.cli.checks.alerts import check_alerts
from cometbot.cli.checks.callback import CallbackTarget, check_callbacks, check_server, get_origin
from cometbot.cli.checks.cometchat import check_cometchat
from cometbot.cli.checks.configuration import check_bots, check_callback_credentials, check_settings
from cometbot.cli.checks.database import check_database
from cometbot.cli.checks.files import check_file_permissions, check_open_files
from cometbot.cli.checks.http_client import CheckClient
from cometbot.cli.checks.moderation import check_moderation
from cometbot.cli.checks.registration import ExpectedBot, check_registration, find_callback_url
from cometbot.cli.checks.result import CheckResult, failed, for_app, for_bot, skip_all, skipped
from cometbot.cli.checks.sent_files import check_files_route
from cometbot.errors import ConfigurationError
from cometbot.settings import Credentials, Settings
from cometbot.store.probe import locate_database as locate_database

CredentialsByBot = Mapping[str, Credentials | None]


@dataclass(frozen=True)
class CheckSuite:
    """All checks, from the settings to the callback at its public URL.

    ``spec`` names the bots (empty: those of COMETBOT_BOT). ``url`` is where CometChat reaches the service (empty:
    COMETBOT_PUBLIC_URL, else the registered URL). Nothing is changed, stored or sent to anybody, except that
    ``test_alerts`` sends a message to each target of alerts.
    """

    spec: str = ""
    url: str = ""
    client: CheckClient = field(default_factory=CheckClient)
    now: Callable[[], float] = time.time
    test_alerts: bool = False

    def run(self) -> list[CheckResult]:
        """Run all checks and return their results, without secrets."""
        settings, first = check_settings()
        if settings is None:
            names = ("bots", "database", *cometchat.CHECK_NAMES, *registration.CHECK_NAMES, *callback.CHECK_NAMES)
            return [first, *skip_all(names, "the settings are invalid")]
        bots, second = check_bots(settings, self.spec or settings.default_bot_spec)
        apps = [_App(one) for one in settings.split_apps()] if "cometchat" in settings.channels else []
        callers: list[CheckResult] = []
        for app in apps:
            app.logins, results = check_callback_credentials(app.settings, bots)
            callers += for_app(app.name, results)
        store = [*check_database(settings), check_file_permissions(settings), check_open_files(settings)]
        lines = [first, second, *callers, *store, *self._check_cometchat(apps, bots)]
        lines.append(check_files_route(self.url or settings.public_url, self.client))
        if "agui" in settings.channels:
            lines += self._check_agents(settings, bots)
        if settings.alerts or self.test_alerts:
            lines += check_alerts(settings, bots, send=self.test_alerts)
        hidden = [*_secret_values(settings), *(secret for app in apps for secret in _secrets_of_app(app))]
        return [line.masked(hidden) for line in lines]

    def _check_cometchat(self, apps: Sequence[_App], bots: Sequence[Bot]) -> list[CheckResult]:
        if not apps:
            return [skipped("CometChat", "not in COMETBOT_CHANNELS")]
        lines: list[CheckResult] = []
        targets: list[CallbackTarget] = []
        for app in apps:
            lines += for_app(app.name, self._check_app(app, bots))
            if bots:
                results, found = self._find_targets(app, bots)
                lines += for_app(app.name, results)
                targets += found
        lines += check_callbacks(targets, self.client, _api_url(apps[0].settings))
        is_reached = all(line.ok is not False for line in lines if line.name in callback.SERVER_CHECK_NAMES)
        for app in apps:
            lines += for_app(app.name, self._check_moderation(app, bots, is_reached=is_reached))
        return lines

    def _check_moderation(self, app: _App, bots: Sequence[Bot], *, is_reached: bool) -> list[CheckResult]:
        lines: list[CheckResult] = []
        for bot in bots:
            if bot.moderation is not None:
                base, found = self.url or app.settings.public_url, app.registered.get(bot.name)
                url = find_callback_url(bot, base, found, app.settings.callback_path)
                lines += check_moderation(app.settings, bot, url, self.client, is_reached=is_reached)
        return lines

    def _check_app(self, app: _App, bots: Sequence[Bot]) -> list[CheckResult]:
        """Check an app and the registration of its bots, which ``app`` then has."""
        found = check_cometchat(app.settings, self.client, now=self.now)
        lines = found.results
        if not bots:
            return [*lines, *skip_all((*registration.CHECK_NAMES, *callback.CHECK_NAMES), "no bot can be loaded")]
        if found.client is None:
            return [*lines, *skip_all(registration.CHECK_NAMES, "CometChat cannot be queried, see above")]
        with closing(found.client):
            app.registered, more = check_registration(found.client, list(self._expected_bots(app, bots)))
        return [*lines, *more]

    def _check_agents(self, settings: Settings, bots: Sequence[Bot]) -> list[CheckResult]:
        if not settings.agui_token:
            remedy = 'set AGUI_TOKEN in .env, for example to what "openssl rand -hex 32" prints'
            return [failed("AGUI_TOKEN", "not set, so the service does not start", remedy)]
        base = self.url or settings.public_url
        lines: list[CheckResult] = []
        if base and "cometchat" not in settings.channels:
            lines += check_server(get_origin(base), self.client, _api_url(settings))
        for one in settings.split_apps():
            lines += for_app(one.cometchat_app, self._check_agents_of_app(one, bots, base))
        return lines

    def _check_agents_of_app(self, settings: Settings, bots: Sequence[Bot], base: str) -> list[CheckResult]:
        command = self._sync_command("agents", settings.cometchat_app)
        expected = [agents.ExpectedAgent(bot, base, settings.agui_token[0], command) for bot in bots]
        try:
            cometchat = make_account_client(settings)
        except ConfigurationError:
            return agents.check_agents(expected, None, self.client)
        with closing(cometchat):
            return agents.check_agents(expected, cometchat, self.client)

    def _sync_command(self, group: str, app: str) -> str:
        spec, url = f" {self.spec}" if self.spec else "", f" --url {self.url}" if self.url else ""
        return f"cometbot {group} sync{spec}{url}{_app_option(app)}"

    def _expected_bots(self, app: _App, bots: Sequence[Bot]) -> Iterator[ExpectedBot]:
        base = self.url or app.settings.public_url
        for bot in bots:
            yield ExpectedBot(
                bot,
                app.logins.get(bot.name),
                is_served=bot.name in app.logins,
                url=find_callback_url(bot, base, None, app.settings.callback_path),
                sync_command=self._sync_command("bots", app.name),
                paths=app.settings.callback_paths,
                app_option=_app_option(app.name),
            )

    def _find_targets(self, app: _App, bots: Sequence[Bot]) -> tuple[list[CheckResult], list[CallbackTarget]]:
        """Return the callbacks of an app that can be called, and the results for the others."""
        settings, lines = app.settings, list[CheckResult]()
        targets: list[CallbackTarget] = []
        for bot in bots:
            base, found = self.url or settings.public_url, app.registered.get(bot.name)
            url = find_callback_url(bot, base, found, settings.callback_path)
            if bot.name not in app.logins or not url:
                why = "unknown URL: pass --url, or set COMETBOT_PUBLIC_URL"
                if bot.name not in app.logins:
                    why = "the bot is not served, see its callback settings"
                lines += for_bot(bot.name, skip_all(callback.CHECK_NAMES, why))
            else:
                uid, app_id = get_cometchat_uid(bot).lower(), settings.cometchat_app_id
                has_buttons = settings.has_signed_addresses
                targets.append(
                    CallbackTarget(bot.name, uid, app_id, url, app.logins[bot.name], has_buttons, app=app.name)
                )
        return lines, targets


@dataclass
class _App:
    """An app with what the checks have found: its bots' credentials, and their registrations."""

    settings: Settings
    logins: CredentialsByBot = field(default_factory=dict)
    registered: Mapping[str, RegisteredBot] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.settings.cometchat_app


def _app_option(app: str) -> str:
    return f" --app {app}" if app else ""


def _api_url(settings: Settings) -> str:
    """Return CometChat's API URL, or that of a real CometChat if it is unknown.

    The checks decide by this URL which callback URLs are valid.
    """
    return settings.cometchat_api_url or "https://api.cometchat.io/v3"


def _secret_values(settings: Settings) -> Iterator[str]:
    """Yield the values that no result may contain, without those of :func:`_secrets_of_app`."""
    yield locate_database(settings.database_url).password
    yield settings.secret_key.reveal()
    yield from (token.reveal() for token in settings.agui_token)
    yield from (target.url.reveal() for target in settings.alerts)
    for login in settings.bot_credentials.values():
        yield from _secrets_of_login(login)
    yield from (secret.reveal() for secret in settings.previous_passwords.values())
    yield settings.callback_password.reveal()
    yield settings.callback_previous_password.reveal()
    yield settings.cometchat_api_key.reveal()


def _secrets_of_app(app: _App) -> Iterator[str]:
    yield app.settings.cometchat_api_key.reveal()
    yield app.settings.cometchat_moderation_password.reveal()
    yield app.settings.cometchat_moderation_previous_password.reveal()
    for login in app.logins.values():
        if login is not None:
            yield from _secrets_of_login(login)


def _secrets_of_login(login: Credentials) -> Iterator[str]:
    yield login.password.reveal()
    yield login.previous.reveal()
