"""The channel to SimpleX Chat through the SimpleX CLI: direct chats, groups and business chats."""

from cometbot.channels.simplex.channel import SimplexChannel
from cometbot.channels.simplex.client import SimplexClient
from cometbot.channels.simplex.rendering import file

__all__ = ["SimplexChannel", "SimplexClient", "file"]
