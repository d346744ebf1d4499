"""HTTP client: a pooled session, a timeout for the whole exchange, errors that show whether anything was sent."""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

from cometbot.errors import ChannelError, OutcomeUnknown, Rejected, Unreachable
from cometbot.http.watchdog import WATCHDOG, Deadline

_thread_state = threading.local()
_NAT64_NETWORK = ipaddress.ip_network("64:ff9b::/96")
_NON_PUBLIC_NETWORKS = [
    ipaddress.ip_network(text)
    for text in (
        "192.0.0.0/24",  # RFC 6890: protocol assignments; Python calls some of it global
        "192.88.99.0/24",  # RFC 7526: 6to4 relays, deprecated
        "168.63.129.16/32",  # Azure's platform service, which answers each virtual machine
        "::/96",  # RFC 4291: IPv4-compatible, deprecated
        "::ffff:0:0:0/96",  # RFC 2765: IPv4-translated
        "64:ff9b:1::/48",  # RFC 8215: translation to IPv4 within one's own network
        "fec0::/10",  # RFC 3879: site-local, deprecated
        "100::/64",  # RFC 6666: discard-only
        "5f00::/16",  # RFC 9602: segment routing
    )
]
"""Networks that :mod:`ipaddress` treats as public in some release of Python, but that lead to no public server."""
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def make_session(pool_size: int, *, allow_private: bool = True) -> requests.Session:
    """Create a session for many threads that ignores the environment's proxies and never retries.

    Without ``allow_private``, a request to an address of this machine or of a private network raises
    :class:`Rejected`. The check applies to the address that the session is about to connect to, so DNS rebinding does
    not bypass it. Servers' certificates are verified against the file in ``SSL_CERT_FILE``, if it exists.
    """
    session = requests.Session()
    session.trust_env = False
    # requests ignores SSL_CERT_FILE, which applies to all other TLS connections of the process.
    if os.path.isfile(authorities := os.environ.get("SSL_CERT_FILE", "")):
        session.verify = authorities
    adapter = _Adapter(pool_size, allow_private=allow_private)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


@contextmanager
def time_limited_exchange(
    session: requests.Session, url: str, request_name: str, timeout: float, *, peer: str, remedy: str = ""
) -> Iterator[Deadline]:
    """Limit the block, which sends one request and reads its response, to ``timeout`` seconds.

    A connection error or timeout in the block is raised as :class:`Unreachable` if certainly nothing was sent, else as
    :class:`OutcomeUnknown`. Their texts name the request (``request_name``), the server (``peer``), and what to check
    if it cannot be reached (``remedy``). The time for the DNS lookup is not limited.
    """
    _thread_state.is_sent = False
    try:
        with WATCHDOG.start_deadline(timeout, direction=socket.SHUT_RDWR) as deadline:
            _thread_state.deadline = deadline
            yield deadline
            if deadline.expired:  # a response that was cut off may look complete
                raise TimeoutError
    except (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
        is_timeout = deadline.expired or isinstance(error, requests.Timeout | TimeoutError)
        raise _to_channel_error(
            error, _is_unsent(session, url, error), is_timeout, request_name, timeout, peer, remedy
        ) from None
    finally:
        _thread_state.deadline = None


def _is_unsent(session: requests.Session, url: str, error: Exception) -> bool:
    """Return whether certainly nothing was sent.

    Only our own adapter records that; for an author's own session, only ``requests.ConnectTimeout`` is certain.
    """
    is_own = isinstance(session.get_adapter(url), _Adapter)
    return not _thread_state.is_sent if is_own else isinstance(error, requests.ConnectTimeout)


def _to_channel_error(
    error: Exception, is_unsent: bool, is_late: bool, what: str, seconds: float, peer: str, remedy: str
) -> ChannelError:
    kind = type(error).__name__
    if is_unsent:
        return Unreachable(f"{what}: {peer} could not be reached ({kind}){'; ' + remedy if remedy else ''}")
    if is_late:
        return OutcomeUnknown(f"{what}: {peer} did not answer within {seconds:g} seconds", down=True)
    return OutcomeUnknown(f"{what}: the connection to {peer} broke before the answer was whole ({kind})")


def is_public(address: str) -> bool:
    """Return whether an IP address is a public one, not one of this machine or of a private network."""
    found = _embedded_ipv4(ipaddress.ip_address(address.partition("%")[0]))
    is_forbidden = any(found in network for network in _NON_PUBLIC_NETWORKS)
    return found.is_global and not found.is_multicast and not is_forbidden


def _embedded_ipv4(address: _Address) -> _Address:
    """Return the IPv4 address embedded in an IPv6 address, or ``address`` itself if there is none."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64_NETWORK:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


class _DeadlineConnection:
    """A connection that records when sending starts, and is shut down at the deadline of the exchange."""

    sock: socket.socket | None

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()  # type: ignore[attr-defined]
        _thread_state.is_sent = True
        deadline = getattr(_thread_state, "deadline", None)
        if deadline is not None and isinstance(self.sock, socket.socket):
            WATCHDOG.add_socket(deadline, self.sock)
        super().send(data)  # type: ignore[misc]


class _PublicOnlyConnection:
    """A connection to public addresses only.

    The name is resolved once, and the connection is made to an address that was checked.
    """

    _dns_host: str
    port: int

    def _new_conn(self) -> socket.socket:
        name = self._dns_host
        try:
            found = socket.getaddrinfo(name, self.port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError):
            raise ConnectionError("the name cannot be looked up") from None
        addresses = list(dict.fromkeys(str(place[4][0]) for place in found))
        public = [address for address in addresses if is_public(address)]
        if not public:
            raise Rejected(
                f"{name} is an address of this machine or of a private network; "
                "COMETBOT_ALLOW_PRIVATE_WEBHOOKS=1 would allow that"
            )
        return self._connect_to_first(public)

    def _connect_to_first(self, addresses: list[str]) -> socket.socket:
        """Return a connection to the first address that accepts one."""
        name = self._dns_host
        try:
            for address in addresses[:-1]:
                self._dns_host = address
                try:
                    return super()._new_conn()  # type: ignore[misc, no-any-return]
                except (urllib3.exceptions.HTTPError, OSError):
                    continue
            self._dns_host = addresses[-1]
            return super()._new_conn()  # type: ignore[misc, no-any-return]
        finally:
            self._dns_host = name


class _HTTPConnection(_DeadlineConnection, HTTPConnection):
    pass


class _HTTPSConnection(_DeadlineConnection, HTTPSConnection):
    pass


class _PublicHTTPConnection(_DeadlineConnection, _PublicOnlyConnection, HTTPConnection):
    pass


class _PublicHTTPSConnection(_DeadlineConnection, _PublicOnlyConnection, HTTPSConnection):
    pass


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


class _PublicHTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _PublicHTTPConnection


class _PublicHTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _PublicHTTPSConnection


class _Adapter(HTTPAdapter):
    def __init__(self, pool_size: int, *, allow_private: bool) -> None:
        self._pools = (
            {"http": _HTTPPool, "https": _HTTPSPool}
            if allow_private
            else {"http": _PublicHTTPPool, "https": _PublicHTTPSPool}
        )
        super().__init__(pool_connections=8, pool_maxsize=pool_size, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = dict(self._pools)
