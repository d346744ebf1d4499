"""The doctor's checks: each looks at one thing and says what is, or what is wrong and how to mend it."""

from cometbot.cli.checks.examination import Examination
from cometbot.cli.checks.result import Result

__all__ = ["Examination", "Result"]
