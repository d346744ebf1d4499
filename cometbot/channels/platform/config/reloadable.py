"""The current config in every process, after any of them has reloaded it."""

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
"""Seconds after which a process checks whether another one has reloaded the file."""

_log = logging.getLogger(__name__)


class ReloadableConfig:
    """The content of the config file, loaded on creation and by :meth:`reload` in any process.

    The constructor raises :class:`ConfigurationError` if the file is invalid.
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
        """The current config. If the file became invalid after it was loaded, the old config stays in force."""
        if self._clock() - self._checked_at > CHECK_INTERVAL and self._lock.acquire(blocking=False):
            try:
                self._check_version()
            finally:
                self._lock.release()
        return self._config

    def reload(self) -> Config:
        """Load the file again and return the config; all other processes have it a second later.

        Raises :class:`ConfigurationError` if the file is invalid. Then the old config stays in force.
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
