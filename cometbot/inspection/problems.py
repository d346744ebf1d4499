"""Problems that need an operator: dead letters, replies that cannot be sent, and messages that nobody handles.

A problem names classes of errors, handlers and bots, and no text of a user: an exception's own text may contain one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from cometbot.store.alerts import (
    Claim,
    FailedRow,
    has_handled,
    list_dead_letters,
    list_waiting_replies,
    load_claims,
)
from cometbot.store.delivery_store import DeliveryStore

ProblemKind = Literal["dead_letters", "failing_sends", "no_progress", "no_worker"]

FIRST_WINDOW = 3600.0
"""Seconds before the first check of a cause in which its dead letters count."""

_ERROR_CLASS = re.compile(r"([A-Za-z_][A-Za-z0-9_.]{0,99}): ")


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of one bot. ``cause`` is what its alerts are told apart by.

    ``count`` messages or replies are concerned, ``example`` is the id of one of them. ``newest`` is the time of the
    newest failure, and ``seconds`` the age of what waits longest.
    """

    kind: ProblemKind
    bot: str
    cause: str
    count: int
    newest: float = 0.0
    seconds: float = 0.0
    example: str = ""

    @property
    def key(self) -> str:
        """A short key of the kind, the bot and the cause, the same in all processes."""
        return hashlib.sha256("\0".join((self.kind, self.bot, self.cause)).encode()).hexdigest()[:32]

    def describe(self) -> str:
        """Return the problem as a sentence, and the command that shows more."""
        bot, age = self.bot, f"{self.seconds:.0f} s"
        if self.kind == "dead_letters":
            letters = _count(self.count, "new dead letter")
            return f"{bot}: {letters}: {self.cause}. Run: cometbot deadletters show {self.example}"
        if self.kind == "failing_sends":
            replies = _count(self.count, "reply", "replies")
            return f"{bot}: {replies} cannot be sent, the oldest for {age}: {self.cause}. Run: cometbot doctor"
        if self.kind == "no_progress":
            messages = _count(self.count, "message")
            return f"{bot}: {messages} waiting, the oldest for {age}, and none was handled since. Run: cometbot doctor"
        conversations = _count(self.count, "conversation")
        return f"{bot}: {conversations} waiting without a worker. Start one: cometbot serve, cometbot worker"


def _count(number: int, one: str, several: str = "") -> str:
    return f"{number} {one if number == 1 else several or one + 's'}"


def find_problems(
    store: DeliveryStore, bots: Iterable[str], after: float, apps: Mapping[str, str]
) -> tuple[list[Problem], dict[str, Claim]]:
    """Return the problems of ``bots``, and the alerts that were sent, by the problems' keys.

    Messages and replies may wait for ``after`` seconds. A dead letter counts until an alert has counted it. ``apps``
    has the names of accounts, where there are several.
    """
    now = store.database.clock()
    with store.database.read() as connection:
        claims = load_claims(connection)
        since = min([now - FIRST_WINDOW, *(found.seen_to for found in claims.values())])
        dead = list_dead_letters(connection, since)
        held = list_waiting_replies(connection, now - after)
        waiting = store.mailbox.count_waiting(connection)
        stuck = store.leases.count_stuck(connection, after)
        late = [bot for bot, (_, age) in waiting.items() if age > after]
        idle = {bot for bot in late if not has_handled(connection, bot, now - after)}
    known = set(bots)
    found = [
        *_group_dead_letters(dead, claims, now, apps),
        *_group_waiting_replies(held, now, apps),
        *(
            Problem("no_progress", bot, "no progress", waiting[bot][0], seconds=waiting[bot][1])
            for bot in sorted(idle - stuck.keys() - {row.bot for row in held})  # those explain it
        ),
        *(Problem("no_worker", bot, "no worker", count) for bot, count in sorted(stuck.items())),
    ]
    return [problem for problem in found if problem.bot in known], claims


def name_error(error: str) -> str:
    """Return the class or code at the beginning of an error's text, or "other" for a text of another form."""
    matched = _ERROR_CLASS.match(error)
    return matched[1] if matched else "other"


def _group_dead_letters(
    rows: Iterable[FailedRow], claims: Mapping[str, Claim], now: float, apps: Mapping[str, str]
) -> Iterator[Problem]:
    groups: dict[tuple[str, str], list[FailedRow]] = {}
    for row in rows:
        place = f"in the handler {row.handler}" if row.handler else _name_place(row, apps)
        groups.setdefault((row.bot, f"{name_error(row.error)} {place}"), []).append(row)
    for (bot, cause), group in groups.items():
        known = claims.get(Problem("dead_letters", bot, cause, 0).key)
        # Times that are still to come were stored while a clock was ahead.
        since = known.seen_to if known and known.seen_to <= now else now - FIRST_WINDOW
        new = [row for row in group if since < row.at <= now]
        if new:
            newest = max(new, key=lambda row: row.at)
            yield Problem("dead_letters", bot, cause, len(new), newest.at, example=newest.id)


def _group_waiting_replies(rows: Iterable[FailedRow], now: float, apps: Mapping[str, str]) -> Iterator[Problem]:
    groups: dict[tuple[str, str], list[FailedRow]] = {}
    for row in rows:
        groups.setdefault((row.bot, f"{name_error(row.error)} {_name_place(row, apps)}"), []).append(row)
    for (bot, cause), group in groups.items():
        yield Problem("failing_sends", bot, cause, len(group), seconds=now - min(row.at for row in group))


def _name_place(row: FailedRow, apps: Mapping[str, str]) -> str:
    app = apps.get(row.account, "")
    return f"on {row.channel}, app {app}" if app else f"on {row.channel}"
