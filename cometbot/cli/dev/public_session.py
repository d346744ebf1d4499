"""A run of ``cometbot dev --public-url``: the bot on this machine, called by a real CometChat app."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.text import Text

from cometbot.channels.cometchat.client import CometChatClient
from cometbot.channels.cometchat.provision import (
    BotPlan,
    RegisteredBot,
    callback_url,
    check_credentials,
    check_url,
    generate_credentials,
    name_from_uid,
)
from cometbot.channels.cometchat.troubleshooting import get_troubleshooting_hint
from cometbot.cli import CommandError
from cometbot.cli._account import choose_app, explain_errors, make_account_client
from cometbot.cli._output import sanitize
from cometbot.cli.checks.callback import CallbackTarget, check_callback
from cometbot.cli.checks.http_client import CheckClient
from cometbot.cli.checks.registration import covers_need
from cometbot.cli.dev import signals
from cometbot.cli.dev.bot_process import STOP_TIMEOUT
from cometbot.cli.dev.registrations import RestoreResult, TemporaryRegistrations
from cometbot.cli.dev.reports import BotInfo, Failed, Ready
from cometbot.cli.dev.screen import Screen
from cometbot.cli.dev.session import DevOptions, Session
from cometbot.cli.dev.undo_journal import UndoJournal, journal_path
from cometbot.errors import ConfigurationError
from cometbot.loading import choose_bot
from cometbot.settings import Credentials, Settings
from cometbot.temporary_folders import TemporaryFolder

_RETRY_INTERVAL = 1.0
_REQUEST_TIMEOUT = 5.0


def run(options: DevOptions, screen: Screen | None = None) -> None:
    """Run until a signal arrives, then restore CometChat as it was, also after an error.

    Raises :class:`ConfigurationError` for missing or invalid settings, and :class:`CommandError` if CometChat refuses a
    request or would not reach this machine.
    """
    settings = choose_app(Settings.from_environment(), "", "COMETCHAT_APPS=NAME")
    spec = choose_bot(options.bot, settings)
    with (
        contextlib.closing(make_client(settings)) as client,
        contextlib.suppress(KeyboardInterrupt),
        signals.interrupt_on_signals(),
        screen or Screen() as shown,
        TemporaryFolder("dev") as folder,
        UndoJournal(journal_path(settings.data, settings.cometchat_app_id)) as journal,
    ):
        check_url(options.public_url, client.api_url)
        PublicSession(spec, options, shown, folder, settings, TemporaryRegistrations(client, journal)).run()


def restore_pending() -> None:
    """Restore the bots that earlier runs left changed. Raises :class:`CommandError` if CometChat refuses."""
    settings, shown = choose_app(Settings.from_environment(), "", "COMETCHAT_APPS=NAME"), Screen()
    with (
        contextlib.closing(make_client(settings)) as client,
        UndoJournal(journal_path(settings.data, settings.cometchat_app_id)) as journal,
    ):
        registrations = TemporaryRegistrations(client, journal)
        if not registrations.uids:
            shown.show(Text("Nothing to restore."))
        show_restored(registrations.restore_all(), shown)


def make_client(settings: Settings) -> CometChatClient:
    """Return the client of the settings' app. Raises :class:`ConfigurationError` that names all missing settings."""
    needed = {"COMETCHAT_APP_ID": settings.cometchat_app_id, "COMETCHAT_API_KEY": settings.cometchat_api_key}
    if not settings.cometchat_api_url:
        needed["COMETCHAT_REGION"] = settings.cometchat_region
    missing = sorted(name for name, value in needed.items() if not value)
    if missing:
        raise ConfigurationError(
            f"--public-url needs a real app: not set: {', '.join(missing)}. Copy the values from CometChat's dashboard "
            "into .env, or leave out --public-url to try the bot without an account."
        )
    return make_account_client(settings, timeout=_REQUEST_TIMEOUT)


def show_restored(results: Sequence[RestoreResult], screen: Screen) -> None:
    """Show the bots that were restored. Raises :class:`CommandError` if one was not."""
    for item in results:
        if item.error is None:
            screen.show(Text(sanitize(f"{item.text}."), style="green"))
    failed = [f"{item.text}: {get_troubleshooting_hint(item.error, item.uid)}" for item in results if item.error]
    if failed:
        raise CommandError(sanitize(f"{'; '.join(failed)}. Retry in this folder with: cometbot dev --restore"))


class PublicSession(Session):
    """A run whose bot is called by a real CometChat."""

    def __init__(
        self,
        spec: str,
        options: DevOptions,
        screen: Screen,
        folder: Path,
        settings: Settings,
        registrations: TemporaryRegistrations,
    ) -> None:
        self._settings = settings
        self._registrations = registrations
        self._generated = generate_credentials()
        self._registration_lock = threading.Lock()
        self._is_registering = False
        try:
            environ = self._environ(options.public_url)
            super().__init__(spec, options, screen, folder, environ, port=options.port, is_real=True)
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on port {options.port}, to which the tunnel leads: {error.strerror}. Stop what listens "
                "there, or let the tunnel lead to another port and choose that with --port."
            ) from error

    def run(self) -> None:
        """Start the bot, register it on CometChat, and restore everything when the run is interrupted or fails."""
        try:
            with self._console.capture_warnings(), ThreadPoolExecutor(1) as executor:
                self._restore_leftovers()
                self._start()
                self._runner.watch()
                self._ready.wait()
                self._check_account()
                self._wait_for_tunnel()
                # In a thread, because a signal must not abort a request that CometChat executes nevertheless.
                executor.submit(self._start_registering).result()
                self._console.shows_calls = self._options.traffic != "off"
                self._show_welcome()
                threading.Event().wait()
        finally:
            signals.ignore_signals()
            self._end()

    def started(self, ready: Ready, files: list[Path]) -> None:
        """Register the bots that are served now on CometChat."""
        super().started(ready, files)
        with self._registration_lock:
            if not self._is_registering:
                return
            try:
                self._register(ready.bots)
            except (CommandError, ConfigurationError) as error:
                self._screen.show(Text(f"✗ {sanitize(str(error))}", style="bold red"))

    def _ends_run(self, failed: Failed) -> bool:
        """Return True if a change of the bot's code would not help, or if nobody sees the error."""
        return failed.is_configuration_error or not self._screen.is_interactive

    def _restore_leftovers(self) -> None:
        """Restore the bots that an earlier run left changed."""
        if self._registrations.uids:
            self._screen.show(Text("An earlier run was killed before it restored CometChat.", style="yellow"))
            show_restored(self._registrations.restore_all(), self._screen)

    def _check_account(self) -> None:
        """Raise :class:`CommandError` if CometChat refuses requests, before waiting for the tunnel."""
        with explain_errors():
            self._registrations.check_access(bot.uid.lower() for bot in self._runner.bots)

    def _wait_for_tunnel(self) -> None:
        """Wait until CometChat would reach the bot. Raises :class:`CommandError` after the timeout."""
        ends_at = time.monotonic() + self._options.tunnel_timeout
        shown_cause = ""
        while cause := self._find_tunnel_problem():
            if time.monotonic() >= ends_at:
                raise CommandError(
                    sanitize(
                        f"CometChat cannot reach the bot at {self._options.public_url}: {cause}. Point your tunnel to "
                        f"{self._runner.url} and start again. Nothing was changed on CometChat."
                    )
                )
            if cause != shown_cause:
                shown_cause = cause
                self._screen.show(*self._describe_tunnel_problem(cause))
            time.sleep(min(_RETRY_INTERVAL, self._options.tunnel_timeout))

    def _find_tunnel_problem(self) -> str:
        """Return why CometChat would not reach a bot, or "" if it would. The check causes nothing to be stored."""
        client = CheckClient(timeout=_REQUEST_TIMEOUT)
        for bot in self._runner.bots:
            url = self._callback_url(bot)
            uid, app_id = bot.uid.lower(), self._settings.cometchat_app_id
            target = CallbackTarget(bot.name, uid, app_id, url, self._credentials(bot.name))
            for result in check_callback(target, client):
                if result.ok is False:
                    return result.cause
        return ""

    def _describe_tunnel_problem(self, cause: str) -> list[Text]:
        port = self._runner.url.rpartition(":")[2]
        return [
            Text(sanitize(f"Waiting for the tunnel: {self._options.public_url}: {cause}."), style="yellow"),
            Text(f"It must forward all requests unchanged to {self._runner.url}, for example"),
            Text(f"  cloudflared tunnel --url {self._runner.url}    or    ngrok http {port}", style="bold"),
        ]

    def _start_registering(self) -> None:
        with self._registration_lock:
            self._is_registering = True
            self._register(self._runner.bots)

    def _show_welcome(self) -> None:
        self._screen.show(
            Text("Write to the bot in your app. Its database is deleted at the end."),
            Text("Edit and save the code: the bot restarts with it. Ctrl-C quits."),
            Text(),
        )

    def _register(self, bots: Sequence[BotInfo]) -> None:
        """Point CometChat's bots to this machine, and restore those that the code no longer has."""
        plans = {(plan := self._plan(bot)).uid: (plan, bot) for bot in bots}
        unchanged = {uid for uid, (plan, _) in plans.items() if self._registrations.is_registered(uid, plan.url)}
        show_restored(
            [self._registrations.restore(uid) for uid in sorted(self._registrations.uids - unchanged)], self._screen
        )
        for uid in sorted(plans.keys() - unchanged):
            plan, bot = plans[uid]
            with explain_errors(uid):
                before = self._registrations.register(plan, keeps_group_setting=not self._options.group_setting)
            self._show_registration(plan, bot, before)

    def _show_registration(self, plan: BotPlan, bot: BotInfo, before: RegisteredBot | None) -> None:
        if before is None:
            then = "It is a new bot, and is unregistered at the end"
        else:
            then = f"{before.masked_url or 'No URL'} is restored at the end"
        url, uid = (plan.url, "bold underline"), (plan.uid, "bold")
        self._screen.show(Text.assemble("CometChat now calls ", url, " for ", uid, ". ", sanitize(then), "."))
        setting = before.group_setting if before and not self._options.group_setting else plan.group_setting
        if not covers_need(setting, bot.group_setting):
            remark = (
                f"Group setting: its handlers need {bot.group_setting}, got {setting}. Change it with --group-setting."
            )
            self._screen.show(Text(remark, style="yellow"))

    def _plan(self, bot: BotInfo) -> BotPlan:
        return BotPlan(
            uid=bot.uid.lower(),
            url=check_url(self._callback_url(bot), self._settings.cometchat_base_url),
            name=name_from_uid(bot.name),
            group_setting=self._options.group_setting or bot.group_setting,
            credentials=check_credentials(self._credentials(bot.name)),
        )

    def _callback_url(self, bot: BotInfo) -> str:
        return callback_url(self._options.public_url, bot.name, self._settings.callback_path)

    def _credentials(self, name: str) -> Credentials:
        """Return a bot's callback credentials: those of the settings, else those generated for this run."""
        return self._settings.callback_credentials(name) or self._generated

    def _end(self) -> None:
        with contextlib.suppress(OSError):  # the terminal may be closed
            if self._registrations.uids:
                self._screen.show(Text("Restoring CometChat …", style="dim"))
        with self._registration_lock:
            self._is_registering = False
            returns = self._registrations.restore_all()
        self._runner.stop(STOP_TIMEOUT)
        with contextlib.suppress(OSError):
            show_restored(returns, self._screen)

    def _environ(self, public_url: str) -> Mapping[str, str]:
        shared = Credentials(self._settings.callback_username, self._settings.callback_password)
        credentials = shared if shared.username and shared.password else self._generated
        return {
            "COMETBOT_CALLBACK_USERNAME": credentials.username,
            "COMETBOT_CALLBACK_PASSWORD": credentials.password.reveal(),
            "COMETBOT_PUBLIC_URL": public_url,
        }
