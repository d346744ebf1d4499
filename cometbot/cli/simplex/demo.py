"""``cometbot simplex --demo``: runs the bot on a fake SimpleX whose only contact is the user of this terminal."""

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
from cometbot.cli._output import sanitize
from cometbot.delivery import Delivery
from cometbot.errors import BotError, ConfigurationError
from cometbot.loading import load_bots_or_explain
from cometbot.models import Attachment, User
from cometbot.settings import Settings
from cometbot.shutdown import handle_signals
from cometbot.temporary_folders import TemporaryFolder
from cometbot.testing.fakes.base import Actor
from cometbot.web.logs import configure_logging

try:
    from cometbot.testing.fakes.simplex import SimplexFake
    from cometbot.testing.simplex.people import Line
except ImportError as error:
    raise ConfigurationError(str(error)) from error

YOU = User("you", "You")
GROUP = "demo-group"
_DIRECT_ACTOR, _GROUP_ACTOR = Actor(YOU), Actor(YOU, GROUP)
_POLL_INTERVAL = 0.05
_IDLE_TIMEOUT = 30.0
_HELP = """\
Write to the bot, one message a line. Other actions begin with an exclamation mark:
  !group TEXT   write in a group, with a mention of the bot
  !file PATH    send a file
  !edit TEXT    edit your last message
  !delete       delete your last message
  !react 👍     react to the last message of the bot
  !help         show this; end with Ctrl-D"""


def run_demo(settings: Settings, spec: str) -> None:
    """Run a chat with the bot until the input ends. Nothing is kept."""
    configure_logging(settings.log_format, "warning" if settings.log_level == "info" else settings.log_level)
    bots = load_bots_or_explain(spec)
    if len(bots) != 1:
        raise ConfigurationError(f"a SimpleX profile is one bot, got {len(bots)}; name one")
    stop_like_ctrl_c = handle_signals({signal.SIGTERM: signal.default_int_handler})
    with stop_like_ctrl_c, _run_bot(bots[0]) as (fake, delivery), DemoScreen(fake) as screen:
        click.echo(f"{bots[0].name} is connected to a fake SimpleX. You are its only contact.\n{_HELP}\n")
        user = DemoUser(fake, screen)
        with suppress(KeyboardInterrupt):
            for text in filter(None, (line.rstrip("\n") for line in sys.stdin)):
                _handle_line(user, text, lambda: _wait_idle(fake, delivery, screen))
            _wait_idle(fake, delivery, screen)


def _handle_line(user: DemoUser, text: str, wait: Callable[[], None]) -> None:
    """Execute a line of input. Without a terminal, echo it first, then wait for the reply."""
    if sys.stdin.isatty():
        user.handle_line(text)
        return
    click.echo(f"you: {text}")
    user.handle_line(text)
    wait()


@contextmanager
def _run_bot(bot: Bot) -> Iterator[tuple[SimplexFake, Delivery]]:
    """Run the bot on a fake SimpleX and a temporary database."""
    with TemporaryFolder("demo") as folder:
        fake = SimplexFake(bot, simplex_group_messages="addressed")
        delivery = Delivery([bot], [fake.channel], f"sqlite:///{folder}/demo.db")
        try:
            bot.connect(delivery)
            delivery.start()
            fake.attach(delivery)
            fake.person(YOU)
            yield fake, delivery
        finally:
            delivery.close()
            fake.close()


def _wait_idle(fake: SimplexFake, delivery: Delivery, screen: DemoScreen) -> None:
    """Wait until the bot has nothing left to send, then show it."""
    fake.wait_idle()
    ends_at = time.monotonic() + _IDLE_TIMEOUT
    while not delivery.is_idle and time.monotonic() < ends_at:
        time.sleep(_POLL_INTERVAL)
    screen.refresh()


class DemoUser:
    """The user at the terminal."""

    def __init__(self, fake: SimplexFake, screen: DemoScreen) -> None:
        self._fake = fake
        self._screen = screen
        self._last: tuple[Actor, str] | None = None

    def handle_line(self, text: str) -> None:
        """Send a line, or execute the command that it begins with."""
        word, _, rest = text.partition(" ")
        rest = rest.strip()
        try:
            match word:
                case "!group":
                    self._send(_GROUP_ACTOR, rest)
                case "!file":
                    self._send_file(rest)
                case "!edit":
                    self._fake.edit(*self._last_message(), rest)
                case "!delete":
                    self._fake.delete(*self._last_message())
                case "!react":
                    self._react(rest)
                case "!help":
                    click.echo(_HELP)
                case _:
                    self._send(_DIRECT_ACTOR, text)
        except (BotError, OSError, ValueError) as error:
            click.echo(f"That did not work: {error}")

    def _send(self, actor: Actor, text: str) -> None:
        self._last = actor, self._fake.say(actor, text, mention=bool(actor.group))

    def _send_file(self, name: str) -> None:
        path = Path(name).expanduser()
        url = self._fake.upload(path.name, path.read_bytes(), "")
        self._last = _DIRECT_ACTOR, self._fake.say(_DIRECT_ACTOR, "", attachments=[Attachment(url, path.name)])

    def _last_message(self) -> tuple[Actor, str]:
        if self._last is None:
            raise BotError("you have not written a message yet")
        return self._last

    def _react(self, emoji: str) -> None:
        if self._screen.last_message_id is None:
            raise BotError("the bot has not sent a message yet")
        self._fake.react(_DIRECT_ACTOR, str(self._screen.last_message_id), emoji)


class DemoScreen:
    """Shows the bot's messages as they arrive."""

    def __init__(self, fake: SimplexFake) -> None:
        self.last_message_id: int | None = None
        self._fake = fake
        self._shown: dict[int, Line] = {}
        self._reactions: dict[int, tuple[str, ...]] = {}
        self._stop = threading.Event()
        self._refresh_lock = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="cometbot-demo", daemon=True)

    def __enter__(self) -> DemoScreen:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._thread.join(5)
        self.refresh()

    def _watch(self) -> None:
        while not self._stop.wait(_POLL_INTERVAL):
            self.refresh()

    def refresh(self) -> None:
        """Show what is new."""
        with self._refresh_lock:
            for line in self._fake.cli.lines():
                if line.by:
                    self._show_reactions(line)
                elif not line.is_live:
                    self._show(line)

    def _show(self, line: Line) -> None:
        before = self._shown.get(line.item_id)
        self._shown[line.item_id] = line
        name = f"{self._fake.bot.name}" + (" in the group" if line.chat.startswith("#") else "")
        location = self._fake.web.address_of(line.file_path) or line.file_path
        shown = sanitize(line.text) + (f" [{line.content.get('type')}: {sanitize(location)}]" if location else "")
        if before is None and not line.is_deleted:
            if line.chat.startswith("@"):
                self.last_message_id = line.item_id
            click.echo(f"{name}: {shown}")
        elif before is not None and line.is_deleted and not before.is_deleted:
            click.echo(f"{name} deleted: {sanitize(before.text)}")
        elif before is not None and before.text != line.text:
            click.echo(f"{name}, changed: {shown}")

    def _show_reactions(self, line: Line) -> None:
        new = [emoji for emoji in line.reactions if emoji not in self._reactions.get(line.item_id, ())]
        self._reactions[line.item_id] = line.reactions
        for emoji in new:
            click.echo(f"{self._fake.bot.name} reacts with {emoji}")
