"""A server's listeners: who may connect to a unix socket, and a close that resets no established connection."""

from __future__ import annotations

import ctypes
import grp
import os
import socket
import struct
import sys
from contextlib import suppress

from cometbot.errors import ConfigurationError

SOCKET_UMASK = 0o117
"""Grants read and write to the owner and to the group: mode 0660."""

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


def find_group(name: str) -> int:
    """Return the id of the group with this name or number.

    Raises :class:`ConfigurationError` if there is no such group, or if this user may not assign files to it.
    """
    try:
        gid = int(name) if name.isascii() and name.isdigit() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigurationError(
            f"COMETBOT_SOCKET_GROUP: expected a group of this system, got {name!r}. Set the group of your proxy, "
            "for example www-data."
        ) from None
    if os.geteuid() != 0 and gid not in {os.getegid(), *os.getgroups()}:
        raise ConfigurationError(
            f"cannot give the socket to the group {name!r}: this user is not in it. Add the user with "
            f"usermod -aG {name} USER, or set SupplementaryGroups={name} in systemd."
        )
    return gid
