"""A run of ``cometbot dev`` with its simulator, bot and chat."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import quote

from rich.text import Text

from cometbot.cli.dev import signals
from cometbot.cli.dev.chat import Chat, ChatContext
from cometbot.cli.dev.colon_commands import ColonCommands
from cometbot.cli.dev.console import ConsoleLog, describe_start_failure
from cometbot.cli.dev.feed import EventFeed, TrafficDetail
from cometbot.cli.dev.rendering import ActiveChat
from cometbot.cli.dev.reports import Failed, Ready, Report
from cometbot.cli.dev.runner import BotRunner
from cometbot.cli.dev.screen import Screen
from cometbot.cli.dev.undo_journal import PENDING_UNDO_TEXT, has_pending_undo
from cometbot.cli.dev.workbench import DevWorkbench
from cometbot.delivery import Delivery
from cometbot.errors import ConfigurationError
from cometbot.loading import check_files, choose_bot
from cometbot.settings import Settings
from cometbot.simulator import TRIGGERS, Simulator
from cometbot.temporary_folders import TemporaryFolder

ME, FRIEND, GROUP = "maria", "tom", "ops-room"
MAX_PORTS_TRIED = 20

_USERNAME = "cometchat"
_ADDRESS_DELAY = 2.0


@dataclass(frozen=True)
class DevOptions:
    """The command's options. ``port`` 0 chooses a free one."""

    bot: str = ""
    port: int = 8000
    chat: bool = True
    wire: str = "on"
    group_setting: str = "allMessages"
    debug: bool = False


def run(options: DevOptions, screen: Screen | None = None) -> None:
    """Run until the chat ends or a signal arrives. Raises :class:`ConfigurationError` if there is no bot to run."""
    spec = choose_bot(options.bot, Settings.from_environment())
    check_files(spec)
    with (
        contextlib.suppress(KeyboardInterrupt),
        signals.interrupt_on_signals(),
        screen or Screen() as shown,
        temporary_folder() as folder,
    ):
        DevSession(spec, options, shown, folder).run()


class DevSession:
    """One run with its parts. Receives the events of the bot's processes."""

    def __init__(self, spec: str, options: DevOptions, screen: Screen, folder: Path) -> None:
        self._spec = spec
        self._options = options
        self._screen = screen
        self._simulator, self._port_note = open_simulator(options.port)
        self._password = secrets.token_urlsafe(16)
        database = f"sqlite:///{folder / 'dev.db'}"
        self._runner = BotRunner(spec, self._environ(database), self)
        self._delivery = Delivery([], [], database)
        self._workbench = DevWorkbench(spec, self._delivery)
        self._simulator.workbench = self._workbench
        self._console = ConsoleLog(screen, full_tracebacks=options.debug)
        self._has_begun = False
        self._has_shown_address = False
        self._ready = threading.Event()
        self._can_wait = screen.is_interactive or not options.chat

    def run(self) -> None:
        """Start everything, run the chat, stop everything."""
        address_timer = threading.Timer(_ADDRESS_DELAY, self._show_early_address)
        with self._console.capture_warnings():
            try:
                _add_sample_data(self._simulator)
                if self._can_wait:
                    address_timer.start()
                report = self._runner.start()
                address_timer.cancel()
                if isinstance(report, Failed) and self._ends_run(report):
                    raise ConfigurationError(describe_start_failure(report))
                self._has_begun = True
                if isinstance(report, Failed):
                    self._screen.show(self._address())
                self._run_chat()
            finally:
                signals.ignore_signals()
                address_timer.cancel()
                self._runner.stop()
                self._simulator.stop(0.1)
                self._delivery.close()

    def started(self, ready: Ready, files: list[Path]) -> None:
        """Register the bots that are served now in the simulator."""
        known = self._simulator.world.directory.bots
        for bot in ready.bots:
            url = f"{self._runner.url}/cometchat/{quote(bot.name, safe='')}"
            credentials = (_USERNAME, self._password)
            add_bot(self._simulator, bot.uid, url, credentials, self._options.group_setting)
            add_webhook(self._simulator, bot.uid, f"{url}/webhook", credentials)
        with self._simulator.world.condition:
            for uid, record in known.items():
                record.enabled = uid in {bot.uid.lower() for bot in ready.bots}
        self._ready.set()
        self._workbench.started(ready, files)
        if files or self._has_begun:
            self._console.started(files)

    def failed(self, failed: Failed, files: list[Path]) -> None:
        """Show the error, unless it ends the run and is shown then."""
        self._workbench.failed(failed, files)
        if not self._has_begun and self._ends_run(failed):
            return
        self._console.failed(failed, files, is_running=self._runner.is_running)

    def exited(self, status: int) -> None:
        """Show that the process ended."""
        self._workbench.died()
        self._console.exited(status)

    def reported(self, report: Report) -> None:
        """Show a log record or an output line of the bot."""
        self._workbench.receive_report(report)
        self._console.reported(report)

    def _ends_run(self, failed: Failed) -> bool:
        """Return True if a failed first start ends the run. It does not once the page's address was shown."""
        return (failed.is_configuration_error and not self._has_shown_address) or not self._can_wait

    def _run_chat(self) -> None:
        self._runner.watch()
        self._ready.wait()
        wire = cast(TrafficDetail, self._options.wire)
        place = ActiveChat(ME, self._runner.bots[0].uid.lower())
        context = ChatContext(self._simulator, self._runner, self._delivery, self._screen, place)
        feed = EventFeed(self._simulator, self._screen, lambda: context.place, wire)
        commands = ColonCommands(context, feed)
        self._screen.set_completer(commands.complete)
        self._show_welcome()
        feed.start()
        try:
            if self._options.chat:
                Chat(context, feed, commands).run()
            else:
                threading.Event().wait()
        finally:
            feed.stop()

    def _show_welcome(self) -> None:
        bots = ", ".join(bot.uid for bot in self._runner.bots)
        lines = [
            Text.assemble((bots, "bold"), f" from {self._spec}, on a simulated CometChat at {self._simulator.url}")
        ]
        if has_pending_undo(Settings.from_environment().data):
            lines.append(Text(PENDING_UNDO_TEXT, style="yellow"))
        if self._port_note:
            lines.append(Text(self._port_note, style="yellow"))
        if self._options.chat:
            lines += [
                Text.assemble("You are ", (ME, "bold"), ". Type a message, or ", (":help", "bold"), " for more."),
                Text("Change the code and save it: the bot goes on with the new code. Ctrl-C ends it."),
            ]
        else:
            lines.append(Text("Ctrl-C ends it."))
        self._screen.show(*lines, self._address(), Text())

    def _show_early_address(self) -> None:
        """Show the page's address before the bot runs, if its start takes long."""
        self._has_shown_address = True
        self._screen.show(Text(f"{self._spec} is not ready yet.", style="dim"), self._address())

    def _address(self) -> Text:
        return Text.assemble("In a browser: ", (f"{self._simulator.url}/", "bold underline"))

    def _environ(self, database: str) -> Mapping[str, str]:
        return {
            "COMETBOT_BOT": self._spec,
            "COMETBOT_CHANNELS": "cometchat",
            "COMETBOT_DATABASE_URL": database,
            "COMETBOT_CALLBACK_USERNAME": _USERNAME,
            "COMETBOT_CALLBACK_PASSWORD": self._password,
            "COMETCHAT_WEBHOOK_USERNAME": _USERNAME,
            "COMETCHAT_WEBHOOK_PASSWORD": self._password,
            "COMETCHAT_APP_ID": self._simulator.app_id,
            "COMETCHAT_REGION": self._simulator.region,
            "COMETCHAT_API_KEY": self._simulator.api_key,
            "COMETCHAT_API_URL": self._simulator.api_url,
            "PYTHONUNBUFFERED": "1",
        }


def open_simulator(port: int) -> tuple[Simulator, str]:
    """Start a simulator on ``port`` or on the next free one. Return it with a remark if the port differs.

    Raises :class:`ConfigurationError` if twenty consecutive ports are in use.
    """
    last = min(port + MAX_PORTS_TRIED, 65536) if port else 1
    for candidate in range(port, last):
        with contextlib.suppress(ConfigurationError):
            simulator = Simulator(port=candidate).start()
            return simulator, f"Port {port} is taken, so it is {candidate}." if candidate != port else ""
    raise ConfigurationError(f"the ports {port} to {last - 1} are all taken; name another one with --port")


def add_bot(simulator: Simulator, uid: str, url: str, credentials: tuple[str, str], group_setting: str) -> None:
    """Add the bot to the simulated app and to the demo group, unless it exists."""
    with simulator.world.condition:
        if uid.lower() in simulator.world.directory.bots:
            return
        simulator.add_bot(uid, url, username=credentials[0], password=credentials[1], group_setting=group_setting)
        simulator.user(uid).join(GROUP)


def add_webhook(simulator: Simulator, uid: str, url: str, credentials: tuple[str, str]) -> None:
    """Add a webhook that reports edits, deletions, reactions and membership changes to the bot. Callbacks do not."""
    triggers = [trigger for trigger in TRIGGERS if trigger not in ("message_sent", "user_mentioned")]
    simulator.add_webhook(url, triggers, *credentials, id=f"dev-{uid.lower()}")


def _add_sample_data(simulator: Simulator) -> None:
    simulator.add_user(ME, "Maria Keller")
    simulator.add_user(FRIEND, "Tom Berger")
    simulator.add_group(GROUP, "Ops room", owner=ME, members=[FRIEND])


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Create a folder for the run's database, and delete it afterwards.

    The ids of simulated messages would be ambiguous in a database that outlives the run.
    """
    with TemporaryFolder("dev") as folder:
        yield folder
