"""What the pages of cometbot share: the scripts and styles of a chat, and how a page's files are served."""

from cometbot.http.page.files import PageFiles

__all__ = ["PageFiles"]
