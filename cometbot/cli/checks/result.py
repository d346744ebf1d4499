"""The result of one check."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check. ``ok`` is None if the check does not apply.

    ``cause`` is what was found, what is wrong, or why the check does not apply. ``remedy`` is the command or setting
    that fixes it. ``bot`` is the name of the bot in question, empty if the result is about all, and ``app`` that of the
    app, empty if there is only one.
    """

    name: str
    ok: bool | None
    cause: str
    remedy: str = ""
    bot: str = ""
    app: str = ""

    def masked(self, secrets: Iterable[str]) -> CheckResult:
        """Return a copy with ``secrets`` masked in its texts."""
        cause, remedy = self.cause, self.remedy
        for secret in filter(None, secrets):
            cause, remedy = cause.replace(secret, "***"), remedy.replace(secret, "***")
        return replace(self, cause=cause, remedy=remedy)


def passed(name: str, text: str) -> CheckResult:
    """Return the result of a check that passed."""
    return CheckResult(name, True, text)


def failed(name: str, cause: str, remedy: str) -> CheckResult:
    """Return the result of a check that failed."""
    return CheckResult(name, False, cause, remedy)


def skipped(name: str, why: str) -> CheckResult:
    """Return the result of a check that does not apply, or that depends on one that failed."""
    return CheckResult(name, None, why)


def skip_all(names: Iterable[str], why: str) -> list[CheckResult]:
    """Return the results of several checks that were skipped for the same reason."""
    return [skipped(name, why) for name in names]


def for_app(app: str, results: Iterable[CheckResult]) -> list[CheckResult]:
    """Return ``results`` as those about the app with the name ``app``."""
    return [replace(result, app=app) for result in results]


def for_bot(bot: str, results: Iterable[CheckResult]) -> list[CheckResult]:
    """Return ``results`` as those about the bot with the name ``bot``."""
    return [replace(result, bot=bot) for result in results]
