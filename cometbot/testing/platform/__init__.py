"""Tests over the platform: the real one, over the database of the delivery."""

from cometbot.testing.platform.double import PlatformDouble

__all__ = ["PlatformDouble"]
