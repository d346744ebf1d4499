"""Check of the limit on open files, which bounds the connections of a process."""

from __future__ import annotations

from cometbot.cli.checks.result import CheckResult, failed, passed
from cometbot.settings import Settings
from cometbot.web.open_files import REMEDY, connection_limit, describe_shortage

_NAME = "open files"


def check_open_files(settings: Settings, hard_limit: int | None = None) -> CheckResult:
    """Check the limit on open files of this shell, which a server started from it inherits.

    ``hard_limit`` replaces this system's hard limit (None).
    """
    if shortage := describe_shortage(settings, hard_limit):
        return failed(_NAME, shortage, REMEDY)
    return passed(_NAME, f"the limit allows {connection_limit(settings, hard_limit)} connections a process")
