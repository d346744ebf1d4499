"""The chat in the terminal: sends each line to the simulator, and executes colon commands."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text

from cometbot.cli.dev.feed import EventFeed
from cometbot.cli.dev.rendering import ActiveChat
from cometbot.cli.dev.runner import BotRunner
from cometbot.cli.dev.screen import Screen
from cometbot.delivery import Delivery
from cometbot.errors import CometbotError, ConfigurationError
from cometbot.simulator import Actor, Refusal, Simulator, StoredMessage
from cometbot.simulator.directory import Directory

POLL_INTERVAL = 0.01
"""Seconds between two checks whether the bot is idle."""

ANSWER_TIMEOUT = 1.5
"""Seconds that the next prompt waits for the bot's reply. A later reply appears above the prompt."""

DISPLAY_TIMEOUT = 1.0
"""Seconds that the next prompt waits for pending events to be shown."""

PIPE_TIMEOUT = 60.0
"""Seconds that the next line of a pipe waits for the replies to the last one, and again for their display."""


@dataclass
class ChatContext:
    """State shared by the chat and its commands: the simulated app, the bot, the screen, and the active conversation.

    ``thread`` is the id of the message whose thread is active, or empty.
    """

    simulator: Simulator
    runner: BotRunner
    delivery: Delivery
    screen: Screen
    active: ActiveChat
    thread: str = ""

    def show_note(self, text: str, style: str = "dim") -> None:
        """Show a remark."""
        self.screen.show(Text(text, style=style))

    @property
    def prompt(self) -> str:
        """The prompt for the next line."""
        name = f"#{self.active.peer}" if self.active.is_group else self.active.peer
        return f"{self.active.user} → {name}{f' (thread #{self.thread})' if self.thread else ''} > "


class Chat:
    """Reads and handles lines until the input ends, or a command ends the chat."""

    def __init__(self, context: ChatContext, feed: EventFeed, run_command: Callable[[str], bool]) -> None:
        self._context = context
        self._feed = feed
        self._run_command = run_command

    def run(self) -> None:
        """Run the chat until the input ends and every message is answered.

        Raises :class:`ConfigurationError` if there is neither a terminal nor a line from a pipe.
        """
        is_first = True
        while True:
            try:
                line = self._context.screen.read_line(self._context.prompt)
            except EOFError:
                if is_first and not self._context.screen.is_interactive:
                    raise ConfigurationError(
                        "cannot start the chat: standard input is neither a terminal nor a pipe with lines. "
                        "cometbot dev --no-chat runs without a chat; use the page in the browser."
                    ) from None
                self._wait_idle(0 if self._context.screen.is_interactive else PIPE_TIMEOUT)
                return
            is_first = False
            if line.strip() and not self._handle_line(line):
                return

    def _handle_line(self, line: str) -> bool:
        """Handle one line. Return False if the chat should end."""
        try:
            if is_colon_command(line):
                continues = self._run_command(line[1:])
                self._wait_for_answer()
                return continues
            self._send(line.strip())
        except CometbotError as error:
            self._context.show_note(str(error), "yellow")
        return True

    def _send(self, text: str) -> None:
        if not self._context.runner.is_running:
            self._context.show_note("The bot is not running. It receives this message when it runs again.", "yellow")
        message = send_message(self._context, text, hide=self._feed.hide)
        self._wait_for_answer()
        self._explain_missing_callback(message)

    def _explain_missing_callback(self, message: StoredMessage) -> None:
        """Explain why no bot received the message, if none did."""
        simulator = self._context.simulator
        if not self._is_idle() or any(entry.message_id == message.id for entry in reversed(simulator.callbacks)):
            return
        if message.receiver_type == "group":
            settings = {bot.group_chat_setting for bot in simulator.world.directory.bots.values()}
            self._context.show_note(f"No bot received this: the group setting is {', '.join(sorted(settings))}.")
        else:
            self._context.show_note(f"No bot received this: {message.receiver} is a user.")

    def _wait_for_answer(self) -> None:
        self._wait_idle(ANSWER_TIMEOUT if self._context.screen.is_interactive else PIPE_TIMEOUT)

    def _wait_idle(self, seconds: float) -> None:
        """Wait at most ``seconds`` until the bot has nothing more to send, then until all of it is shown."""
        ends_at = time.monotonic() + seconds
        while not self._is_idle() and not self._context.runner.has_given_up and time.monotonic() < ends_at:
            time.sleep(POLL_INTERVAL)
        self._feed.flush(DISPLAY_TIMEOUT if self._context.screen.is_interactive else PIPE_TIMEOUT)

    def _is_idle(self) -> bool:
        return self._context.simulator.is_idle and self._context.delivery.is_idle


def is_colon_command(line: str) -> bool:
    """Return True if the line begins with a colon and a letter. ``:-)`` is a message."""
    return line[:1] == ":" and line[1:2].isalpha()


def send_message(
    context: ChatContext, text: str, attachments: Sequence[str] = (), hide: Callable[[str], None] = lambda _: None
) -> StoredMessage:
    """Send a message as the active user to the active conversation and return it.

    A user who is not a member of the group joins it first.
    """
    actor = context.simulator.user(context.active.user)
    with context.simulator.world.condition:
        try:
            message = _write(context, actor, text, attachments)
        except Refusal as refusal:
            if refusal.code != "ERR_GROUP_NOT_JOINED":
                raise
            actor.join(context.active.peer)
            message = _write(context, actor, text, attachments)
        hide(message.id)
        return message


def _write(context: ChatContext, actor: Actor, text: str, attachments: Sequence[str]) -> StoredMessage:
    group, user = (context.active.peer, "") if context.active.is_group else ("", context.active.peer)
    written = with_mentions(text, context.simulator.world.directory)
    return actor.say(written, to=user, group=group, attachments=attachments, parent=context.thread)


def with_mentions(text: str, directory: Directory) -> str:
    """Return ``text`` with each ``@uid`` and ``@Name`` of a user replaced by a mention, as CometChat's apps do."""
    names = {user.name.casefold(): uid for uid, user in directory.users.items() if user.name}
    names |= {uid: uid for uid in directory.users}
    listed = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    if "@" not in text or not listed:
        return text
    typed = re.compile(rf"(?<![\w@])@({listed})(?![\w-])", re.IGNORECASE)
    return typed.sub(lambda found: f"<@uid:{names[found[1].casefold()]}>", text)
