"""Tests over SimpleX: a fake CLI, with people who write to the bot."""

from cometbot.testing.simplex.cli import FakeSimplexCLI, FakeSimplexControl
from cometbot.testing.simplex.people import FakeGroup, Line, People, Person

__all__ = ["FakeGroup", "FakeSimplexCLI", "FakeSimplexControl", "Line", "People", "Person"]
