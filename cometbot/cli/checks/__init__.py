"""The checks of ``cometbot doctor``. Each examines one thing and reports its state, or the problem and its remedy."""

from cometbot.cli.checks.result import CheckResult
from cometbot.cli.checks.suite import CheckSuite

__all__ = ["CheckResult", "CheckSuite"]
