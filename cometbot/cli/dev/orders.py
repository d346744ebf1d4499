"""What can be ordered in the chat: lines that begin with a colon."""

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

from cometbot.cli.deadletters import make_table
from cometbot.cli.dev.chat import Desk, say
from cometbot.cli.dev.feed import Feed, Wire
from cometbot.cli.dev.rendering import Place
from cometbot.errors import BotError
from cometbot.simulator.directory import Directory

RETRY_AFTER = 2.0
SLOWNESS = 3.0


@dataclass(frozen=True)
class Order:
    """One order: its name, what follows it, what it does in one line, and the function for it, which says whether the
    chat goes on. Orders of one ``topic`` stand together."""

    name: str
    usage: str
    purpose: str
    act: Callable[[str], object]


class Orders:
    """The orders of one chat."""

    def __init__(self, desk: Desk, feed: Feed) -> None:
        self._desk = desk
        self._feed = feed
        self._simulator = desk.simulator
        self._known = {order.name: order for order in self._make()}

    def _make(self) -> list[Order]:
        return [
            Order("as", "NAME", "be somebody else; who does not exist is made", self._as),
            Order("to", "NAME", "write to a bot, a group or a user", self._to),
            Order("thread", "ID", "write in the thread of a message; without ID, no more", self._thread),
            Order("image", "FILE [TEXT]", "send a picture or another file, or a URL", self._image),
            Order("press", "2|LABEL", "press a button; typing its number or label is the same", self._press),
            Order("wire", "on|full|off", "show callbacks and REST calls in a line, whole, or not", self._wire),
            Order("callbacks", "on|full|off", "the same for callbacks alone", self._callbacks),
            Order("calls", "on|full|off", "the same for REST calls alone", self._calls),
            Order("users", "", "who there is", self._users),
            Order("groups", "", "which groups there are, and who is in them", self._groups),
            Order("dead", "", "dead letters: what was not handled or sent, and why", self._dead),
            Order("retry", "ID", "try a dead letter again", self._retry),
            Order(
                "misbehave",
                "KIND [TIMES]",
                "fail as 429, 500, slow, drop or duplicate; off ends it",
                self._misbehave,
            ),
            Order("help", "", "this list", self._help),
            Order("quit", "", "end; Ctrl-C and Ctrl-D do too", lambda _: False),
        ]

    def __call__(self, line: str) -> bool:
        """Whether the chat goes on after the order ``line``, which has no colon any more.

        Raises :class:`BotError` with a sentence if there is no such order, or it cannot be carried out.
        """
        name, _, rest = line.strip().partition(" ")
        order = self._known.get(name.lower())
        if order is None:
            close = difflib.get_close_matches(name.lower(), self._known, n=1)
            guess = f"; did you mean :{close[0]}?" if close else ""
            raise BotError(f"There is no order :{name}{guess} (:help lists all; with a space before it, it is said).")
        return order.act(rest.strip()) is not False

    def complete(self, line: str) -> Sequence[str]:
        """What the last word of ``line`` may become."""
        first, *rest = line.split(" ")
        if not rest:
            commands = [command.name for bot in self._desk.runner.bots for command in bot.commands]
            return [f":{name}" for name in self._known] if first.startswith(":") else commands
        directory = self._simulator.world.directory
        offers: dict[str, Sequence[str]] = {
            ":as": [uid for uid in directory.users if uid not in directory.bots],
            ":to": [*directory.users, *directory.groups],
            ":wire": ("on", "full", "off"),
            ":callbacks": ("on", "full", "off"),
            ":calls": ("on", "full", "off"),
            ":misbehave": ("429", "500", "slow", "drop", "duplicate", "off"),
        }
        return offers.get(first, ()) if len(rest) == 1 else ()

    def _as(self, name: str) -> None:
        directory = self._simulator.world.directory
        uid = uid_for(_needed(name, ":as tom"), directory)
        if uid in directory.bots:
            self._desk.note(f"You write as the bot {uid}: it is not told of what it says itself.")
        elif directory.find_user(uid) is None:
            self._simulator.add_user(uid, name if name != uid else "")
            self._desk.note(f"Made the user {uid}.")
        self._move(Place(uid, self._desk.place.other, self._desk.place.is_group))

    def _to(self, name: str) -> None:
        other = _needed(name, f":to {self._desk.place.other}").lower().removeprefix("#").removeprefix("@")
        directory = self._simulator.world.directory
        if other in directory.groups:
            self._move(Place(self._desk.place.me, other, is_group=True))
        elif directory.find_user(other) is not None:
            self._move(Place(self._desk.place.me, other))
        else:
            there = ", ".join(
                [*directory.bots, *directory.groups, *(uid for uid in directory.users if uid not in directory.bots)]
            )
            raise BotError(f"There is no bot, group or user {other}; there is: {there}.")

    def _move(self, place: Place) -> None:
        self._desk.place, self._desk.thread = place, ""

    def _thread(self, name: str) -> None:
        message_id = name.removeprefix("#")
        if not message_id or message_id == "off":
            self._desk.thread = ""
            return
        root, me = self._simulator.message(message_id), self._desk.place.me
        if root.receiver_type == "group":
            self._desk.place = Place(me, root.receiver, is_group=True)
        elif me in (root.sender, root.receiver):
            self._desk.place = Place(me, root.receiver if root.sender == me else root.sender)
        else:
            raise BotError(f"Message {message_id} is between {root.sender} and {root.receiver}, not for {me}.")
        self._desk.thread = root.parent_id or root.id

    def _image(self, line: str) -> None:
        place, _, caption = _needed(line, ":image photo.png Look at this").partition(" ")
        if "://" in place:
            say(self._desk, caption, [place])
            return
        file = Path(place).expanduser()
        if not file.is_file():
            raise BotError(f"There is no file {file} here in {Path.cwd()}.")
        say(self._desk, caption, [self._simulator.add_file(file.name, file.read_bytes())])

    def _press(self, label: str) -> None:
        say(self._desk, _needed(label, ":press 2"))

    def _wire(self, word: str) -> None:
        self._feed.callbacks = self._feed.calls = _shown(word, "wire")

    def _callbacks(self, word: str) -> None:
        self._feed.callbacks = _shown(word, "callbacks")

    def _calls(self, word: str) -> None:
        self._feed.calls = _shown(word, "calls")

    def _users(self, _: str) -> None:
        directory = self._simulator.world.directory
        rows = [
            (uid, user.name, "bot" if uid in directory.bots else "you" if uid == self._desk.place.me else "")
            for uid, user in directory.users.items()
        ]
        self._show_rows(rows)

    def _groups(self, _: str) -> None:
        groups = self._simulator.world.directory.groups.values()
        self._show_rows([(group.guid, group.name, ", ".join(group.members)) for group in groups])

    def _dead(self, _: str) -> None:
        letters = self._desk.delivery.dead_letters.list()
        if letters:
            self._desk.screen.show(make_table(letters))
        else:
            self._desk.note("There are no dead letters.")

    def _retry(self, name: str) -> None:
        if not self._desk.delivery.retry(_needed(name, ":retry m1")):
            raise BotError(f"There is no dead letter {name}; :dead lists them.")
        self._desk.note(f"{name} is tried again; what it had said before it failed is not said twice.")

    def _misbehave(self, line: str) -> None:
        kind, _, times_text = _needed(line, ":misbehave 429").partition(" ")
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
            "slow": (f"kept waiting for {SLOWNESS:g} s", lambda: rules.slow(SLOWNESS, times=times)),
            "drop": ("carried out, and not answered", lambda: rules.drop(before=False, times=times)),
            "duplicate": ("", lambda: rules.duplicate_callbacks(1, times=times)),
        }
        if kind == "off":
            rules.clear()
            self._desk.note("CometChat behaves again.")
        elif kind not in kinds:
            raise BotError(f"CometChat cannot misbehave as {kind}; choose from: {', '.join(kinds)}, off.")
        else:
            what, begin = kinds[kind]
            begin()
            these = "The next message" if times == 1 else f"The next {times} messages"
            verb = "is" if times == 1 else "are"
            self._desk.note(
                f"{these} of the bot {verb} {what}." if what else f"{these} to the bot {verb} told to it twice."
            )

    def _help(self, _: str) -> None:
        self._show_rows([(f":{order.name} {order.usage}", order.purpose) for order in self._known.values()])

    def _show_rows(self, rows: Sequence[Sequence[str]]) -> None:
        grid = Table.grid(padding=(0, 2))
        for row in rows:
            first, *others = (Text(cell) for cell in row)
            first.stylize("bold")
            grid.add_row(first, *others)
        self._desk.screen.show(grid)


def uid_for(name: str, directory: Directory) -> str:
    """Return the uid of the user who is called ``name``, or one made from it: of a-z, 0-9, - and _."""
    wanted = name.casefold()
    if wanted in directory.users:
        return wanted
    called = (uid for uid, user in directory.users.items() if user.name.casefold() == wanted)
    plain = unicodedata.normalize("NFKD", wanted).encode("ascii", "ignore").decode()
    return next(called, "") or re.sub(r"[^a-z0-9_]+", "-", plain).strip("-") or f"user-{len(directory.users) + 1}"


def _needed(text: str, example: str) -> str:
    if not text:
        raise BotError(f"Something is missing there; say for example {example}")
    return text


def _shown(word: str, order: str) -> Wire:
    if word not in ("on", "full", "off"):
        raise BotError(f"Say :{order} on, :{order} full or :{order} off.")
    return cast(Wire, word)
