"""The client's address and scheme from proxy headers, trusted only if a named proxy sends them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from werkzeug.middleware.proxy_fix import ProxyFix

from cometbot.http.addresses import parse_address
from cometbot.settings import TrustedProxy

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class TrustedProxies:
    """A WSGI application that accepts ``X-Forwarded-For`` and ``X-Forwarded-Proto`` only from callers in ``proxies``.

    The last address of ``X-Forwarded-For`` that is not in ``proxies`` is the client's. Each proxy appends the address
    that it sees, so the proxies of a chain are skipped, and entries that the client itself sent come first. Of
    ``X-Forwarded-Proto`` the last entry counts. A caller on a unix socket has no address; ``unix`` in ``proxies``
    stands for it.
    """

    def __init__(self, app: WSGIApplication, proxies: Sequence[TrustedProxy]) -> None:
        self._app = app
        self._networks = tuple(proxy for proxy in proxies if proxy != "unix")
        self._trusts_unix = "unix" in proxies
        self._with_scheme = ProxyFix(app, x_for=0, x_proto=1)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        caller = environ.get("REMOTE_ADDR", "")
        if not (self._is_proxy(caller) if caller else self._trusts_unix):
            return self._app(environ, start_response)
        if client := self._client(environ.get("HTTP_X_FORWARDED_FOR", "")):
            environ["REMOTE_ADDR"] = client
        return self._with_scheme(environ, start_response)

    def _client(self, forwarded: str) -> str:
        """Return the last entry that is no proxy; the first one if all are."""
        entries = [entry.strip() for entry in forwarded.split(",")]
        return next((entry for entry in reversed(entries) if not self._is_proxy(entry)), entries[0])

    def _is_proxy(self, text: str) -> bool:
        address = parse_address(text)
        return address is not None and any(address in network for network in self._networks)
