"""The colon commands of the chat."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from rich.table import Table
from rich.text import Text

from cometbot.cli.deadletters import make_dead_letter_table
from cometbot.cli.dev.chat import ChatContext, send_message
from cometbot.cli.dev.feed import EventFeed, TrafficDetail
from cometbot.cli.dev.rendering import ActiveChat
from cometbot.errors import BotError
from cometbot.simulator.directory import Directory

RETRY_AFTER = 2.0
SLOW_RESPONSE_DELAY = 3.0


@dataclass(frozen=True)
class ColonCommand:
    """One command: its name, its arguments, a one-line description for the help, and its function.

    The function returns False to end the chat.
    """

    name: str
    usage: str
    purpose: str
    run: Callable[[str], object]


class ColonCommands:
    """The commands of one chat."""

    def __init__(self, context: ChatContext, feed: EventFeed) -> None:
        self._context = context
        self._feed = feed
        self._simulator = context.simulator
        self._commands = {order.name: order for order in self._define_commands()}

    def _define_commands(self) -> list[ColonCommand]:
        return [
            ColonCommand("as", "NAME", "be somebody else; who does not exist is made", self._as),
            ColonCommand("to", "NAME", "write to a bot, a group or a user", self._to),
            ColonCommand("thread", "ID", "write in the thread of a message; without ID, no more", self._thread),
            ColonCommand("image", "FILE [TEXT]", "send a picture or another file, or a URL", self._image),
            ColonCommand("press", "2|LABEL", "press a button; typing its number or label is the same", self._press),
            ColonCommand("wire", "on|full|off", "show callbacks and REST calls in a line, whole, or not", self._wire),
            ColonCommand("callbacks", "on|full|off", "the same for callbacks alone", self._callbacks),
            ColonCommand("calls", "on|full|off", "the same for REST calls alone", self._calls),
            ColonCommand("users", "", "who there is", self._users),
            ColonCommand("groups", "", "which groups there are, and who is in them", self._groups),
            ColonCommand("dead", "", "dead letters: what was not handled or sent, and why", self._dead),
            ColonCommand("retry", "ID", "try a dead letter again", self._retry),
            ColonCommand(
                "misbehave",
                "KIND [TIMES]",
                "fail as 429, 500, slow, drop or duplicate; off ends it",
                self._misbehave,
            ),
            ColonCommand("help", "", "this list", self._help),
            ColonCommand("quit", "", "end; Ctrl-C and Ctrl-D do too", lambda _: False),
        ]

    def __call__(self, line: str) -> bool:
        """Execute the command ``line``, which has no colon, and return False if the chat should end.

        Raises :class:`BotError` with a sentence if there is no such command, or if it fails.
        """
        name, _, rest = line.strip().partition(" ")
        command = self._commands.get(name.lower())
        if command is None:
            close = difflib.get_close_matches(name.lower(), self._commands, n=1)
            guess = f"; did you mean :{close[0]}?" if close else ""
            raise BotError(f"There is no order :{name}{guess} (:help lists all; with a space before it, it is said).")
        return command.run(rest.strip()) is not False

    def complete(self, line: str) -> Sequence[str]:
        """Return the completions of the last word of ``line``."""
        first, *rest = line.split(" ")
        if not rest:
            commands = [command.name for bot in self._context.runner.bots for command in bot.commands]
            return [f":{name}" for name in self._commands] if first.startswith(":") else commands
        directory = self._simulator.world.directory
        completions: dict[str, Sequence[str]] = {
            ":as": [uid for uid in directory.users if uid not in directory.bots],
            ":to": [*directory.users, *directory.groups],
            ":wire": ("on", "full", "off"),
            ":callbacks": ("on", "full", "off"),
            ":calls": ("on", "full", "off"),
            ":misbehave": ("429", "500", "slow", "drop", "duplicate", "off"),
        }
        return completions.get(first, ()) if len(rest) == 1 else ()

    def _as(self, name: str) -> None:
        directory = self._simulator.world.directory
        uid = uid_for(_require(name, ":as tom"), directory)
        if uid in directory.bots:
            self._context.show_note(f"You write as the bot {uid}: it is not told of what it says itself.")
        elif directory.find_user(uid) is None:
            self._simulator.add_user(uid, name if name != uid else "")
            self._context.show_note(f"Made the user {uid}.")
        self._switch_chat(ActiveChat(uid, self._context.place.peer, self._context.place.is_group))

    def _to(self, name: str) -> None:
        other = _require(name, f":to {self._context.place.peer}").lower().removeprefix("#").removeprefix("@")
        directory = self._simulator.world.directory
        if other in directory.groups:
            self._switch_chat(ActiveChat(self._context.place.user, other, is_group=True))
        elif directory.find_user(other) is not None:
            self._switch_chat(ActiveChat(self._context.place.user, other))
        else:
            known = ", ".join(
                [*directory.bots, *directory.groups, *(uid for uid in directory.users if uid not in directory.bots)]
            )
            raise BotError(f"There is no bot, group or user {other}; there is: {known}.")

    def _switch_chat(self, chat: ActiveChat) -> None:
        self._context.place, self._context.thread = chat, ""

    def _thread(self, name: str) -> None:
        message_id = name.removeprefix("#")
        if not message_id or message_id == "off":
            self._context.thread = ""
            return
        root, me = self._simulator.message(message_id), self._context.place.user
        if root.receiver_type == "group":
            self._context.place = ActiveChat(me, root.receiver, is_group=True)
        elif me in (root.sender, root.receiver):
            self._context.place = ActiveChat(me, root.receiver if root.sender == me else root.sender)
        else:
            raise BotError(f"Message {message_id} is between {root.sender} and {root.receiver}, not for {me}.")
        self._context.thread = root.parent_id or root.id

    def _image(self, line: str) -> None:
        place, _, caption = _require(line, ":image photo.png Look at this").partition(" ")
        if "://" in place:
            send_message(self._context, caption, [place])
            return
        file = Path(place).expanduser()
        if not file.is_file():
            raise BotError(f"There is no file {file} here in {Path.cwd()}.")
        send_message(self._context, caption, [self._simulator.add_file(file.name, file.read_bytes())])

    def _press(self, label: str) -> None:
        send_message(self._context, _require(label, ":press 2"))

    def _wire(self, word: str) -> None:
        self._feed.callbacks = self._feed.calls = _parse_detail(word, "wire")

    def _callbacks(self, word: str) -> None:
        self._feed.callbacks = _parse_detail(word, "callbacks")

    def _calls(self, word: str) -> None:
        self._feed.calls = _parse_detail(word, "calls")

    def _users(self, _: str) -> None:
        directory = self._simulator.world.directory
        rows = [
            (uid, user.name, "bot" if uid in directory.bots else "you" if uid == self._context.place.user else "")
            for uid, user in directory.users.items()
        ]
        self._show_rows(rows)

    def _groups(self, _: str) -> None:
        groups = self._simulator.world.directory.groups.values()
        self._show_rows([(group.guid, group.name, ", ".join(group.members)) for group in groups])

    def _dead(self, _: str) -> None:
        letters = self._context.delivery.dead_letters.list()
        if letters:
            self._context.screen.show(make_dead_letter_table(letters))
        else:
            self._context.show_note("There are no dead letters.")

    def _retry(self, name: str) -> None:
        if not self._context.delivery.retry(_require(name, ":retry m1")):
            raise BotError(f"There is no dead letter {name}; :dead lists them.")
        self._context.show_note(f"{name} is tried again; what it had said before it failed is not said twice.")

    def _misbehave(self, line: str) -> None:
        kind, _, times_text = _require(line, ":misbehave 429").partition(" ")
        if times_text and not (times_text.isascii() and times_text.isdigit() and int(times_text)):
            raise BotError(f"{times_text} is no number of times; say for example :misbehave {kind} 3")
        times = int(times_text or 1)
        rules = self._simulator.misbehave
        kinds: dict[str, tuple[str, Callable[[], None]]] = {
            "429": (
                f"answered with 429, to be tried again after {RETRY_AFTER:g} s",
                lambda: rules.rate_limit(retry_after=RETRY_AFTER, times=times),
            ),
            "500": ("answered with 500", lambda: rules.fail(500, times=times)),
            "slow": (
                f"kept waiting for {SLOW_RESPONSE_DELAY:g} s",
                lambda: rules.slow(SLOW_RESPONSE_DELAY, times=times),
            ),
            "drop": ("carried out, and not answered", lambda: rules.drop(before=False, times=times)),
            "duplicate": ("", lambda: rules.duplicate_callbacks(1, times=times)),
        }
        if kind == "off":
            rules.clear()
            self._context.show_note("CometChat behaves again.")
        elif kind not in kinds:
            raise BotError(f"CometChat cannot misbehave as {kind}; choose from: {', '.join(kinds)}, off.")
        else:
            what, activate = kinds[kind]
            activate()
            these = "The next message" if times == 1 else f"The next {times} messages"
            verb = "is" if times == 1 else "are"
            self._context.show_note(
                f"{these} of the bot {verb} {what}." if what else f"{these} to the bot {verb} told to it twice."
            )

    def _help(self, _: str) -> None:
        self._show_rows([(f":{order.name} {order.usage}", order.purpose) for order in self._commands.values()])

    def _show_rows(self, rows: Sequence[Sequence[str]]) -> None:
        grid = Table.grid(padding=(0, 2))
        for row in rows:
            first, *others = (Text(cell) for cell in row)
            first.stylize("bold")
            grid.add_row(first, *others)
        self._context.screen.show(grid)


def uid_for(name: str, directory: Directory) -> str:
    """Return the uid of the user called ``name``, or a new one derived from it: of a-z, 0-9, - and _."""
    wanted = name.casefold()
    if wanted in directory.users:
        return wanted
    by_name = (uid for uid, user in directory.users.items() if user.name.casefold() == wanted)
    ascii_name = unicodedata.normalize("NFKD", wanted).encode("ascii", "ignore").decode()
    return next(by_name, "") or re.sub(r"[^a-z0-9_]+", "-", ascii_name).strip("-") or f"user-{len(directory.users) + 1}"


def _require(text: str, example: str) -> str:
    if not text:
        raise BotError(f"Something is missing there; say for example {example}")
    return text


def _parse_detail(word: str, command: str) -> TrafficDetail:
    if word not in ("on", "full", "off"):
        raise BotError(f"Say :{command} on, :{command} full or :{command} off.")
    return cast(TrafficDetail, word)
