"""Short texts between the processes of one machine: unix datagrams without acknowledgement."""

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

MAX_DATAGRAM_SIZE = 64 * 1024
"""Maximum size of a datagram in bytes."""


class DatagramSocket:
    """One socket per process, in a folder that only this user may enter; each database has its own folder.

    Delivery is not guaranteed: a system may have no such sockets, and a text is lost if its receiver is too busy.
    """

    def __init__(self, database: str, name: str) -> None:
        folder = hashlib.sha256(database.encode()).hexdigest()[:16]
        uid = os.getuid() if hasattr(os, "getuid") else 0
        self._folder = Path(gettempdir()) / f"cometbot-{uid}-{folder}"
        self._path = self._folder / f"{name}.sock"
        self._receiver: socket.socket | None = None
        self._shared_folder: SharedFolder | None = None

    @property
    def address(self) -> str:
        """The address of this process for other processes, or "" if they cannot reach it."""
        return str(self._path) if self._receiver else ""

    def addresses(self, prefix: str) -> list[str]:
        """Return the addresses of this database's processes whose names begin with ``prefix``.

        Dead processes are included.
        """
        return [str(path) for path in self._folder.glob(f"{prefix}*.sock")] if self._is_own_folder() else []

    def folder_mtime(self) -> int:
        """Return a number that changes when processes start or end; 0 if there are none."""
        with suppress(OSError):
            return self._folder.stat().st_mtime_ns
        return 0

    def listen(self, callback: Callable[[str], None]) -> None:
        """Start a thread that calls ``callback(text)`` for every text received from now on."""
        if not hasattr(socket, "AF_UNIX") or not self._make_folder():
            return
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            receiver.bind(str(self._path))
        except OSError as error:
            receiver.close()
            self._release_folder()
            log.info("cannot listen to other processes: %s. Their changes are found by polling.", error)
            return
        self._receiver = receiver
        threading.Thread(
            target=self._receive_forever, args=(receiver, callback), name="cometbot-datagrams", daemon=True
        ).start()

    def _make_folder(self) -> bool:
        with suppress(OSError):
            # Do not wait for the lock in a folder that another user owns.
            if not self._folder.exists() or self._is_own_folder():
                self._shared_folder = SharedFolder(self._folder)
        return self._shared_folder is not None and self._is_own_folder()

    def _is_own_folder(self) -> bool:
        """Return True if the folder belongs to this user alone.

        Another user may have created a folder of this name before.
        """
        with suppress(OSError):
            status = self._folder.lstat()
            return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
        return False

    def _receive_forever(self, receiver: socket.socket, callback: Callable[[str], None]) -> None:
        while self._receiver is receiver:
            try:
                text = receiver.recv(MAX_DATAGRAM_SIZE).decode("utf-8", "replace")
            except OSError:
                return
            if text:
                callback(text)

    def send(self, addresses: Iterable[str], text: str, *, timeout: float = 0.0) -> list[str]:
        """Send ``text``, and return the addresses whose process has died.

        The other processes have received the text, unless they were too busy. ``timeout`` is the maximum number of
        seconds to wait for a busy one.
        """
        dead = []
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(timeout)
            for address in addresses:
                try:
                    sender.sendto(text.encode(), address)
                except ConnectionRefusedError:
                    dead.append(address)
                except OSError:
                    continue
        return dead

    def close(self) -> None:
        """Stop listening."""
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            with suppress(OSError):
                receiver.shutdown(socket.SHUT_RDWR)
            receiver.close()
            with suppress(OSError):
                self._path.unlink()
            self._release_folder()

    def _release_folder(self) -> None:
        if self._shared_folder is not None:
            self._shared_folder.close()
            self._shared_folder = None
