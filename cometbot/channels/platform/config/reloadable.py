"""The config in force, in every process, also after it was read again in one of them."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from cometbot.channels.platform.config.fields import Config
from cometbot.channels.platform.config.loading import load_config
from cometbot.errors import ConfigurationError, StoreBusy
from cometbot.store.database import Database
from cometbot.store.metadata import get_metadata, set_metadata

VERSION_NAME = "platform.config"
CHECK_INTERVAL = 1.0
"""Seconds after which a process looks whether another one has read the file again."""

_log = logging.getLogger(__name__)


class ReloadableConfig:
    """What the config file says. It is read when this is made, and again by :meth:`reload` in any process.

    Raises :class:`ConfigurationError` where the file is wrong when this is made.
    """

    def __init__(
        self,
        path: Path | None,
        overrides: Mapping[str, str],
        database: Database,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._overrides = dict(overrides)
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._config = load_config(path, overrides)
        self._version = ""
        self._checked_at = float("-inf")

    @property
    def current(self) -> Config:
        """The config in force. A file that has become wrong since leaves it as it was."""
        if self._clock() - self._checked_at > CHECK_INTERVAL and self._lock.acquire(blocking=False):
            try:
                self._check_version()
            finally:
                self._lock.release()
        return self._config

    def reload(self) -> Config:
        """The config after reading the file again; all processes have it a second later.

        Raises :class:`ConfigurationError` where the file is wrong; then the old config stays in force.
        """
        with self._lock:
            config = load_config(self._path, self._overrides)
            version = secrets.token_hex(8)
            set_metadata(self._database, VERSION_NAME, version)
            self._config, self._version = config, version
            return config

    def _check_version(self) -> None:
        self._checked_at = self._clock()
        try:
            version = get_metadata(self._database, VERSION_NAME)
            if version == self._version:
                return
            self._version = version
            self._config = load_config(self._path, self._overrides)
        except StoreBusy:
            return
        except ConfigurationError as error:
            _log.warning("kept the platform's old config: %s", error)
