"""Who is really calling: proxy headers, believed only of the proxies that are named."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from werkzeug.middleware.proxy_fix import ProxyFix

from cometbot.settings import Proxy

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class TrustedProxies:
    """A WSGI application that believes ``X-Forwarded-For`` and ``X-Forwarded-Proto`` of callers in ``proxies`` only.

    The last entry counts, the one that the proxy itself wrote. A caller on a unix socket has no address; ``unix`` in
    ``proxies`` stands for it.
    """

    def __init__(self, app: WSGIApplication, proxies: Sequence[Proxy]) -> None:
        self._app = app
        self._networks = tuple(proxy for proxy in proxies if proxy != "unix")
        self._trusts_unix = "unix" in proxies
        self._corrected = ProxyFix(app, x_for=1, x_proto=1)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        app = self._corrected if self._trusts(environ.get("REMOTE_ADDR", "")) else self._app
        return app(environ, start_response)

    def _trusts(self, address: str) -> bool:
        if not address:
            return self._trusts_unix
        try:
            caller = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(caller, ipaddress.IPv6Address) and caller.ipv4_mapped:
            caller = caller.ipv4_mapped
        return any(caller in network for network in self._networks)
