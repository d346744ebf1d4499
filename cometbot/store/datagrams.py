"""Short texts between the processes of one machine: unix datagrams, sent and forgotten."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import gettempdir

from cometbot.temporary_folders import SharedFolder

log = logging.getLogger(__name__)

LONGEST = 64 * 1024
"""Bytes that one datagram may have."""


class Datagrams:
    """One socket a process, in a folder that only this user may enter; there is a folder for each database.

    Who uses it must do without: a system may have no such sockets, and a text is lost where its reader is too busy.
    """

    def __init__(self, database: str, name: str) -> None:
        folder = hashlib.sha256(database.encode()).hexdigest()[:16]
        uid = os.getuid() if hasattr(os, "getuid") else 0
        self._folder = Path(gettempdir()) / f"cometbot-{uid}-{folder}"
        self._path = self._folder / f"{name}.sock"
        self._listening: socket.socket | None = None
        self._shared: SharedFolder | None = None

    @property
    def address(self) -> str:
        """Where others can reach this process; empty if they cannot."""
        return str(self._path) if self._listening else ""

    def addresses(self, prefix: str) -> list[str]:
        """The addresses of all processes with this database whose names begin with ``prefix``, dead ones included."""
        return [str(path) for path in self._folder.glob(f"{prefix}*.sock")] if self._is_own_folder() else []

    def changed(self) -> int:
        """A number that is another one after processes have come or gone; 0 where nobody is."""
        with suppress(OSError):
            return self._folder.stat().st_mtime_ns
        return 0

    def listen(self, heard: Callable[[str], None]) -> None:
        """Call ``heard(text)``, in a thread, for every text from now on."""
        if not hasattr(socket, "AF_UNIX") or not self._make_folder():
            return
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            listening.bind(str(self._path))
        except OSError as error:
            listening.close()
            self._leave()
            log.info("cannot listen to other processes (%s); what they do is found a little later", error)
            return
        self._listening = listening
        threading.Thread(target=self._hear, args=(listening, heard), name="cometbot-hints", daemon=True).start()

    def _make_folder(self) -> bool:
        with suppress(OSError):
            # The lock in a folder of another user's must not be waited for.
            if not self._folder.exists() or self._is_own_folder():
                self._shared = SharedFolder(self._folder)
        return self._shared is not None and self._is_own_folder()

    def _is_own_folder(self) -> bool:
        """Whether the folder is this user's alone: anybody may have made one of this name before."""
        with suppress(OSError):
            found = self._folder.lstat()
            return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
        return False

    def _hear(self, listening: socket.socket, heard: Callable[[str], None]) -> None:
        while self._listening is listening:
            try:
                text = listening.recv(LONGEST).decode("utf-8", "replace")
            except OSError:
                return
            if text:
                heard(text)

    def tell(self, addresses: Iterable[str], text: str, *, patience: float = 0.0) -> list[str]:
        """The addresses whose process has died; the others have the text, unless they were too busy to take it.

        ``patience``: seconds that are spent at most on one that is busy.
        """
        gone = []
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
            sending.settimeout(patience)
            for address in addresses:
                try:
                    sending.sendto(text.encode(), address)
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
            self._leave()

    def _leave(self) -> None:
        if self._shared is not None:
            self._shared.close()
            self._shared = None
