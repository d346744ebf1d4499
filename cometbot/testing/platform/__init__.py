"""The platform in tests: the real one, over the database that delivery works in."""

from cometbot.testing.platform.double import PlatformDouble

__all__ = ["PlatformDouble"]
