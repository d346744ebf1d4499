"""Telling the other processes of this machine that a conversation has mail: unix datagrams, sent and forgotten."""

from __future__ import annotations

import hashlib
import logging
import os
import random
import secrets
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa

from cometbot.store.database import Database
from cometbot.store.tables import processes

log = logging.getLogger(__name__)

_listeners = sa.select(processes.c.address).where(processes.c.handles, processes.c.address != "")


class Hints:
    """One socket a process, in a folder that only this user may enter. Where there is none, the sweep does it a
    second later."""

    def __init__(self, database: str, token: str) -> None:
        name = hashlib.sha256(database.encode()).hexdigest()[:16]
        uid = os.getuid() if hasattr(os, "getuid") else 0
        self._folder = Path(tempfile.gettempdir()) / f"cometbot-{uid}-{name}"
        self._path = self._folder / f"{token}.sock"
        self._listening: socket.socket | None = None

    @property
    def address(self) -> str:
        """Where others can reach this process; empty if they cannot."""
        return str(self._path) if self._listening else ""

    def listen(self, heard: Callable[[str], None]) -> None:
        """Call ``heard(lane)`` for every hint from now on."""
        if not hasattr(socket, "AF_UNIX") or not self._make_folder():
            return
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            listening.bind(str(self._path))
        except OSError as error:
            listening.close()
            log.info("cannot listen for hints of other processes (%s); the sweep finds their mail", error)
            return
        self._listening = listening
        threading.Thread(target=self._hear, args=(listening, heard), name="cometbot-hints", daemon=True).start()

    def _make_folder(self) -> bool:
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            found = self._folder.lstat()
            return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
        return False

    def _hear(self, listening: socket.socket, heard: Callable[[str], None]) -> None:
        while self._listening is listening:
            try:
                lane = listening.recv(4096).decode("utf-8", "replace")
            except OSError:
                return
            if lane:
                heard(lane)

    def tell(self, addresses: Iterable[str], lane: str) -> list[str]:
        """The addresses whose process has died; the others have the hint, unless they were too busy to take it."""
        gone = []
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
            sending.setblocking(False)
            for address in addresses:
                try:
                    sending.sendto(lane.encode(), address)
                except ConnectionRefusedError:
                    gone.append(address)
                except OSError:
                    continue
        return gone

    def close(self) -> None:
        """Stop listening."""
        listening, self._listening = self._listening, None
        if listening is not None:
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            listening.close()
            with suppress(OSError):
                self._path.unlink()


class Siblings:
    """The processes of this machine that handle messages, to be told of mail."""

    def __init__(self, source: Database) -> None:
        self._database = source
        self._hints = Hints(getattr(source, "path", ""), secrets.token_hex(4))
        self._known: list[str] = []
        self._asked = float("-inf")

    def wake(self, lane: str) -> None:
        """Hint one of them; which one does not matter."""
        if time.monotonic() - self._asked > 1.0:
            self._asked = time.monotonic()
            with self._database.read() as connection:
                self._known = list(connection.execute(_listeners).scalars())
        if self._known:
            self._hints.tell([random.choice(self._known)], lane)

    def close(self) -> None:
        """Nothing: a hint keeps nothing open."""
