"""The doctor's checks: each looks at one thing and says what is, or what is wrong and how to mend it."""

from cometbot.cli.checks.result import CheckResult
from cometbot.cli.checks.suite import CheckSuite

__all__ = ["CheckResult", "CheckSuite"]
