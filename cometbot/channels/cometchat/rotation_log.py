"""The log of a change of passwords: which of the two CometChat sends."""

from __future__ import annotations

import logging

from cometbot.http.auth import BasicCredentials
from cometbot.http.rate_limiter import RateLimiter

_log = logging.getLogger(__name__)
_INTERVAL = 60.0


class RotationLog:
    """Logs which password of two is in use: with the first call, and when that changes, at most once a minute.

    ``credentials`` are those of the calls, ``setting`` is the variable of the previous password, ``remedy`` how
    CometChat gets the new one.
    """

    def __init__(self, credentials: BasicCredentials, setting: str, remedy: str) -> None:
        self._credentials = credentials
        self._setting = setting
        self._remedy = remedy
        self._uses_previous: dict[str, bool] = {}
        self._limiter = RateLimiter(1, _INTERVAL)

    def record(self, name: str, header: str, path: str) -> None:
        """Record a call of ``path`` whose ``header`` has right credentials of ``name``."""
        if not self._credentials.has_previous(name):
            return
        is_previous = self._credentials.uses_previous(name, header)
        if self._uses_previous.get(path) is is_previous or self._limiter.acquire(path):
            return
        self._uses_previous[path] = is_previous
        if is_previous:
            text = "CometChat calls %s with the previous password, %s; set the new one: %s"
            _log.warning(text, path, self._setting, self._remedy)
        else:
            _log.info("CometChat calls %s with the new password; %s is not needed any more", path, self._setting)
