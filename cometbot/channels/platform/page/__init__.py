"""The web chat: the page on which people chat with the platform's bots."""

from cometbot.channels.platform.page.views import page_blueprint

__all__ = ["page_blueprint"]
