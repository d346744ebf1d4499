"""What came of one check."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line of the doctor's. ``ok`` is None where the check does not apply.

    ``cause`` says what is, or what is wrong, or why the check does not apply; ``remedy`` the command or the setting
    that mends it. ``bot`` is the name of the bot that it is about, empty where it is about all.
    """

    name: str
    ok: bool | None
    cause: str
    remedy: str = ""
    bot: str = ""

    def masked(self, secrets: Iterable[str]) -> CheckResult:
        """The same without any of ``secrets`` in its texts."""
        cause, remedy = self.cause, self.remedy
        for secret in filter(None, secrets):
            cause, remedy = cause.replace(secret, "***"), remedy.replace(secret, "***")
        return replace(self, cause=cause, remedy=remedy)


def passed(name: str, text: str, *, bot: str = "") -> CheckResult:
    """A check that found things right."""
    return CheckResult(name, True, text, bot=bot)


def failed(name: str, cause: str, remedy: str, *, bot: str = "") -> CheckResult:
    """A check that found something wrong."""
    return CheckResult(name, False, cause, remedy, bot)


def skipped(name: str, why: str, *, bot: str = "") -> CheckResult:
    """A check that does not apply, or that cannot be made before another one passes."""
    return CheckResult(name, None, why, bot=bot)
