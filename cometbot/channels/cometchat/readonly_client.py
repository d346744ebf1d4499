"""A CometChat client for dry runs: it reads from CometChat and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cometbot.channels.cometchat.client import MAX_MEDIA_BYTES, CometChatClient
from cometbot.channels.cometchat.operations import Operations
from cometbot.channels.cometchat.responses import RateLimitStatus

DRY_RUN_ID = "withheld"
"""The id of an object that a dry run would have created."""


class ReadOnlyClient(Operations):
    """The operations of ``client``, of which only those that read are sent.

    For each other operation, ``on_write`` is called with the method and path. The operation succeeds and returns its
    request's body as result; an object that would have got an id has the id ``withheld``.
    """

    def __init__(self, client: CometChatClient, on_write: Callable[[str], None]) -> None:
        self.api_url = client.api_url
        self.app_id = client.app_id
        self.timeout = client.timeout
        self._client = client
        self._on_write = on_write

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.api_url!r})"

    @property
    def rate(self) -> RateLimitStatus | None:
        """The app's rate limit status from the last response that reported one."""
        return self._client.rate

    def request(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Send a GET or HEAD request; for any other, call ``on_write`` and return a successful envelope."""
        if method.upper() in ("GET", "HEAD"):
            return self._client.request(method, path, **options)
        self._on_write(f"{method} {path}")
        requested = body if isinstance(body := options.get("body"), Mapping) else {}
        return {"data": {"id": DRY_RUN_ID, "success": True, **requested}}

    def download(
        self, url: str, to: str | Path | None = None, *, limit: int = MAX_MEDIA_BYTES, timeout: float = 60.0
    ) -> bytes:
        """Download a file, like :meth:`CometChatClient.download`."""
        return self._client.download(url, to, limit=limit, timeout=timeout)

    def close(self) -> None:
        """Do nothing: the connections belong to the underlying client, which stays open."""
