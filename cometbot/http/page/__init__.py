"""The scripts and styles that cometbot's pages share, and the class that serves a page's files."""

from cometbot.http.page.files import PageFiles

__all__ = ["PageFiles"]
