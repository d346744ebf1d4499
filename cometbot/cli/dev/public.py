"""One run of ``cometbot dev --public-url``: the bot on this machine, called by a real app on CometChat."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from cometbot.channels.cometchat.advice import advise
from cometbot.channels.cometchat.client import CometChatClient
from cometbot.channels.cometchat.provision import (
    BotPlan,
    RegisteredBot,
    callback_url,
    check_credentials,
    check_url,
    make_credentials,
    name_from_uid,
)
from cometbot.cli import Sentence
from cometbot.cli.account import advised
from cometbot.cli.checks.callback import Callback, check_callback
from cometbot.cli.checks.client import Caller
from cometbot.cli.checks.registration import suits
from cometbot.cli.dev import signals
from cometbot.cli.dev.ledger import Ledger, ledger_path
from cometbot.cli.dev.loans import Loans, Return
from cometbot.cli.dev.narrator import Narrator, say_refusal
from cometbot.cli.dev.process import STOP_TIMEOUT
from cometbot.cli.dev.reports import BotInfo, Failed, Ready, Report
from cometbot.cli.dev.runner import Runner
from cometbot.cli.dev.screen import Screen
from cometbot.cli.dev.session import temporary_folder
from cometbot.cli.text import plain
from cometbot.errors import ConfigurationError
from cometbot.loading import choose_bot
from cometbot.settings import Credentials, Settings

_AGAIN = 1.0
_TIMEOUT = 5.0


@dataclass(frozen=True)
class PublicOptions:
    """What the command line says. ``group_setting`` empty: as CometChat has it, for a new bot what its handlers need.

    ``patience`` is for how many seconds the tunnel may take to lead here.
    """

    bot: str
    url: str
    port: int = 8000
    calls: bool = True
    group_setting: str = ""
    debug: bool = False
    patience: float = 60.0


def run(options: PublicOptions, screen: Screen | None = None) -> None:
    """Run until a signal comes; whatever ends it, CometChat is as it was afterwards.

    Raises :class:`ConfigurationError` for settings that are missing or wrong, and :class:`Sentence` where CometChat
    does not do what it is asked for, or would not reach this machine.
    """
    settings = Settings.from_environment()
    spec = choose_bot(options.bot, settings)
    with (
        contextlib.closing(make_client(settings)) as client,
        contextlib.suppress(KeyboardInterrupt),
        signals.interrupting(),
        screen or Screen() as shown,
        temporary_folder() as folder,
        Ledger(ledger_path(settings.data, settings.cometchat_app_id)) as ledger,
    ):
        check_url(options.url, client.api_url)
        database = f"sqlite:///{folder / 'dev.db'}"
        PublicSession(spec, options, settings, Loans(client, ledger), shown, database).run()


def put_back(screen: Screen | None = None) -> None:
    """Put back what earlier runs did not. Raises :class:`Sentence` where CometChat does not let that happen."""
    settings = Settings.from_environment()
    shown = screen or Screen()
    with (
        contextlib.closing(make_client(settings)) as client,
        Ledger(ledger_path(settings.data, settings.cometchat_app_id)) as ledger,
    ):
        loans = Loans(client, ledger)
        if not loans.uids:
            shown.show(Text("There is nothing to put back."))
        tell_returns(loans.give_all_back(), shown)


def make_client(settings: Settings) -> CometChatClient:
    """The client of the settings' app. Raises :class:`ConfigurationError` that names all that they lack."""
    needed = {"COMETCHAT_APP_ID": settings.cometchat_app_id, "COMETCHAT_API_KEY": settings.cometchat_api_key}
    if not settings.cometchat_api_url:
        needed["COMETCHAT_REGION"] = settings.cometchat_region
    missing = sorted(name for name, value in needed.items() if not value)
    if missing:
        listed = " and ".join(filter(None, (", ".join(missing[:-1]), missing[-1])))
        raise ConfigurationError(
            f"--public-url works with a real app, and {listed} {'is' if len(missing) == 1 else 'are'} not set; copy "
            f"{'it' if len(missing) == 1 else 'them'} from CometChat's dashboard into .env, or leave --public-url out "
            "to try the bot without an account"
        )
    key = settings.cometchat_api_key.reveal()
    return CometChatClient(
        settings.cometchat_base_url, key, app_id=settings.cometchat_app_id, pool_size=1, timeout=_TIMEOUT
    )


def tell_returns(returns: Sequence[Return], screen: Screen) -> None:
    """Show what was put back. Raises :class:`Sentence` if something was not."""
    for item in returns:
        if item.error is None:
            screen.show(Text(plain(f"{item.text}."), style="green"))
    failed = [f"{item.text}: {advise(item.error, item.uid)}" for item in returns if item.error]
    if failed:
        raise Sentence(plain(f"{'; '.join(failed)}; cometbot dev --put-back in this folder tries it again"))


class PublicSession:
    """The parts of one run. Hears from the bot's processes what becomes of them."""

    def __init__(
        self, spec: str, options: PublicOptions, settings: Settings, loans: Loans, screen: Screen, database: str
    ) -> None:
        self._spec = spec
        self._options = options
        self._settings = settings
        self._loans = loans
        self._screen = screen
        self._narrator = Narrator(screen, whole=options.debug)
        self._made = make_credentials()
        self._is_up = threading.Event()
        self._lending = threading.Lock()
        self._lends = False
        self._has_begun = False
        try:
            self._runner = Runner(spec, self._environ(database), self, port=options.port, is_real=True)
        except OSError as error:
            raise ConfigurationError(
                f"port {options.port}, to which the tunnel leads, cannot be listened on ({error.strerror}); end what "
                "is there, or let the tunnel lead to another one and name that with --port"
            ) from error

    def run(self) -> None:
        """Start the bot, let CometChat call it, and put everything back when the run is interrupted or fails."""
        try:
            with self._narrator.listening(), ThreadPoolExecutor(1) as lender:
                self._return_strangers()
                self._start()
                self._check_account()
                self._await_tunnel()
                # In a thread: what CometChat is asked for must not be broken off by a signal, and done all the same.
                lender.submit(self._lend).result()
                self._narrator.shows_calls = self._options.calls
                self._greet()
                threading.Event().wait()
        finally:
            signals.ignore()
            self._end()

    def _start(self) -> None:
        """Return when the bot runs. Raises :class:`ConfigurationError` if it cannot, and nobody could mend it now."""
        answer = self._runner.start()
        if isinstance(answer, Failed) and (answer.is_setting or not self._screen.is_interactive):
            raise ConfigurationError(say_refusal(answer))
        self._has_begun = True
        self._runner.watch()
        self._is_up.wait()

    def started(self, ready: Ready, files: list[Path]) -> None:
        """Let CometChat call the bots that there are now."""
        if files or self._has_begun:
            self._narrator.started(files)
        self._is_up.set()
        with self._lending:
            if not self._lends:
                return
            try:
                self._borrow(ready.bots)
            except (Sentence, ConfigurationError) as error:
                self._screen.show(Text(f"✗ {plain(str(error))}", style="bold red"))

    def failed(self, failed: Failed, files: list[Path]) -> None:
        """Say why, unless it is said at the end of the run."""
        if self._has_begun or (self._screen.is_interactive and not failed.is_setting):
            self._narrator.failed(failed, files, is_running=self._runner.is_running)

    def died(self, status: int) -> None:
        """Say that the process is gone."""
        self._narrator.died(status)

    def heard(self, report: Report) -> None:
        """Show what the bot logged or printed, and each call."""
        self._narrator.heard(report)

    def _return_strangers(self) -> None:
        """Put back what an earlier run has left."""
        if self._loans.uids:
            self._screen.show(Text("An earlier run was killed before it could put CometChat back.", style="yellow"))
            tell_returns(self._loans.give_all_back(), self._screen)

    def _check_account(self) -> None:
        """Raise :class:`Sentence` if CometChat cannot be asked: that need not wait for the tunnel."""
        with advised():
            self._loans.look(bot.uid.lower() for bot in self._runner.bots)

    def _await_tunnel(self) -> None:
        """Return when CometChat would reach the bot. Raises :class:`Sentence` if that takes too long."""
        ends_at = time.monotonic() + self._options.patience
        told = ""
        while cause := self._find_obstacle():
            if time.monotonic() >= ends_at:
                raise Sentence(
                    plain(
                        f"CometChat would not reach the bot, since at {self._options.url} {cause}; let your tunnel "
                        f"lead to {self._runner.url} and start again; nothing was changed on CometChat"
                    )
                )
            if cause != told:
                told = cause
                self._screen.show(*self._describe_obstacle(cause))
            time.sleep(min(_AGAIN, self._options.patience))

    def _find_obstacle(self) -> str:
        """Why CometChat would not reach a bot, empty if it would; nothing is stored by what is asked."""
        caller = Caller(timeout=_TIMEOUT)
        for bot in self._runner.bots:
            url = callback_url(self._options.url, bot.name)
            uid, app_id = bot.uid.lower(), self._settings.cometchat_app_id
            called = Callback(bot.name, uid, app_id, url, self._credentials(bot.name))
            for result in check_callback(called, caller):
                if result.ok is False:
                    return result.cause
        return ""

    def _describe_obstacle(self, cause: str) -> list[Text]:
        port = self._runner.url.rpartition(":")[2]
        return [
            Text(plain(f"Waiting for the tunnel: at {self._options.url} {cause}."), style="yellow"),
            Text(f"It must lead to {self._runner.url} and change nothing on the way, for example"),
            Text(f"  cloudflared tunnel --url {self._runner.url}    or    ngrok http {port}", style="bold"),
        ]

    def _lend(self) -> None:
        with self._lending:
            self._lends = True
            self._borrow(self._runner.bots)

    def _greet(self) -> None:
        them = "it" if len(self._runner.bots) == 1 else "them"
        self._screen.show(
            Text(f"Write to {them} in your app. What the bot stores is gone at the end."),
            Text("Change the code and save it: the bot goes on with the new code. Ctrl-C ends it."),
            Text(),
        )

    def _borrow(self, bots: Sequence[BotInfo]) -> None:
        """Point CometChat's bots of this code here, and put back those that are not in it any more."""
        wanted = {(plan := self._plan(bot)).uid: (plan, bot) for bot in bots}
        kept = {uid for uid, (plan, _) in wanted.items() if self._loans.holds(uid, plan.url)}
        tell_returns([self._loans.give_back(uid) for uid in sorted(self._loans.uids - kept)], self._screen)
        for uid in sorted(wanted.keys() - kept):
            plan, bot = wanted[uid]
            with advised(uid):
                before = self._loans.borrow(plan, keeps_group_setting=not self._options.group_setting)
            self._tell_loan(plan, bot, before)

    def _tell_loan(self, plan: BotPlan, bot: BotInfo, before: RegisteredBot | None) -> None:
        if before is None:
            then = "It is a new bot, and will be none again at the end"
        else:
            then = f"It will be {before.shown_url or 'without a URL'} again at the end"
        url, uid = (plan.url, "bold underline"), (plan.uid, "bold")
        self._screen.show(Text.assemble("CometChat calls ", url, " for ", uid, " now. ", plain(then), "."))
        has = before.group_setting if before and not self._options.group_setting else plan.group_setting
        if not suits(has, bot.group_setting):
            remark = (
                f"Of groups it gets {has}, and its handlers need {bot.group_setting}; --group-setting chooses that."
            )
            self._screen.show(Text(remark, style="yellow"))

    def _plan(self, bot: BotInfo) -> BotPlan:
        return BotPlan(
            uid=bot.uid.lower(),
            url=check_url(callback_url(self._options.url, bot.name), self._settings.cometchat_base_url),
            name=name_from_uid(bot.name),
            group_setting=self._options.group_setting or bot.group_setting,
            credentials=check_credentials(self._credentials(bot.name)),
        )

    def _credentials(self, name: str) -> Credentials:
        """What CometChat must say to call a bot: as the settings say, else what was made for this run."""
        return self._settings.callback_credentials(name) or self._made

    def _end(self) -> None:
        with contextlib.suppress(OSError):  # the terminal may be what has ended
            if self._loans.uids:
                self._screen.show(Text("Putting CometChat back …", style="dim"))
        with self._lending:
            self._lends = False
            returns = self._loans.give_all_back()
        self._runner.stop(STOP_TIMEOUT)
        with contextlib.suppress(OSError):
            tell_returns(returns, self._screen)

    def _environ(self, database: str) -> Mapping[str, str]:
        shared = Credentials(self._settings.callback_username, self._settings.callback_password)
        username, password = shared if all(shared) else self._made
        return {
            "COMETBOT_BOT": self._spec,
            "COMETBOT_CHANNELS": "cometchat",
            "COMETBOT_DATABASE_URL": database,
            "COMETBOT_CALLBACK_USERNAME": username,
            "COMETBOT_CALLBACK_PASSWORD": password.reveal(),
            "PYTHONUNBUFFERED": "1",
        }
