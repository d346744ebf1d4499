"""The platform in tests: the real one, over the database that delivery works in."""

from cometbot.testing.botyard.double import BotyardDouble

__all__ = ["BotyardDouble"]
