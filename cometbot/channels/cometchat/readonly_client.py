"""CometChat for rehearsals: what is there can be read, and nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cometbot.channels.cometchat.client import MAX_MEDIA_BYTES, CometChatClient
from cometbot.channels.cometchat.operations import Operations
from cometbot.channels.cometchat.responses import RateLimitStatus

DRY_RUN_ID = "withheld"
"""The id of what a rehearsal would have made."""


class ReadOnlyClient(Operations):
    """The operations of ``client``, of which only those that read are carried out.

    Of each other one ``on_write`` is told the method and path; it is answered with success, and with what was asked for
    as its result. What would have got an id has the id ``withheld``.
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
        """What the last answer said of the app's budget."""
        return self._client.rate

    def request(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """The answer of ``client`` where nothing is changed by asking; else success, and a note."""
        if method.upper() in ("GET", "HEAD"):
            return self._client.request(method, path, **options)
        self._on_write(f"{method} {path}")
        requested = body if isinstance(body := options.get("body"), Mapping) else {}
        return {"data": {"id": DRY_RUN_ID, "success": True, **requested}}

    def download(
        self, url: str, to: str | Path | None = None, *, limit: int = MAX_MEDIA_BYTES, timeout: float = 60.0
    ) -> bytes:
        """As of :meth:`CometChatClient.download`."""
        return self._client.download(url, to, limit=limit, timeout=timeout)

    def close(self) -> None:
        """Nothing: the connections are those of the client behind it, which goes on."""
