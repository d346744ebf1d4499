"""The address of the SimpleX CLI, and the checks that it is safe to connect to."""

from __future__ import annotations

import base64
import ipaddress
import math
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit

from cometbot.errors import ConfigurationError
from cometbot.settings import Settings

RECOMMENDED_PASSWORD_BITS = 256
"""Bits of entropy that a password should have on a public network, as SimpleX recommends."""

_EXAMPLE_URL = "wss://bot:password@chat.example.com/"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The URL of a CLI without credentials, the headers that carry them, and warnings about it.

    ``warnings`` are sentences for the log. Neither the URL nor the headers show in the repr; :attr:`display_url` may be
    shown.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    warnings: tuple[str, ...] = ()

    @classmethod
    def from_settings(cls, settings: Settings) -> Endpoint:
        """Return the endpoint of ``SIMPLEX_URL``. Raises the errors of :meth:`from_url`."""
        return cls.from_url(settings.simplex_url, allow_unencrypted=settings.simplex_allow_unencrypted)

    @classmethod
    def from_url(cls, url: str, *, allow_unencrypted: bool = False) -> Endpoint:
        """Return the endpoint at ``url``: ``ws://`` on this machine, ``wss://user:password@host/`` anywhere.

        The CLI itself supports neither encryption nor passwords. An unencrypted connection to another machine is
        therefore refused unless ``allow_unencrypted`` is set, and credentials on an unencrypted connection are always
        refused. Raises :class:`ConfigurationError`.
        """
        scheme, host, user, password, bare_url = _parse_url(url)
        is_encrypted, is_local = scheme == "wss", _is_loopback(host)
        if not is_encrypted and (user or password):
            raise ConfigurationError(
                f"SIMPLEX_URL has credentials and no encryption, so anybody could read them; set {_EXAMPLE_URL}"
            )
        if not is_encrypted and not is_local and not allow_unencrypted:
            raise ConfigurationError(
                f"SIMPLEX_URL uses unencrypted ws:// to {host}: anyone on the network could read and send messages. "
                f"Put a proxy with TLS before the CLI and set {_EXAMPLE_URL}; or, on a network that only you can "
                "reach, set SIMPLEX_ALLOW_UNENCRYPTED=1"
            )
        warnings = _make_warnings(host, password, is_encrypted=is_encrypted, is_local=is_local)
        return cls(bare_url, _make_headers(user, password), warnings)

    @property
    def display_url(self) -> str:
        """The URL without its query, for messages and logs."""
        return self.url.partition("?")[0]

    @property
    def is_encrypted(self) -> bool:
        """True if the connection uses TLS."""
        return self.url.startswith("wss:")

    @property
    def is_local(self) -> bool:
        """True if the CLI runs on this machine."""
        return _is_loopback(urlsplit(self.url).hostname or "")

    def make_ssl_context(self) -> ssl.SSLContext | None:
        """Return a TLS context that verifies the certificate and the host name, or None without encryption."""
        return ssl.create_default_context() if self.is_encrypted else None


def _parse_url(url: str) -> tuple[str, str, str, str, str]:
    """Return scheme, host, user, password, and the URL without the credentials."""
    try:
        parts = urlsplit(url.strip())
        port, host = parts.port, parts.hostname or ""
        is_valid = parts.scheme in ("ws", "wss") and bool(host) and url.strip().isprintable() and " " not in url.strip()
        is_valid = is_valid and not parts.fragment and port != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ConfigurationError(
            f"SIMPLEX_URL: expected a ws or wss URL with a host; set ws://localhost:5225 or {_EXAMPLE_URL}"
        )
    netloc = f"[{host}]" if ":" in host else host
    netloc += "" if port is None else f":{port}"
    bare_url = urlunsplit((parts.scheme, netloc, parts.path or "/", parts.query, ""))
    return parts.scheme, host, unquote(parts.username or ""), unquote(parts.password or ""), bare_url


def _make_headers(user: str, password: str) -> dict[str, str]:
    if not user and not password:
        return {}
    if not user or not password or ":" in user:
        raise ConfigurationError(
            f"SIMPLEX_URL needs a user name without a colon and a password before the @: {_EXAMPLE_URL}; "
            "characters such as / and @ in them are written %2F and %40"
        )
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def _is_loopback(host: str) -> bool:
    if host in ("localhost", "localhost."):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _make_warnings(host: str, password: str, *, is_encrypted: bool, is_local: bool) -> tuple[str, ...]:
    if not is_encrypted and not is_local:
        return (f"the connection to the SimpleX CLI on {host} is not encrypted: use it only on a network of your own",)
    if is_encrypted and not is_local and not password:
        return (f"SIMPLEX_URL has no credentials: anyone who reaches the SimpleX CLI on {host} can control the bot",)
    if is_encrypted and password and _estimate_entropy(password) < RECOMMENDED_PASSWORD_BITS:
        return (
            f"the password in SIMPLEX_URL is weak: SimpleX recommends {RECOMMENDED_PASSWORD_BITS} random bits, "
            "for example what `openssl rand -hex 32` prints",
        )
    return ()


def _estimate_entropy(password: str) -> float:
    """Return the maximum entropy in bits of a password with this length and these kinds of characters."""
    kinds = (("0123456789", 10), ("abcdef", 6), ("ghijklmnopqrstuvwxyz", 20), ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 26))
    size = sum(count for letters, count in kinds if set(letters) & set(password))
    size += 32 if not password.isalnum() else 0
    few = len(set(password)) <= 4
    return 0.0 if few or not size else len(password) * math.log2(size)
