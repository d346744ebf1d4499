"""The config in force, in every process, also after it was read again in one of them."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from cometbot.channels.botyard.config.fields import Config
from cometbot.channels.botyard.config.loading import load_config
from cometbot.errors import ConfigurationError, StoreBusy
from cometbot.store.database import Database
from cometbot.store.facts import note, recall

FACT = "botyard.config"
LOOK = 1.0
"""Seconds after which a process looks whether another one has read the file again."""

_log = logging.getLogger(__name__)


class LiveConfig:
    """What the config file says. It is read when this is made, and again by :meth:`reload` in any process.

    Raises :class:`ConfigurationError` where the file is wrong when this is made.
    """

    def __init__(
        self,
        path: Path | None,
        environ: Mapping[str, str],
        database: Database,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._environ = dict(environ)
        self._database = database
        self._clock = clock
        self._guard = threading.Lock()
        self._config = load_config(path, environ)
        self._version = ""
        self._looked_at = float("-inf")

    @property
    def now(self) -> Config:
        """The config in force. A file that has become wrong since leaves it as it was."""
        if self._clock() - self._looked_at > LOOK and self._guard.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._guard.release()
        return self._config

    def reload(self) -> Config:
        """The config after reading the file again; all processes have it a second later.

        Raises :class:`ConfigurationError` where the file is wrong; then the old config stays in force.
        """
        with self._guard:
            config = load_config(self._path, self._environ)
            version = secrets.token_hex(8)
            note(self._database, FACT, version)
            self._config, self._version = config, version
            return config

    def _look(self) -> None:
        self._looked_at = self._clock()
        try:
            version = recall(self._database, FACT)
            if version == self._version:
                return
            self._version = version
            self._config = load_config(self._path, self._environ)
        except StoreBusy:
            return
        except ConfigurationError as error:
            _log.warning("kept the platform's old config: %s", error)
