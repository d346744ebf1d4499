"""HTTP client: a pooled session, a timeout for the whole exchange, errors that show whether anything was sent."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import Any, BinaryIO
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.cookies import extract_cookies_to_jar, get_cookie_header
from urllib3.connection import HTTPConnection, HTTPSConnection

from cometbot.errors import ChannelError, OutcomeUnknown, Rejected, Unreachable
from cometbot.http.responses import HttpResponse
from cometbot.http.watchdog import WATCHDOG, Deadline

MAX_REDIRECTS = 5

_CHUNK_SIZE = 64 * 1024
_MIN_TIMEOUT = 0.001
"""The least timeout of a socket in seconds: 0 would mean not to wait at all."""

_MAX_POOLS = 8
_PLAIN_URL = re.compile(
    r"(?P<server>https?://[a-z0-9.-]+(?::[0-9]+)?)(?P<target>/[A-Za-z0-9._~!$&'()*+,;=:@/-]*(?:\?[A-Za-z0-9._~=&-]*)?)?"
)
"""A URL that requests would not change: it has no user name, nothing quoted, and nothing to be quoted."""

_TIMEOUTS = (requests.Timeout, TimeoutError, urllib3.exceptions.TimeoutError)
_ADAPTER_SEND = HTTPAdapter.send
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


class HttpClient:
    """A client of one kind of server: each exchange ends in time, and its errors name the server.

    ``peer`` is the server's name in errors; ``remedy`` says what to check if it cannot be reached.
    """

    def __init__(self, session: requests.Session, *, peer: str, remedy: str = "") -> None:
        self.session = session
        self._is_own_session = isinstance(session.get_adapter("https://"), _Adapter)
        self._pools: dict[tuple[str, Any], Any] = {}
        self._peer = peer
        self._remedy = remedy

    def send(
        self, method: str, url: str, request_name: str, timeout: float, *, limit: int, **options: Any
    ) -> HttpResponse:
        """Send a request like :meth:`open`, and return the response with its whole body.

        Raises :class:`OutcomeUnknown` for a body of more than ``limit`` bytes.
        """
        text = f"{request_name}: {self._peer} answered with more than {limit} bytes"
        with self.exchange(request_name, timeout):
            can_send = "/." not in url and self._can_send_directly(**options)  # requests resolves /../
            plain_url = _PLAIN_URL.fullmatch(url) if can_send else None
            if plain_url is not None:
                return self._send_directly(method, plain_url, timeout, limit, partial(OutcomeUnknown, text), **options)
            with self._request(method, url, timeout, **options) as response:
                status = response.status_code
                chunks, error = response.iter_content(_CHUNK_SIZE), partial(OutcomeUnknown, text, status=status)
                body = b"".join(_limit_size(response.headers, chunks, limit, error))
                return HttpResponse(status, response.headers, body)

    def _can_send_directly(
        self, headers: Mapping[str, str] | None = None, params: object = None, data: object = None
    ) -> bool:
        """Return True if this needs nothing that requests adds to urllib3, which takes longer than all the rest."""
        session = self.session
        return (
            self._is_own_session
            and HTTPAdapter.send is _ADAPTER_SEND  # else it is replaced, as by the library responses in tests
            and (data is None or isinstance(data, bytes))
            and not (params or session.proxies or session.auth or session.cert or session.params)
        )

    def _send_directly(
        self,
        method: str,
        url: re.Match[str],
        timeout: float,
        limit: int,
        make_error: Callable[..., ChannelError],
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        params: None = None,
    ) -> HttpResponse:
        session, wait = self.session, max(timeout, _MIN_TIMEOUT)
        sent = {**session.headers, "Accept-Encoding": "identity", **(headers or {})}
        if session.cookies and (cookie := get_cookie_header(session.cookies, _prepare(url[0]))):  # type: ignore[no-untyped-call]
            sent["Cookie"] = cookie
        response = self._find_pool(url["server"]).urlopen(
            method,
            url["target"] or "/",
            body=b"" if data is None and method not in ("GET", "HEAD") else data,
            headers=sent,
            retries=False,
            redirect=False,
            assert_same_host=False,
            timeout=urllib3.Timeout(connect=wait, read=wait),
            preload_content=False,
            decode_content=False,
        )
        with closing(response):
            if "Set-Cookie" in response.headers:
                extract_cookies_to_jar(session.cookies, _prepare(url[0]), response)  # type: ignore[no-untyped-call]
            chunks, error = response.stream(_CHUNK_SIZE), partial(make_error, status=response.status)
            body = b"".join(_limit_size(response.headers, chunks, limit, error))
            return HttpResponse(response.status, response.headers, body)

    def _find_pool(self, server: str) -> Any:
        """Return the connections to a server, of which the adapter closes those that are used least."""
        verify = self.session.verify
        pool = self._pools.get((server, verify))
        if pool is None or pool.pool is None:
            request, adapter = _prepare(server), self.session.get_adapter(server)
            assert isinstance(adapter, _Adapter)
            pool = adapter.get_connection_with_tls_context(request, verify)
            adapter.cert_verify(pool, request.url, verify, None)  # type: ignore[no-untyped-call]
            if len(self._pools) >= _MAX_POOLS:
                self._pools.clear()
            self._pools[server, verify] = pool
        return pool

    @contextmanager
    def open(
        self, method: str, url: str, request_name: str, timeout: float, **options: Any
    ) -> Iterator[requests.Response]:
        """Send a request within :meth:`exchange`; yield its response, whose body is still to be read.

        No redirect is followed. ``options`` are ``headers``, ``params`` and ``data``, as in ``requests``.
        """
        with self.exchange(request_name, timeout), self._request(method, url, timeout, **options) as response:
            yield response

    def download(
        self,
        url: str,
        file: BinaryIO,
        *,
        limit: int,
        timeout: float,
        to_error: Callable[[HttpResponse, str], ChannelError],
    ) -> tuple[str, Mapping[str, str]]:
        """Write the content of ``url`` to ``file``; return the URL and the headers that it came with.

        At most :data:`MAX_REDIRECTS` redirects are followed. Raises :class:`Rejected` for a URL that is not http(s),
        for more redirects, and for a file of more than ``limit`` bytes; the error that ``to_error`` makes of any other
        response than 200 and the request's name; and the errors of :meth:`exchange`.
        """
        ends_at = time.monotonic() + timeout
        if not _is_http_url(url):
            raise Rejected("the file's URL: expected an http(s) URL with a host")
        for _ in range(MAX_REDIRECTS + 1):
            request_name = f"GET {url_origin(url)} (file)"
            remaining = max(ends_at - time.monotonic(), _MIN_TIMEOUT)
            with self.open("GET", url, request_name, remaining) as response:
                location = response.headers.get("Location", "")
                if 300 <= response.status_code < 400 and location:
                    url = _resolve_redirect(url, location, request_name)
                    continue
                if response.status_code != 200:
                    raise to_error(read_error_response(response), request_name)
                text = f"{request_name}: the file is larger than {limit} bytes, the limit"
                too_large = partial(Rejected, text, code="file_too_large", status=200)
                chunks = response.iter_content(_CHUNK_SIZE)
                file.writelines(_limit_size(response.headers, chunks, limit, too_large))
                return url, response.headers
        raise Rejected(f"{request_name}: redirected more than {MAX_REDIRECTS} times")

    @contextmanager
    def exchange(self, request_name: str, timeout: float) -> Iterator[Deadline]:
        """Limit the block, which sends one request and reads its response, to ``timeout`` seconds.

        A connection error or timeout in the block is raised as :class:`Unreachable` if certainly nothing was sent, else
        as :class:`OutcomeUnknown`. The time for the DNS lookup is not limited.
        """
        _thread_state.is_sent = False
        _thread_state.deadline = deadline = WATCHDOG.start_deadline(timeout, direction=socket.SHUT_RDWR)
        try:
            yield deadline
            if deadline.expired:  # a response that was cut off may look complete
                raise TimeoutError
        except (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
            if self._is_unsent(error):
                remedy = f"; {self._remedy}" if self._remedy else ""
                text = f"{request_name}: {self._peer} could not be reached ({type(error).__name__}){remedy}"
                raise Unreachable(text) from None
            if deadline.expired or isinstance(error, _TIMEOUTS):
                text = f"{request_name}: {self._peer} did not answer within {timeout:g} seconds"
                raise OutcomeUnknown(text, down=True) from None
            text = f"the connection to {self._peer} closed before the response was complete"
            raise OutcomeUnknown(f"{request_name}: {text} ({type(error).__name__})") from None
        finally:
            deadline.cancel()
            _thread_state.deadline = None

    def _request(
        self, method: str, url: str, timeout: float, headers: Mapping[str, str] | None = None, **options: Any
    ) -> requests.Response:
        session, wait = self.session, max(timeout, _MIN_TIMEOUT)
        sent = {"Accept-Encoding": "identity", **(headers or {})}
        settings: dict[str, Any] = {"timeout": (wait, wait), "allow_redirects": False, "stream": True}
        if not self._is_own_session:
            return session.request(method, url, headers=sent, **options, **settings)
        # Session.request merges the environment's settings too, which takes longer than all the rest.
        request = requests.PreparedRequest()
        own = {"cookies": session.cookies, "auth": session.auth, "hooks": session.hooks}
        request.prepare(method, url, {**session.headers, **sent}, **own, **options)
        settings |= {"proxies": session.proxies, "verify": session.verify, "cert": session.cert}
        return session.send(request, **settings)

    def _is_unsent(self, error: Exception) -> bool:
        """Return whether certainly nothing was sent.

        Only our own adapter records that; for an author's own session, only ``requests.ConnectTimeout`` is certain.
        """
        return not _thread_state.is_sent if self._is_own_session else isinstance(error, requests.ConnectTimeout)

    def close(self) -> None:
        """Close the pooled connections."""
        self.session.close()


def url_origin(url: str) -> str:
    """Return the scheme, host and port of a URL, which name its server without a path or query."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme.lower() == "https" else 80)
    host = (parts.hostname or "").lower()
    return f"{parts.scheme.lower()}://{f'[{host}]' if ':' in host else host}:{port}"


def _is_http_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _resolve_redirect(url: str, location: str, request_name: str) -> str:
    try:
        target = urljoin(url, location)
    except ValueError:
        target = ""
    if not _is_http_url(target):
        raise Rejected(f"{request_name}: redirected to something that is not an http(s) URL")
    return target


def _limit_size(
    headers: Mapping[str, str], chunks: Iterable[bytes], limit: int, make_error: Callable[[], ChannelError]
) -> Iterator[bytes]:
    """Yield the chunks of a body; raise the error as soon as it certainly has more than ``limit`` bytes."""
    announced = headers.get("Content-Length", "")
    size = int(announced[:20]) if announced.isascii() and announced.isdigit() else 0
    if size > limit:
        raise make_error()
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise make_error()
        yield chunk


def _prepare(url: str) -> requests.PreparedRequest:
    return requests.Request("GET", url).prepare()


def read_error_response(response: requests.Response) -> HttpResponse:
    """Return a refusal with the beginning of its body, as far as that arrives: the status alone decides."""
    body = bytearray()
    with suppress(requests.RequestException, urllib3.exceptions.HTTPError, OSError):
        for chunk in response.iter_content(_CHUNK_SIZE):
            body += chunk
            if len(body) >= _CHUNK_SIZE:
                break
    return HttpResponse(response.status_code, response.headers, bytes(body))


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
        if deadline is not None and isinstance(self.sock, socket.socket) and self.sock not in deadline.sockets:
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
        addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
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


def _make_pool_class(pool: type[Any], connection: type[Any], mixins: tuple[type[Any], ...]) -> type[Any]:
    connection_class = type(f"_{connection.__name__}", (*mixins, connection), {})
    return type(f"_{pool.__name__}", (pool,), {"ConnectionCls": connection_class})


class _Adapter(HTTPAdapter):
    def __init__(self, pool_size: int, *, allow_private: bool) -> None:
        mixins = (_DeadlineConnection,) if allow_private else (_DeadlineConnection, _PublicOnlyConnection)
        self._pools = {
            "http": _make_pool_class(urllib3.HTTPConnectionPool, HTTPConnection, mixins),
            "https": _make_pool_class(urllib3.HTTPSConnectionPool, HTTPSConnection, mixins),
        }
        super().__init__(pool_connections=_MAX_POOLS, pool_maxsize=pool_size, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = dict(self._pools)
