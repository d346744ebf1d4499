"""A TCP proxy in front of a server on a unix socket, which can be cut, fall silent, or lead elsewhere."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from tests.ports import HOST


class TcpProxy:
    """Forwards connections to the unix socket ``target``, which may be changed for those that follow.

    ``lose_answer`` is asked for each piece that a client sends: where it returns True the server gets the piece, and
    its answer is dropped with the connection.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.lose_answer: Callable[[bytes], bool] = lambda piece: False
        self.is_silent = False
        self.connections = 0
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                self._ends += [client, server]
                try:
                    server.connect(self.target)
                except OSError:
                    client.shutdown(socket.SHUT_RDWR)
                    continue
                self.connections += 1
                lost = threading.Event()
                self._start(self._forward, client, server, True, lost)
                self._start(self._forward, server, client, False, lost)

    def _forward(self, source: socket.socket, sink: socket.socket, is_request: bool, lost: threading.Event) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                if is_request and self.lose_answer(piece):
                    lost.set()
                elif not is_request and lost.is_set():
                    break
                if not self.is_silent:
                    sink.sendall(piece)
        _shut([source, sink])

    def cut(self) -> None:
        """End all connections."""
        _shut(list(self._ends))

    def close(self) -> None:
        """End all connections, and take no more."""
        _shut([self._listener])
        self._threads[0].join()
        self.cut()
        for thread in self._threads:
            thread.join()
        for end in [self._listener, *self._ends]:
            end.close()


def _shut(ends: list[socket.socket]) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
