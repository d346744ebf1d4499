"""Listeners of a server that stops: nobody whose connection was established is reset."""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from contextlib import suppress
from typing import Any

_SO_ATTACH_FILTER = 26
_TCP_FLAGS, _SYN, _ACK = 13, 0x02, 0x10

# Classic BPF, (code, jump if true, jump if false, operand): drop the segments that have SYN and not ACK.
_NO_HANDSHAKES = (
    (0x30, 0, 0, _TCP_FLAGS),  # load the byte with the flags
    (0x54, 0, 0, _SYN | _ACK),  # and it with the mask
    (0x15, 0, 1, _SYN),  # compare
    (0x06, 0, 0, 0),  # return: drop
    (0x06, 0, 0, 0xFFFFFFFF),  # return: accept the whole segment
)


def ignore_handshakes(listener: socket.socket) -> None:
    """Have the kernel establish no connection any more, in all processes that share ``listener``.

    The kernel resets what is in the backlog when the last process closes a listener, and between the last ``accept``
    and ``close`` there is always a moment in which a connection may come. After this call none does: the client's first
    packet is dropped. It sends the packet again after a second, and is refused, or connected to the next server.
    Does nothing on other systems than Linux, and for a unix socket, which nobody finds once its path is removed.
    """
    if sys.platform != "linux" or listener.family not in (socket.AF_INET, socket.AF_INET6):
        return
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in _NO_HANDSHAKES)
    memory = ctypes.create_string_buffer(program, len(program))
    with suppress(OSError):
        option = struct.pack("HP", len(_NO_HANDSHAKES), ctypes.addressof(memory))
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)


def ignore_handshakes_on_stop(arbiter: Any) -> None:
    """Have gunicorn's first process call :func:`ignore_handshakes` before it tells its workers to stop.

    It does not where somebody else goes on with the same listeners: systemd, or another gunicorn after SIGUSR2.
    """
    stop = arbiter.stop

    def stop_without_resets(graceful: bool = True) -> None:
        is_shared = arbiter.systemd or arbiter.reexec_pid or arbiter.master_pid
        if graceful and not is_shared:
            for listener in arbiter.LISTENERS:
                ignore_handshakes(listener.sock)
        stop(graceful)

    arbiter.stop = stop_without_resets
