"""Closes a server's listeners without resetting established connections."""

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
    """Stop the kernel from establishing new connections, in all processes that share ``listener``.

    The kernel resets the connections in the backlog when the last process closes a listener, and a connection may
    always arrive between the last ``accept`` and ``close``. After this call none is established: the kernel drops the
    client's first packet. The client sends it again after a second, and is refused or reaches the next server.

    Does nothing on systems other than Linux, and for a unix socket, which no new client reaches once its path is
    removed.
    """
    if sys.platform != "linux" or listener.family not in (socket.AF_INET, socket.AF_INET6):
        return
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in _NO_HANDSHAKES)
    memory = ctypes.create_string_buffer(program, len(program))
    with suppress(OSError):
        option = struct.pack("HP", len(_NO_HANDSHAKES), ctypes.addressof(memory))
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)


def ignore_handshakes_on_stop(arbiter: Any) -> None:
    """Patch gunicorn's master process to call :func:`ignore_handshakes` before a graceful stop of its workers.

    It is not called if the listeners stay in use: by systemd, or by another gunicorn after SIGUSR2.
    """
    stop = arbiter.stop

    def stop_without_resets(graceful: bool = True) -> None:
        is_shared = arbiter.systemd or arbiter.reexec_pid or arbiter.master_pid
        if graceful and not is_shared:
            for listener in arbiter.LISTENERS:
                ignore_handshakes(listener.sock)
        stop(graceful)

    arbiter.stop = stop_without_resets
