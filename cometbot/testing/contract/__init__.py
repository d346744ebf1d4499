"""The channel contract: tests that a channel's author runs with a fake of the platform."""

from cometbot.testing.contract.suite import ChannelContract, capability_table

__all__ = ["ChannelContract", "capability_table"]
