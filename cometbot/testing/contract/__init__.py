"""What every channel must do, as tests that a channel's author runs over a double of the platform."""

from cometbot.testing.contract.suite import ChannelContract
from cometbot.testing.contract.table import capability_table

__all__ = ["ChannelContract", "capability_table"]
