"""The CometChat channel: receives callbacks and sends REST requests."""

from cometbot.channels.cometchat.channel import CometChatChannel
from cometbot.channels.cometchat.client import CometChatClient
from cometbot.channels.cometchat.settings import CallbackSettings

__all__ = ["CallbackSettings", "CometChatChannel", "CometChatClient"]
