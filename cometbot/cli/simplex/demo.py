"""``cometbot simplex --demo``: the bot on a stand-in for SimpleX, whose only contact sits at this terminal."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from cometbot.bot import Bot
from cometbot.cli.text import plain
from cometbot.delivery import Delivery
from cometbot.errors import BotError, ConfigurationError
from cometbot.loading import load_working_bots
from cometbot.models import Attachment, User
from cometbot.settings import Settings
from cometbot.temporary_folders import TemporaryFolder
from cometbot.testing.double import Seat
from cometbot.web.logs import configure_logging

try:
    from cometbot.testing.simplex.double import SimplexDouble
    from cometbot.testing.simplex.people import Line
except ImportError as error:
    raise ConfigurationError(str(error)) from error

YOU = User("you", "You")
GROUP = "demo-group"
_ALONE, _IN_GROUP = Seat(YOU), Seat(YOU, GROUP)
_LOOK_EVERY = 0.05
_PATIENCE = 30.0
_HELP = """\
Write to the bot, a line a message. What else you can do begins with an exclamation mark:
  !group TEXT   say something in a group, with a mention of the bot
  !file PATH    send a file
  !edit TEXT    change what you wrote last
  !delete       take it back
  !react 👍     react to what the bot said last
  !help         this; the end is Ctrl-D"""


def talk(settings: Settings, spec: str) -> None:
    """Let somebody talk to a bot until the input ends. Nothing of it is kept."""
    configure_logging(settings.log_format, "warning" if settings.log_level == "info" else settings.log_level)
    bots = load_working_bots(spec)
    if len(bots) != 1:
        raise ConfigurationError(f"a SimpleX profile is one bot, and these are {len(bots)}; name one")
    with _interrupted_by_sigterm(), _stage(bots[0]) as (double, delivery), Screen(double) as screen:
        click.echo(f"{bots[0].name} is connected to a stand-in for SimpleX. You are its only contact.\n{_HELP}\n")
        person = Person(double, screen)
        with suppress(KeyboardInterrupt):
            for text in filter(None, (line.rstrip("\n") for line in sys.stdin)):
                _do(person, text, lambda: _wait_idle(double, delivery, screen))
            _wait_idle(double, delivery, screen)


def _do(person: Person, text: str, wait: Callable[[], None]) -> None:
    """Do what a line says. Who does not sit at a terminal sees his own line as well, and the answer before the next."""
    if sys.stdin.isatty():
        person.do(text)
        return
    click.echo(f"you: {text}")
    person.do(text)
    wait()


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Clean up on SIGTERM as on Ctrl-C."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _stage(bot: Bot) -> Iterator[tuple[SimplexDouble, Delivery]]:
    """The bot at work, on a stand-in and a database that are gone afterwards."""
    with TemporaryFolder("demo") as folder:
        double = SimplexDouble(bot, simplex_group_messages="addressed")
        delivery = Delivery([bot], [double.channel], f"sqlite:///{folder}/demo.db")
        try:
            bot.connect(delivery)
            delivery.start()
            double.attach(delivery)
            double.person(YOU)
            yield double, delivery
        finally:
            delivery.close()
            double.close()


def _wait_idle(double: SimplexDouble, delivery: Delivery, screen: Screen) -> None:
    """Let the bot say what it has to say still, and show it."""
    double.settle()
    ends_at = time.monotonic() + _PATIENCE
    while not delivery.is_idle and time.monotonic() < ends_at:
        time.sleep(_LOOK_EVERY)
    screen.look()


class Person:
    """Who sits at the terminal."""

    def __init__(self, double: SimplexDouble, screen: Screen) -> None:
        self._double = double
        self._screen = screen
        self._last: tuple[Seat, str] | None = None

    def do(self, text: str) -> None:
        """Say a line, or do what its first word names."""
        word, _, rest = text.partition(" ")
        acts: dict[str, Callable[[str], None]] = {
            "!group": self._say_in_group,
            "!file": self._send_file,
            "!edit": self._edit,
            "!delete": self._delete,
            "!react": self._react,
            "!help": lambda _: click.echo(_HELP),
        }
        try:
            if word in acts:
                acts[word](rest.strip())
            else:
                self._say(_ALONE, text)
        except (BotError, OSError, ValueError) as error:
            click.echo(f"That did not work: {error}")

    def _say(self, seat: Seat, text: str) -> None:
        self._last = seat, self._double.say(seat, text, mention=bool(seat.group))

    def _say_in_group(self, text: str) -> None:
        self._say(_IN_GROUP, text)

    def _send_file(self, name: str) -> None:
        path = Path(name).expanduser()
        url = self._double.upload(path.name, path.read_bytes(), "")
        self._last = _ALONE, self._double.say(_ALONE, "", attachments=[Attachment(url, path.name)])

    def _written(self) -> tuple[Seat, str]:
        if self._last is None:
            raise BotError("you have written nothing yet")
        return self._last

    def _edit(self, text: str) -> None:
        self._double.edit(*self._written(), text)

    def _delete(self, _: str) -> None:
        self._double.delete(*self._written())

    def _react(self, emoji: str) -> None:
        if self._screen.newest is None:
            raise BotError("the bot has said nothing yet")
        self._double.react(_ALONE, str(self._screen.newest), emoji)


class Screen:
    """Shows what the bot does, as soon as it is there."""

    def __init__(self, double: SimplexDouble) -> None:
        self.newest: int | None = None
        self._double = double
        self._shown: dict[int, Line] = {}
        self._reactions: dict[int, tuple[str, ...]] = {}
        self._ended = threading.Event()
        self._looking = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="cometbot-demo", daemon=True)

    def __enter__(self) -> Screen:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._ended.set()
        self._thread.join(5)
        self.look()

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK_EVERY):
            self.look()

    def look(self) -> None:
        """Show what is new."""
        with self._looking:
            for line in self._double.cli.lines():
                if line.by:
                    self._show_reactions(line)
                elif not line.is_live:
                    self._show(line)

    def _show(self, line: Line) -> None:
        before = self._shown.get(line.item_id)
        self._shown[line.item_id] = line
        name = f"{self._double.bot.name}" + (" in the group" if line.chat.startswith("#") else "")
        place = self._double.web.address_of(line.file_path) or line.file_path
        what = plain(line.text) + (f" [{line.content.get('type')}: {plain(place)}]" if place else "")
        if before is None and not line.is_deleted:
            if line.chat.startswith("@"):
                self.newest = line.item_id
            click.echo(f"{name}: {what}")
        elif before is not None and line.is_deleted and not before.is_deleted:
            click.echo(f"{name} took back: {plain(before.text)}")
        elif before is not None and before.text != line.text:
            click.echo(f"{name}, changed: {what}")

    def _show_reactions(self, line: Line) -> None:
        new = [emoji for emoji in line.reactions if emoji not in self._reactions.get(line.item_id, ())]
        self._reactions[line.item_id] = line.reactions
        for emoji in new:
            click.echo(f"{self._double.bot.name} reacts with {emoji}")
