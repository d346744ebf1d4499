"""The colon commands of the chat."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.table import Table
from rich.text import Text

from cometbot.cli.deadletters import make_dead_letter_table
from cometbot.cli.dev.chat import ChatContext, send_message
from cometbot.cli.dev.feed import TRAFFIC_DETAILS, EventFeed
from cometbot.cli.dev.rendering import ActiveChat
from cometbot.errors import BotError
from cometbot.simulator import Misbehaviour
from cometbot.simulator.directory import Directory
from cometbot.simulator.records import SCOPES

RETRY_AFTER = 2.0
SLOW_RESPONSE_DELAY = 3.0

_MISBEHAVIOURS: dict[str, tuple[str, Callable[[Misbehaviour, int], None]]] = {
    "429": (
        f"The bot's {{}} to CometChat: status 429, retry after {RETRY_AFTER:g} s.",
        lambda rules, times: rules.rate_limit(retry_after=RETRY_AFTER, times=times),
    ),
    "500": ("The bot's {} to CometChat: status 500.", lambda rules, times: rules.fail(500, times=times)),
    "slow": (
        f"The bot's {{}} to CometChat: answered after {SLOW_RESPONSE_DELAY:g} s.",
        lambda rules, times: rules.slow(SLOW_RESPONSE_DELAY, times=times),
    ),
    "drop": (
        "The bot's {} to CometChat: performed, but not answered.",
        lambda rules, times: rules.drop(before=False, times=times),
    ),
    "duplicate": (
        "CometChat's {} to the bot: sent twice.",
        lambda rules, times: rules.duplicate_callbacks(1, times=times),
    ),
}
"""Each kind of misbehaviour: its description, and the function that activates it."""


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
        self._commands = {command.name: command for command in self._define_commands()}

    def _define_commands(self) -> list[ColonCommand]:
        level = "|".join(TRAFFIC_DETAILS)
        traffic, callbacks, calls = (
            partial(self._set_detail, names) for names in (("callbacks", "calls"), ("callbacks",), ("calls",))
        )
        return [
            ColonCommand("as", "NAME", "write as another user; creates the user if necessary", self._as),
            ColonCommand("to", "NAME", "write to a bot, a group or a user", self._to),
            ColonCommand("thread", "ID", "write in the thread of a message; without ID, leave it", self._thread),
            ColonCommand("image", "FILE [TEXT]", "send a picture or another file, or a URL", self._image),
            ColonCommand("press", "2|LABEL", "press a button; typing its number or label does the same", self._press),
            ColonCommand("traffic", level, "show callbacks and REST calls: one line each, in full, or not", traffic),
            ColonCommand("callbacks", level, "the same for callbacks only", callbacks),
            ColonCommand("calls", level, "the same for REST calls only", calls),
            ColonCommand("users", "", "list the users", self._users),
            ColonCommand("groups", "", "list the groups and their members", self._groups),
            ColonCommand("scope", "UID SCOPE", "make a member admin, moderator or participant", self._scope),
            ColonCommand("dead", "", "list the dead letters: what could not be handled or sent, and why", self._dead),
            ColonCommand("retry", "ID", "retry a dead letter", self._retry),
            ColonCommand(
                "misbehave", "KIND [TIMES]", "simulate 429, 500, slow, drop or duplicate; off ends it", self._misbehave
            ),
            ColonCommand("help", "", "show this list", self._help),
            ColonCommand("quit", "", "quit; so do Ctrl-C and Ctrl-D", lambda _: False),
        ]

    def __call__(self, line: str) -> bool:
        """Execute the command ``line``, which has no colon, and return False if the chat should end.

        Raises :class:`BotError` with a sentence if there is no such command, or if it fails.
        """
        name, _, rest = line.strip().partition(" ")
        command = self._commands.get(name.lower())
        if command is None:
            close = difflib.get_close_matches(name.lower(), self._commands, n=1)
            guess = f" Did you mean :{close[0]}?" if close else ""
            raise BotError(
                f"Unknown command :{name}.{guess} :help lists all commands; "
                "to send it as a message, put a space before it."
            )
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
            **dict.fromkeys((":traffic", ":callbacks", ":calls"), TRAFFIC_DETAILS),
            ":misbehave": (*_MISBEHAVIOURS, "off"),
        }
        return completions.get(first, ()) if len(rest) == 1 else ()

    def _as(self, name: str) -> None:
        directory = self._simulator.world.directory
        uid = uid_for(_require(name, ":as tom"), directory)
        if uid in directory.bots:
            self._context.show_note(f"You write as the bot {uid}. A bot never receives its own messages.")
        elif directory.find_user(uid) is None:
            self._simulator.add_user(uid, name if name != uid else "")
            self._context.show_note(f"Created the user {uid}.")
        self._switch_chat(ActiveChat(uid, self._context.active.peer, self._context.active.is_group))

    def _to(self, name: str) -> None:
        other = _require(name, f":to {self._context.active.peer}").lower().removeprefix("#").removeprefix("@")
        directory = self._simulator.world.directory
        if other in directory.groups:
            self._switch_chat(ActiveChat(self._context.active.user, other, is_group=True))
        elif directory.find_user(other) is not None:
            self._switch_chat(ActiveChat(self._context.active.user, other))
        else:
            known = ", ".join(
                [*directory.bots, *directory.groups, *(uid for uid in directory.users if uid not in directory.bots)]
            )
            raise BotError(f"No bot, group or user {other}. There are: {known}.")

    def _switch_chat(self, chat: ActiveChat) -> None:
        self._context.active, self._context.thread = chat, ""

    def _thread(self, name: str) -> None:
        message_id = name.removeprefix("#")
        if not message_id or message_id == "off":
            self._context.thread = ""
            return
        root, me = self._simulator.message(message_id), self._context.active.user
        if root.receiver_type == "group":
            self._context.active = ActiveChat(me, root.receiver, is_group=True)
        elif me in (root.sender, root.receiver):
            self._context.active = ActiveChat(me, root.receiver if root.sender == me else root.sender)
        else:
            raise BotError(f"Message {message_id} is between {root.sender} and {root.receiver}; {me} cannot see it.")
        self._context.thread = root.parent_id or root.id

    def _image(self, line: str) -> None:
        place, _, caption = _require(line, ":image photo.png Look at this").partition(" ")
        if "://" in place:
            send_message(self._context, caption, [place])
            return
        file = Path(place).expanduser()
        if not file.is_file():
            raise BotError(f"File not found: {file} (current folder: {Path.cwd()}).")
        send_message(self._context, caption, [self._simulator.add_file(file.name, file.read_bytes())])

    def _press(self, label: str) -> None:
        send_message(self._context, _require(label, ":press 2"))

    def _set_detail(self, names: Sequence[str], word: str) -> None:
        if word not in TRAFFIC_DETAILS:
            raise BotError(f"Expected {', '.join(TRAFFIC_DETAILS[:-1])} or {TRAFFIC_DETAILS[-1]}, got {word!r}.")
        for name in names:
            setattr(self._feed, name, word)

    def _users(self, _: str) -> None:
        directory = self._simulator.world.directory
        rows = [
            (uid, user.name, "bot" if uid in directory.bots else "you" if uid == self._context.active.user else "")
            for uid, user in directory.users.items()
        ]
        self._show_rows(rows)

    def _groups(self, _: str) -> None:
        groups = self._simulator.world.directory.groups.values()
        self._show_rows([(group.guid, group.name, ", ".join(group.members)) for group in groups])

    def _scope(self, line: str) -> None:
        uid, _, scope = _require(line, ":scope helpdesk moderator").partition(" ")
        if not self._context.active.is_group:
            raise BotError("This chat is no group. :to #GROUP opens one.")
        if scope not in SCOPES:
            raise BotError(
                f"Expected {', '.join(SCOPES[:-1])} or {SCOPES[-1]}, got {scope!r}. Example: :scope shop admin"
            )
        self._simulator.set_scope(self._context.active.peer, uid, scope)
        self._context.show_note(f"{uid} is {scope} of {self._context.active.peer}.")

    def _dead(self, _: str) -> None:
        letters = self._context.delivery.dead_letters.list()
        if letters:
            self._context.screen.show(make_dead_letter_table(letters))
        else:
            self._context.show_note("There are no dead letters.")

    def _retry(self, name: str) -> None:
        if not self._context.delivery.retry(_require(name, ":retry m1")):
            raise BotError(f"No dead letter {name}. :dead lists them.")
        self._context.show_note(f"Retrying {name}. Replies from before its failure are not sent twice.")

    def _misbehave(self, line: str) -> None:
        kind, _, times_text = _require(line, ":misbehave 429").partition(" ")
        if times_text and not (times_text.isascii() and times_text.isdigit() and int(times_text)):
            raise BotError(f"Expected a number of times, got {times_text!r}. Example: :misbehave {kind} 3")
        times, rules = int(times_text or 1), self._simulator.misbehave
        if kind == "off":
            rules.clear()
            self._context.show_note("CometChat behaves normally again.")
        elif kind not in _MISBEHAVIOURS:
            raise BotError(f"Unknown misbehaviour {kind}. Choose from: {', '.join(_MISBEHAVIOURS)}, off.")
        else:
            effect, activate = _MISBEHAVIOURS[kind]
            activate(rules, times)
            subject = "next request" if times == 1 else f"next {times} requests"
            self._context.show_note(effect.format(subject))

    def _help(self, _: str) -> None:
        self._show_rows([(f":{command.name} {command.usage}", command.purpose) for command in self._commands.values()])

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
        raise BotError(f"Missing argument. Example: {example}")
    return text
