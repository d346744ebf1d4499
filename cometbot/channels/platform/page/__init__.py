"""The web chat: the page on which people chat with the platform's bots."""
