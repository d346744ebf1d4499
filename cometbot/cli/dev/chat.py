"""The chat in the terminal: what is typed is said in the simulator, orders with a colon change how."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text

from cometbot.cli.dev.feed import Feed
from cometbot.cli.dev.rendering import Place
from cometbot.cli.dev.runner import Runner
from cometbot.cli.dev.screen import Screen
from cometbot.delivery import Delivery
from cometbot.errors import CometbotError, ConfigurationError
from cometbot.simulator import Actor, Refusal, Simulator, StoredMessage
from cometbot.simulator.directory import Directory

QUIET = 0.01
"""Seconds between two looks whether the bot is done."""

ANSWER_TIME = 1.5
"""Seconds that the next prompt waits for the bot's answer; a later one appears above it."""

SHOW_TIME = 1.0
"""Seconds that the next prompt waits for what has happened to be shown."""

PIPE_TIME = 60.0
"""Seconds that the next line of a pipe waits for the answers to the last one, and then for them to be shown."""


@dataclass
class Desk:
    """What the chat and its orders work with: the simulated app, the bot, the screen, and where one is.

    ``thread`` is the id of the message in whose thread one writes, empty for none.
    """

    simulator: Simulator
    runner: Runner
    delivery: Delivery
    screen: Screen
    place: Place
    thread: str = ""

    def note(self, text: str, style: str = "dim") -> None:
        """Show a remark."""
        self.screen.show(Text(text, style=style))

    @property
    def prompt(self) -> str:
        """What stands before the line to be typed."""
        name = f"#{self.place.other}" if self.place.is_group else self.place.other
        return f"{self.place.me} → {name}{f' (thread #{self.thread})' if self.thread else ''} > "


class Chat:
    """Reads lines until there are no more of them, or an order ends it."""

    def __init__(self, desk: Desk, feed: Feed, order: Callable[[str], bool]) -> None:
        self._desk = desk
        self._feed = feed
        self._order = order

    def run(self) -> None:
        """Chat; returns at the end of the input, when what was said is answered.

        Raises :class:`ConfigurationError` where there is neither a terminal nor a line from a pipe.
        """
        is_first = True
        while True:
            try:
                line = self._desk.screen.ask(self._desk.prompt)
            except EOFError:
                if is_first and not self._desk.screen.is_interactive:
                    raise ConfigurationError(
                        "there is no terminal to talk in, and no line came through a pipe; cometbot dev --no-chat goes "
                        "on without them, with its page in the browser"
                    ) from None
                self._settle(0 if self._desk.screen.is_interactive else PIPE_TIME)
                return
            is_first = False
            if line.strip() and not self._take(line):
                return

    def _take(self, line: str) -> bool:
        """Whether to go on after this line."""
        try:
            if is_order(line):
                go_on = self._order(line[1:])
                self._settle_usually()
                return go_on
            self._say(line.strip())
        except CometbotError as error:
            self._desk.note(str(error), "yellow")
        return True

    def _say(self, text: str) -> None:
        if not self._desk.runner.is_running:
            self._desk.note("The bot is not running, so it will not hear of this before it is.", "yellow")
        message = say(self._desk, text, hide=self._feed.hide)
        self._settle_usually()
        self._explain_silence(message)

    def _explain_silence(self, message: StoredMessage) -> None:
        """Say why no bot heard of it, if none was told."""
        simulator = self._desk.simulator
        if not self._is_done() or any(entry.message_id == message.id for entry in reversed(simulator.callbacks)):
            return
        if message.receiver_type == "group":
            settings = {bot.group_chat_setting for bot in simulator.world.directory.bots.values()}
            self._desk.note(f"No bot was told of this: its group setting is {', '.join(sorted(settings))}.")
        else:
            self._desk.note(f"No bot was told of this: {message.receiver} is a person.")

    def _settle_usually(self) -> None:
        self._settle(ANSWER_TIME if self._desk.screen.is_interactive else PIPE_TIME)

    def _settle(self, seconds: float) -> None:
        """Wait until the bot has nothing more to say, but no longer than so many seconds, and all of it is shown."""
        ends_at = time.monotonic() + seconds
        while not self._is_done() and not self._desk.runner.has_given_up and time.monotonic() < ends_at:
            time.sleep(QUIET)
        self._feed.flush(SHOW_TIME if self._desk.screen.is_interactive else PIPE_TIME)

    def _is_done(self) -> bool:
        return self._desk.simulator.is_idle and self._desk.delivery.is_idle


def is_order(line: str) -> bool:
    """Whether a line is an order: a colon and a letter at its very beginning, so that ``:-)`` is none."""
    return line[:1] == ":" and line[1:2].isalpha()


def say(
    desk: Desk, text: str, attachments: Sequence[str] = (), hide: Callable[[str], None] = lambda _: None
) -> StoredMessage:
    """The message that one wrote where one is. Who is no member of the group joins it first."""
    actor = desk.simulator.user(desk.place.me)
    with desk.simulator.world.changed:
        try:
            message = _write(desk, actor, text, attachments)
        except Refusal as refusal:
            if refusal.code != "ERR_GROUP_NOT_JOINED":
                raise
            actor.join(desk.place.other)
            message = _write(desk, actor, text, attachments)
        hide(message.id)
        return message


def _write(desk: Desk, actor: Actor, text: str, attachments: Sequence[str]) -> StoredMessage:
    group, user = (desk.place.other, "") if desk.place.is_group else ("", desk.place.other)
    written = with_mentions(text, desk.simulator.world.directory)
    return actor.say(written, to=user, group=group, attachments=attachments, parent=desk.thread)


def with_mentions(text: str, directory: Directory) -> str:
    """Return ``text`` with each ``@uid`` and ``@Name`` of a user as the mention that CometChat's apps make of it."""
    names = {user.name.casefold(): uid for uid, user in directory.users.items() if user.name}
    names |= {uid: uid for uid in directory.users}
    listed = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    if "@" not in text or not listed:
        return text
    typed = re.compile(rf"(?<![\w@])@({listed})(?![\w-])", re.IGNORECASE)
    return typed.sub(lambda found: f"<@uid:{names[found[1].casefold()]}>", text)
