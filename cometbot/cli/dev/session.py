"""One run of ``cometbot dev``: simulator, bot and chat, put together, and taken apart again."""

from __future__ import annotations

import contextlib
import logging
import secrets
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import quote

from rich.text import Text

from cometbot.cli.dev import signals
from cometbot.cli.dev.bench import Bench
from cometbot.cli.dev.chat import Chat, Desk
from cometbot.cli.dev.feed import Feed, Wire
from cometbot.cli.dev.orders import Orders
from cometbot.cli.dev.rendering import Place, render_fault, render_log
from cometbot.cli.dev.reports import Failed, Logged, Printed, Ready, Report
from cometbot.cli.dev.runner import Runner
from cometbot.cli.dev.screen import Screen
from cometbot.cli.text import plain
from cometbot.delivery import Delivery
from cometbot.errors import ConfigurationError
from cometbot.settings import Settings
from cometbot.simulator import Simulator

ME, FRIEND, GROUP = "maria", "tom", "ops-room"
PORTS_TRIED = 20

_USERNAME = "cometchat"


@dataclass(frozen=True)
class Options:
    """What the command line says; ``port`` 0 is any free one."""

    bot: str = ""
    port: int = 8000
    chat: bool = True
    wire: str = "on"
    group_setting: str = "allMessages"
    debug: bool = False


def run(options: Options, screen: Screen | None = None) -> None:
    """Run until the chat ends, or a signal comes. Raises :class:`ConfigurationError` if there is no bot to run."""
    spec = options.bot or Settings.from_environment().bot or _guess()
    with (
        contextlib.suppress(KeyboardInterrupt),
        signals.interrupting(),
        screen or Screen() as shown,
        _folder() as folder,
    ):
        Session(spec, options, shown, folder).run()


class Session:
    """The parts of one run. Hears from the bot's processes what becomes of them."""

    def __init__(self, spec: str, options: Options, screen: Screen, folder: Path) -> None:
        self._spec = spec
        self._options = options
        self._screen = screen
        self._simulator, self._port_note = open_simulator(options.port)
        self._password = secrets.token_urlsafe(16)
        database = f"sqlite:///{folder / 'dev.db'}"
        self._runner = Runner(spec, self._environ(database), self)
        self._delivery = Delivery([], [], database)
        self._bench = Bench(spec, self._delivery)
        self._simulator.workbench = self._bench
        self._has_begun = False
        self._is_up = threading.Event()
        self._can_wait = screen.is_interactive or not options.chat

    def run(self) -> None:
        """Start everything, chat, end everything."""
        handler = _ScreenHandler(self._screen, whole=self._options.debug)
        logging.getLogger().addHandler(handler)
        try:
            _seed(self._simulator)
            answer = self._runner.start()
            if isinstance(answer, Failed) and (answer.is_setting or not self._can_wait):
                raise ConfigurationError(_sentence(answer))
            self._has_begun = True
            self._talk()
        finally:
            signals.ignore()
            logging.getLogger().removeHandler(handler)
            self._runner.stop()
            self._simulator.stop(0.1)
            self._delivery.close()

    def started(self, ready: Ready, files: list[Path]) -> None:
        """Let the simulator call the bots that there are now."""
        known = self._simulator.world.directory.bots
        for bot in ready.bots:
            url = f"{self._runner.url}/cometchat/{quote(bot.name, safe='')}"
            add_bot(self._simulator, bot.uid, url, (_USERNAME, self._password), self._options.group_setting)
        with self._simulator.world.changed:
            for uid, record in known.items():
                record.enabled = uid in {bot.uid.lower() for bot in ready.bots}
        self._is_up.set()
        self._bench.started(ready, files)
        if files:
            self._screen.show(Text(f"↻ {_names(files)} changed: the bot runs with the new code", style="green"))
        elif self._has_begun:
            self._screen.show(Text("↻ the bot runs again", style="green"))

    def failed(self, failed: Failed, files: list[Path]) -> None:
        """Say why, unless it is said at the end of the run."""
        self._bench.failed(failed, files)
        if not self._has_begun and (failed.is_setting or not self._can_wait):
            return
        goes_on = "the old one goes on" if self._runner.is_running else "it is tried again when you save a file"
        changed = f"{_names(files)} changed, but " if files else ""
        self._screen.show(
            Text(f"✗ {changed}the bot cannot start; {goes_on}", style="bold red"),
            render_fault(failed.fault, whole=self._options.debug),
        )

    def died(self, status: int) -> None:
        """Say that the process is gone."""
        self._bench.died()
        how = f"was killed by signal {-status}" if status < 0 else f"ended with the status {status}"
        self._screen.show(Text(f"✗ the bot's process {how}; another one is started", style="bold red"))

    def heard(self, report: Report) -> None:
        """Show what the bot logged or printed."""
        self._bench.heard(report)
        if isinstance(report, Logged):
            self._screen.show(render_log(report, whole=self._options.debug))
        elif isinstance(report, Printed):
            self._screen.show(Text(f"│ {plain(report.text)}", style="dim"))

    def _talk(self) -> None:
        self._runner.watch()
        self._is_up.wait()
        wire = cast(Wire, self._options.wire)
        place = Place(ME, self._runner.bots[0].uid.lower())
        desk = Desk(self._simulator, self._runner, self._delivery, self._screen, place)
        feed = Feed(self._simulator, self._screen, lambda: desk.place, wire)
        orders = Orders(desk, feed)
        self._screen.complete_with(orders.complete)
        self._greet()
        feed.start()
        try:
            if self._options.chat:
                Chat(desk, feed, orders).run()
            else:
                threading.Event().wait()
        finally:
            feed.stop()

    def _greet(self) -> None:
        bots = ", ".join(bot.uid for bot in self._runner.bots)
        lines = [
            Text.assemble((bots, "bold"), f" from {self._spec}, on a simulated CometChat at {self._simulator.url}")
        ]
        if self._port_note:
            lines.append(Text(self._port_note, style="yellow"))
        if self._options.chat:
            lines += [
                Text.assemble("You are ", (ME, "bold"), ". Type a message, or ", (":help", "bold"), " for more."),
                Text("Change the code and save it: the bot goes on with the new code. Ctrl-C ends it."),
            ]
        else:
            lines.append(Text("Ctrl-C ends it."))
        page = Text.assemble("In a browser: ", (f"{self._simulator.url}/", "bold underline"))
        self._screen.show(*lines, page, Text())

    def _environ(self, database: str) -> Mapping[str, str]:
        return {
            "COMETBOT_BOT": self._spec,
            "COMETBOT_CHANNELS": "cometchat",
            "COMETBOT_DATABASE_URL": database,
            "COMETBOT_CALLBACK_USERNAME": _USERNAME,
            "COMETBOT_CALLBACK_PASSWORD": self._password,
            "COMETCHAT_APP_ID": self._simulator.app_id,
            "COMETCHAT_REGION": self._simulator.region,
            "COMETCHAT_API_KEY": self._simulator.api_key,
            "COMETCHAT_API_URL": self._simulator.api_url,
            "PYTHONUNBUFFERED": "1",
        }


def open_simulator(port: int) -> tuple[Simulator, str]:
    """A simulator that listens on ``port`` or on the next free one, and a remark if it is another one.

    Raises :class:`ConfigurationError` if twenty in a row are taken.
    """
    last = min(port + PORTS_TRIED, 65536) if port else 1
    for candidate in range(port, last):
        with contextlib.suppress(ConfigurationError):
            simulator = Simulator(port=candidate).start()
            return simulator, f"Port {port} is taken, so it is {candidate}." if candidate != port else ""
    raise ConfigurationError(f"the ports {port} to {last - 1} are all taken; name another one with --port")


def add_bot(simulator: Simulator, uid: str, url: str, credentials: tuple[str, str], group_setting: str) -> None:
    """Let the simulated app have this bot, in the demo group too, once."""
    with simulator.world.changed:
        if uid.lower() in simulator.world.directory.bots:
            return
        simulator.add_bot(uid, url, username=credentials[0], password=credentials[1], group_setting=group_setting)
        simulator.user(uid).join(GROUP)


def _seed(simulator: Simulator) -> None:
    simulator.add_user(ME, "Maria Keller")
    simulator.add_user(FRIEND, "Tom Berger")
    simulator.add_group(GROUP, "Ops room", owner=ME, members=[FRIEND])


def _guess() -> str:
    if Path("bot.py").is_file():
        return "bot.py:bot"
    raise ConfigurationError(
        "no bot is named and there is no bot.py here: say which one, for example cometbot dev shop.py:bot"
    )


def _sentence(failed: Failed) -> str:
    place = f"{failed.fault.place}: " if failed.fault.place else ""
    return failed.fault.text if failed.is_setting else f"the bot cannot start; {place}{failed.fault.text}"


def _names(files: list[Path]) -> str:
    here = Path.cwd()
    shown = [str(file.relative_to(here) if file.is_relative_to(here) else file) for file in files]
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder for the database, which must not outlive the simulated messages whose ids are in it."""
    folder = Path(tempfile.mkdtemp(prefix="cometbot-dev-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _ScreenHandler(logging.Handler):
    """Shows warnings of this process, the simulator's, on the screen."""

    def __init__(self, screen: Screen, *, whole: bool) -> None:
        super().__init__(logging.WARNING)
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        self._screen.show(Text(f"! {plain(self.format(record))}", style="yellow"))
