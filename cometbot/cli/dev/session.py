"""A run of ``cometbot dev`` with its simulator, bot and chat, and what it shares with a run on a real CometChat."""

from __future__ import annotations

import contextlib
import secrets
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from rich.text import Text

from cometbot.channels.cometchat.provision import name_from_uid
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
_RULE_PREFIX = "dev-"
"""The beginning of the ids of the rules of moderation that this run has made."""

_ADDRESS_DELAY = 2.0


@dataclass(frozen=True)
class DevOptions:
    """The command's options. ``port`` 0 chooses a free one.

    With ``public_url`` an empty ``group_setting`` means the registered one, or for a new bot the one that its handlers
    need, and ``tunnel_timeout`` is how many seconds the tunnel may need to reach this machine.
    """

    bot: str = ""
    port: int = 8000
    chat: bool = True
    traffic: TrafficDetail = "on"
    group_setting: str = ""
    debug: bool = False
    public_url: str = ""
    tunnel_timeout: float = 60.0


def run(options: DevOptions, screen: Screen | None = None) -> None:
    """Run until the chat ends or a signal arrives. Raises :class:`ConfigurationError` if there is no bot to run."""
    spec = choose_bot(options.bot, Settings.from_environment())
    check_files(spec)
    with (
        contextlib.suppress(KeyboardInterrupt),
        signals.interrupt_on_signals(),
        screen or Screen() as shown,
        TemporaryFolder("dev") as folder,
    ):
        DevSession(spec, options, shown, folder).run()


class Session(ABC):
    """What a run with the simulator and one with a real CometChat share: the bot's processes, and their log.

    The database is in ``folder``, which ends with the run: the ids of simulated messages would be ambiguous later.
    """

    def __init__(
        self,
        spec: str,
        options: DevOptions,
        screen: Screen,
        folder: Path,
        environ: Mapping[str, str],
        *,
        port: int = 0,
        is_real: bool = False,
    ) -> None:
        self._spec = spec
        self._options = options
        self._screen = screen
        self._console = ConsoleLog(screen, full_tracebacks=options.debug)
        self._ready = threading.Event()
        self._has_begun = False
        self._database = f"sqlite:///{folder / 'dev.db'}"
        shared = {
            "COMETBOT_BOT": spec,
            "COMETBOT_CHANNELS": "cometchat",
            "COMETBOT_DATABASE_URL": self._database,
            "PYTHONUNBUFFERED": "1",
        }
        self._runner = BotRunner(spec, {**shared, **environ}, self, port=port, is_real=is_real)

    @abstractmethod
    def _ends_run(self, failed: Failed) -> bool:
        """Return True if a first start that failed like this ends the run."""

    def _start(self) -> Ready | Failed:
        """Start the bot. Raises :class:`ConfigurationError` if that fails and ends the run."""
        report = self._runner.start()
        if isinstance(report, Failed) and self._ends_run(report):
            raise ConfigurationError(describe_start_failure(report))
        self._has_begun = True
        return report

    def started(self, ready: Ready, files: list[Path]) -> None:
        """Show a restart."""
        if files or self._has_begun:
            self._console.started(files)
        self._ready.set()

    def failed(self, failed: Failed, files: list[Path]) -> None:
        """Show the error, unless it ends the run and is shown then."""
        if self._has_begun or not self._ends_run(failed):
            self._console.failed(failed, files, is_running=self._runner.is_running)

    def exited(self, status: int) -> None:
        """Show that the process ended."""
        self._console.exited(status)

    def reported(self, report: Report) -> None:
        """Show a log record, an output line or an HTTP call of the bot."""
        self._console.reported(report)


class DevSession(Session):
    """A run with the simulator."""

    def __init__(self, spec: str, options: DevOptions, screen: Screen, folder: Path) -> None:
        self._simulator, self._port_note = open_simulator(options.port)
        self._password = secrets.token_urlsafe(16)
        # The channel needs the extra "chat", which an author who only wants callbacks may not have.
        self._agui_token = secrets.token_urlsafe(32) if find_spec("ulid") else ""
        self._agents: dict[str, str] = {}
        super().__init__(spec, options, screen, folder, self._environ())
        self._delivery = Delivery([], [], self._database)
        self._workbench = DevWorkbench(spec, self._delivery)
        self._simulator.workbench = self._workbench
        self._has_shown_address = False
        self._can_wait = screen.is_interactive or not options.chat

    def run(self) -> None:
        """Start everything, run the chat, stop everything."""
        address_timer = threading.Timer(_ADDRESS_DELAY, self._show_early_address)
        with self._console.capture_warnings():
            try:
                _add_sample_data(self._simulator)
                if self._can_wait:
                    address_timer.start()
                report = self._start()
                address_timer.cancel()
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
            add_bot(self._simulator, bot.uid, url, (_USERNAME, self._password), self._options.group_setting)
        with self._simulator.world.condition:
            for uid, record in known.items():
                record.enabled = uid in {bot.uid.lower() for bot in ready.bots}
        moderating = {
            bot.name: f"{self._runner.url}/cometchat/{quote(bot.name, safe='')}/moderation"
            for bot in ready.bots
            if bot.moderates
        }
        update_moderation_rules(self._simulator, moderating, (_USERNAME, self._password))
        if self._agui_token:
            served = {bot.name: f"{self._runner.url}/agui/{quote(bot.name, safe='')}" for bot in ready.bots}
            self._agents = update_agents(self._simulator, self._agents, served, self._agui_token)
        self._workbench.started(ready, files, self._agents)
        super().started(ready, files)

    def failed(self, failed: Failed, files: list[Path]) -> None:
        self._workbench.failed(failed, files)
        super().failed(failed, files)

    def exited(self, status: int) -> None:
        self._workbench.exited()
        super().exited(status)

    def reported(self, report: Report) -> None:
        self._workbench.reported(report)
        super().reported(report)

    def _ends_run(self, failed: Failed) -> bool:
        """Return True if a failed first start ends the run. It does not once the page's address was shown."""
        return (failed.is_configuration_error and not self._has_shown_address) or not self._can_wait

    def _run_chat(self) -> None:
        self._runner.watch()
        self._ready.wait()
        active = ActiveChat(ME, self._runner.bots[0].uid.lower())
        context = ChatContext(self._simulator, self._runner, self._delivery, self._screen, active)
        feed = EventFeed(self._simulator, self._screen, lambda: context.active, self._options.traffic)
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
                Text("Edit and save the code: the bot restarts with it. Ctrl-C quits."),
            ]
        else:
            lines.append(Text("Ctrl-C quits."))
        self._screen.show(*lines, self._address(), Text())

    def _show_early_address(self) -> None:
        """Show the page's address before the bot runs, if its start takes long."""
        self._has_shown_address = True
        self._screen.show(Text(f"{self._spec} is still starting.", style="dim"), self._address())

    def _address(self) -> Text:
        return Text.assemble("In a browser: ", (f"{self._simulator.url}/", "bold underline"))

    def _environ(self) -> Mapping[str, str]:
        logins = {
            f"{prefix}_{name}": value
            for prefix in ("COMETBOT_CALLBACK", "COMETCHAT_WEBHOOK", "COMETCHAT_MODERATION")
            for name, value in (("USERNAME", _USERNAME), ("PASSWORD", self._password))
        }
        agui = {"COMETBOT_CHANNELS": "cometchat,agui", "AGUI_TOKEN": self._agui_token, "AGUI_USER_HEADER": ""}
        return {
            **logins,
            **(agui if self._agui_token else {}),
            "COMETCHAT_APPS": "",
            "COMETCHAT_APP_ID": self._simulator.app_id,
            "COMETCHAT_REGION": self._simulator.region,
            "COMETCHAT_API_KEY": self._simulator.api_key,
            "COMETCHAT_API_URL": self._simulator.api_url,
        }


def open_simulator(port: int) -> tuple[Simulator, str]:
    """Start a simulator on ``port`` or on the next free one. Return it with a remark if the port differs.

    Raises :class:`ConfigurationError` if twenty consecutive ports are in use.
    """
    last = min(port + MAX_PORTS_TRIED, 65536) if port else 1
    for candidate in range(port, last):
        with contextlib.suppress(ConfigurationError):
            simulator = Simulator(port=candidate).start()
            return simulator, f"Port {port} is in use; using {candidate}." if candidate != port else ""
    raise ConfigurationError(
        f"cannot start the simulator: the ports {port} to {last - 1} are in use. Choose another one with --port."
    )


def add_bot(simulator: Simulator, uid: str, url: str, credentials: tuple[str, str], group_setting: str) -> None:
    """Add the bot to the simulated app and to the demo group, unless it exists, and its webhook.

    The webhook reports edits, deletions, reactions and membership changes to the bot. Callbacks do not.
    """
    username, password = credentials
    with simulator.world.condition:
        if uid.lower() not in simulator.world.directory.bots:
            simulator.add_bot(uid, url, username=username, password=password, group_setting=group_setting)
            simulator.user(uid).join(GROUP)
    triggers = [trigger for trigger in TRIGGERS if trigger not in ("message_sent", "user_mentioned")]
    simulator.add_webhook(f"{url}/webhook", triggers, username, password, id=f"dev-{uid.lower()}")


def update_moderation_rules(simulator: Simulator, urls: Mapping[str, str], credentials: tuple[str, str]) -> None:
    """Add a rule of the simulated moderation for each bot of ``urls``, and remove the rules of other bots.

    A rule that was switched off stays so.
    """
    username, password = credentials
    with simulator.world.condition:
        for name, url in urls.items():
            simulator.add_moderation_rule(
                f"Judged by {name}", url, username=username, password=password, id=f"{_RULE_PREFIX}{name}"
            )
        for rule in list(simulator.world.moderation_rules):
            if rule.startswith(_RULE_PREFIX) and rule.removeprefix(_RULE_PREFIX) not in urls:
                del simulator.world.moderation_rules[rule]


def update_agents(
    simulator: Simulator, known: Mapping[str, str], served: Mapping[str, str], token: str
) -> dict[str, str]:
    """Register the bots of ``served``, which maps names to URLs, as agents, and deactivate the other ``known`` ones.

    ``known`` maps names of bots to the uids of their agents. Return what is known now.
    """
    agents = simulator.world.agents
    with simulator.world.condition:
        found = {name: uid for name, uid in known.items() if uid in agents}  # a reset deletes all
        for name, url in served.items():
            if name not in found:
                found[name] = simulator.add_agent(name_from_uid(name), url, token).uid
        for name, uid in found.items():
            agents[uid].is_active = name in served
    return found


def _add_sample_data(simulator: Simulator) -> None:
    simulator.add_user(ME, "Maria Keller")
    simulator.add_user(FRIEND, "Tom Berger")
    simulator.add_group(GROUP, "Ops room", owner=ME, members=[FRIEND])
