"""Detects the PROXY protocol, which this server does not support."""

from __future__ import annotations

import socket
import ssl

REFUSAL_MESSAGE = (
    "the PROXY protocol is not supported. Switch it off in the proxy (send-proxy in HAProxy, proxy_protocol in nginx)"
    " and let the proxy send X-Forwarded-For"
)

_VERSION_1 = b"PROXY "
_VERSION_2 = b"\r\n\r\n\x00\r\nQUIT\n"


def begins_proxy_protocol(connection: socket.socket) -> bool:
    """Return whether the first bytes on a new connection are those of a PROXY header of version 1 or 2.

    The bytes are peeked at and not consumed. The result is False for a TLS connection, whose first bytes were the
    handshake's.
    """
    if isinstance(connection, ssl.SSLSocket):
        return False
    try:
        begin = connection.recv(len(_VERSION_2), socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return False
    return begin.startswith((_VERSION_1, _VERSION_2))
