"""The times of jobs: intervals, cron lines, and single times."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from cometbot.durations import Duration, to_seconds
from cometbot.errors import BotError, RegistrationError

_CRON_FIELDS = 5

_FIRST_YEAR, _LAST_YEAR = 2, 9998
"""The years that are on the calendar in every zone."""


@dataclass(frozen=True, slots=True)
class Every:
    """All ``seconds`` seconds, counted from 1970 UTC, so that all processes agree."""

    seconds: int

    @property
    def spec(self) -> str:
        """The schedule as it is stored."""
        return f"every {self.seconds}"

    def next_after(self, now: float) -> float | None:
        """Return the next time after ``now``, in Unix seconds."""
        return float((math.floor(now) // self.seconds + 1) * self.seconds)


@dataclass(frozen=True, slots=True)
class Cron:
    """The times of a cron line on the clocks of ``zone``."""

    line: str
    zone: str

    @property
    def spec(self) -> str:
        """The schedule as it is stored."""
        return f"cron {self.zone} {self.line}"

    def next_after(self, now: float) -> float | None:
        """Return the next time after ``now``, in Unix seconds; None if there is none in the next 50 years.

        A local time that the clocks leave out is replaced by the next that they show. One that they show twice counts
        once, unless the minute or the hour of the line begins with ``*``: then it follows the time that passes.
        """
        times = (found.timestamp() for found in CronSim(self.line, datetime.fromtimestamp(now, ZoneInfo(self.zone))))
        return next((found for found in times if found > now), None)


@dataclass(frozen=True, slots=True)
class At:
    """One time, in Unix seconds."""

    time: float

    @property
    def spec(self) -> str:
        """The schedule as it is stored."""
        return f"at {self.time!r}"

    def next_after(self, now: float) -> float | None:
        """Return the time if it is after ``now``, else None."""
        return self.time if self.time > now else None


Schedule = Every | Cron | At


def parse_schedule(spec: str) -> Schedule:
    """Return the schedule that was stored as ``spec``."""
    kind, _, rest = spec.partition(" ")
    if kind == "every":
        return Every(int(rest))
    if kind == "at":
        return At(float(rest))
    zone, _, line = rest.partition(" ")
    return Cron(line, zone)


def make_every(interval: Duration) -> Every:
    """Return the schedule of an interval. Raises :class:`RegistrationError` unless it is whole seconds, 1 or more."""
    try:
        seconds = to_seconds(interval, "every")
    except BotError as error:
        raise RegistrationError(str(error)) from None
    if seconds < 1 or seconds != int(seconds):
        raise RegistrationError(f'every: expected whole seconds, at least 1, such as "30s" or "5m"; got {interval!r}')
    return Every(int(seconds))


def make_cron(line: str, zone: str) -> Cron:
    """Return the schedule of a cron line. Raises :class:`RegistrationError` if the line or the zone is wrong."""
    if not isinstance(line, str) or len(line.split()) != _CRON_FIELDS:
        raise RegistrationError(
            "cron: expected five fields (minute, hour, day of the month, month, day of the week) such as "
            f'"0 9 * * 1-5"; got {line!r}'
        )
    made = Cron(" ".join(line.split()), _check_zone(zone))
    try:
        found = made.next_after(0.0)
    except CronSimError as error:
        raise RegistrationError(
            f"cron: {str(error).lower()} in {line!r}; expected a line such as 0 9 * * 1-5"
        ) from None
    if found is None:
        raise RegistrationError(f"cron: expected a line such as 0 9 * * 1-5, got {line!r}, which never comes")
    return made


def make_at(when: datetime) -> At:
    """Return the schedule of one time. Raises :class:`BotError` unless it has a zone."""
    if not isinstance(when, datetime):
        raise BotError(f"at: expected a datetime with a zone, got {when!r}")
    return At(to_due_time(when, "at", 0.0).at)


def _check_zone(zone: str) -> str:
    try:
        return ZoneInfo(zone).key
    except (LookupError, ValueError, TypeError, OSError, AttributeError):
        raise RegistrationError(
            f'cron: tz: expected the name of a time zone such as "Europe/Berlin" or "UTC", got {zone!r}'
        ) from None


@dataclass(frozen=True, slots=True)
class DueTime:
    """A time in Unix seconds: on the wall clock, or on the clock that does not jump."""

    at: float
    on_wall_clock: bool


def to_due_time(when: Duration | datetime, name: str, now: float) -> DueTime:
    """Return the time ``when``, a duration from ``now`` on or a time with a zone.

    Raises :class:`BotError`, with ``name``, for anything else.
    """
    if not isinstance(when, datetime):
        return DueTime(now + to_seconds(when, name), False)
    if when.utcoffset() is None:
        raise BotError(
            f"{name}: expected a time with a zone, such as datetime(2027, 1, 1, 9, tzinfo=ZoneInfo('Europe/Berlin')); "
            f"got {when!r}, which has none"
        )
    if not _FIRST_YEAR <= when.year <= _LAST_YEAR:
        raise BotError(f"{name}: expected a time in the years {_FIRST_YEAR} to {_LAST_YEAR}, got {when!r}")
    return DueTime(when.timestamp(), True)
