"""Which of two passwords CometChat sends while one replaces the other, as the log says it."""

from __future__ import annotations

import logging

from cometbot.http.auth import BasicCredentials
from cometbot.http.rate_limiter import RateLimiter

_log = logging.getLogger(__name__)
_INTERVAL = 60.0


class RotationLog:
    """Logs which password of two is in use: with the first call, and when that changes, at most once a minute.

    ``credentials`` are those of the calls, ``setting`` is the variable of the previous password.
    """

    def __init__(self, credentials: BasicCredentials, setting: str) -> None:
        self._credentials = credentials
        self._setting = setting
        self._uses_previous: dict[str, bool] = {}
        self._limiter = RateLimiter(1, _INTERVAL)

    def record(self, bot: str, header: str) -> None:
        """Record a call for ``bot`` whose credentials are right."""
        if not self._credentials.has_previous(bot):
            return
        is_previous = self._credentials.uses_previous(bot, header)
        if self._uses_previous.get(bot) is is_previous or self._limiter.acquire(bot):
            return
        self._uses_previous[bot] = is_previous
        if is_previous:
            text = "CometChat calls %s with the previous password, %s; set the new one there: cometbot bots sync"
            _log.warning(text, bot, self._setting)
        else:
            _log.info("CometChat calls %s with the new password; %s is not needed any more", bot, self._setting)
