"""Access to the unix socket that the server listens on."""

from __future__ import annotations

import grp
import os
import socket
from collections.abc import Callable
from typing import Any

from cometbot.errors import ConfigurationError

SOCKET_UMASK = 0o117
"""Grants read and write to the owner and to the group: mode 0660."""


def socket_hooks(group: str) -> dict[str, Callable[[Any], None]]:
    """Return gunicorn's server hooks that set the group of its unix sockets to ``group``; none for an empty name.

    Raises :class:`ConfigurationError` if there is no such group, or if this user may not use it.
    """
    if not group:
        return {}
    gid = find_group(group)

    def set_group(server: Any) -> None:
        # systemd sets the access of sockets that it opens.
        for listener in () if server.systemd else server.LISTENERS:
            if listener.FAMILY == socket.AF_UNIX:
                os.chown(listener.cfg_addr, -1, gid)

    return {"when_ready": set_group, "on_reload": set_group}


def find_group(name: str) -> int:
    """Return the id of the group with this name or number.

    Raises :class:`ConfigurationError` if there is no such group, or if this user may not assign files to it.
    """
    try:
        gid = int(name) if name.isascii() and name.isdigit() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigurationError(
            f"COMETBOT_SOCKET_GROUP is wrong: there is no group {name!r}; set the group of your proxy, "
            "for example www-data"
        ) from None
    if os.geteuid() != 0 and gid not in {os.getegid(), *os.getgroups()}:
        raise ConfigurationError(
            f"cannot give the socket to the group {name!r}: this user is not in it; add the user with "
            f"usermod -aG {name} USER, or set SupplementaryGroups={name} in systemd"
        )
    return gid
