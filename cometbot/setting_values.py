"""The values of settings: texts of the environment, converted and checked. Every error says what to set instead."""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Callable
from typing import Literal
from urllib.parse import unquote, urlsplit

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

TrustedProxy = Network | Literal["unix"]
"""A peer that is a proxy: a network, or any peer on a unix socket."""

_TRUE_WORDS = ("1", "true", "yes", "on")
_FALSE_WORDS = ("0", "false", "no", "off")

MIN_SECRET_LENGTH = 16
"""The characters of the shortest secret that does not count as weak."""


MIN_TOKEN_LENGTH = 32
"""The characters of the shortest token that other servers may send."""


class Secret:
    """A text that ``str`` and ``repr`` show as ``***``. Only :meth:`reveal` returns it."""

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._to_bytes(), other._to_bytes())

    def __hash__(self) -> int:
        return hash(self._text)

    def _to_bytes(self) -> bytes:
        # Python decodes bytes in the environment that are not valid UTF-8 to surrogates.
        return self._text.encode("utf-8", "surrogateescape")

    def __repr__(self) -> str:
        return "***" if self._text else "''"

    __str__ = __repr__


def parse_flag(text: str) -> bool:
    """Return True for ``1``, ``true``, ``yes`` or ``on``, and False for their opposites."""
    word = text.lower()
    if word not in _TRUE_WORDS + _FALSE_WORDS:
        raise ValueError(f"expected 1 or 0, got {text!r}")
    return word in _TRUE_WORDS


def parse_integer(at_least: int = 1) -> Callable[[str], int]:
    """Return a parser of whole numbers from ``at_least`` up."""

    def read(text: str) -> int:
        if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or int(text) < at_least:
            raise ValueError(f"expected a whole number from {at_least} up, such as {max(at_least, 8)}, got {text!r}")
        return int(text)

    return read


def parse_bytes(text: str) -> int:
    """Return a number of bytes."""
    if not re.fullmatch(r"\d{1,15}", text, re.ASCII):
        raise ValueError(f"expected a number of bytes, such as 10737418240, got {text!r}")
    return int(text)


def parse_seconds(text: str) -> float:
    """Return a number of seconds above 0."""
    if not re.fullmatch(r"\d{1,9}(\.\d+)?", text, re.ASCII) or not float(text) > 0:
        raise ValueError(f"expected a number of seconds above 0, such as 30 or 0.5, got {text!r}")
    return float(text)


def parse_one_of(*words: str) -> Callable[[str], str]:
    """Return a parser of one of ``words``, in any case."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"expected {', '.join(words[:-1])} or {words[-1]}, got {text!r}")
        return text.lower()

    return parse


def parse_names(text: str) -> tuple[str, ...]:
    """Return the names in a comma-separated list, in lower case and each once."""
    return tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip().lower())))


def parse_proxies(text: str) -> tuple[TrustedProxy, ...]:
    """Return the addresses and networks in a comma-separated list."""
    proxies: list[TrustedProxy] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            proxies.append("unix" if part.lower() == "unix" else ipaddress.ip_network(part, strict=False))
        except ValueError:
            raise ValueError(
                f"expected addresses or networks such as 127.0.0.1,10.0.0.0/8, or unix, got {part!r}"
            ) from None
    return tuple(proxies)


def parse_url(*schemes: str, example: str) -> Callable[[str], str]:
    """Return a parser of URLs with one of ``schemes``. Errors show the ``example``, and nothing of the URL."""

    def parse(text: str) -> str:
        try:
            parts = urlsplit(text)
            good = parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            good = False
        if not good:
            raise ValueError(f"expected a {' or '.join(schemes)} URL with a host, such as {example}")
        return text.rstrip("/")

    return parse


def parse_origins(text: str) -> tuple[str, ...]:
    """Return the origins in a comma-separated list, without default ports."""
    origins = parse_names(text)
    for origin in origins:
        if origin != "*" and not re.fullmatch(r"https?://[^/\s?#@*]+", origin):
            raise ValueError(f"expected origins such as https://app.example.com, or * for all, got {origin!r}")
    # Browsers omit the default port in the Origin header, which these are compared with.
    shown = (one.removesuffix(":443" if one.startswith("https:") else ":80") for one in origins)
    return tuple(dict.fromkeys(shown))


def parse_api_url(text: str) -> str:
    """Return a base URL that has a path."""
    url = parse_url("https", "http", example="https://api.example.com/v3")(text)
    if not urlsplit(url).path:
        raise ValueError("expected the base URL with the API's version, such as https://api.example.com/v3")
    return url


def parse_database_url(text: str) -> str:
    """Return the URL of a SQLite or PostgreSQL database."""
    dialect = text.partition("://")[0].partition("+")[0]
    if "://" not in text or dialect not in ("sqlite", "postgresql"):
        raise ValueError("expected a URL such as sqlite:///cometbot.db or postgresql://user:password@host/name")
    if dialect == "postgresql":
        check_server_url(text)
    return text


def check_server_url(url: str) -> None:
    """Raise :class:`ValueError` if the password in the URL of a database server is ambiguous.

    Otherwise a part of the password would be parsed as host or database, and would be shown in errors. The text of the
    error contains no part of the URL.
    """
    rest = url.partition("://")[2]
    user = rest.partition("@")[0] if "@" in rest else ""
    if rest.count("@") > 1 or "/" in user.partition(":")[0]:
        raise ValueError("an @ or / is not escaped; write @ in the password as %40, and / as %2F")
    if re.search(r"%(?![0-9A-Fa-f]{2})", rest):
        raise ValueError("the URL has a % that is not escaped; write % in the password as %25")
    try:
        plain = unquote(rest, errors="strict")
    except UnicodeDecodeError:
        plain = "\0"
    if any(ord(character) < 32 or 0xD800 <= ord(character) < 0xE000 for character in plain):
        raise ValueError("expected text, got other bytes; write the password in UTF-8, and % in it as %25")
    port = re.fullmatch(r"(?:\[[^]]*\]|[^:]*):(.+)", re.split(r"[/?]", rest.rpartition("@")[2])[0])
    if port and not (re.fullmatch(r"\d{1,5}", port[1], re.ASCII) and 0 < int(port[1]) <= 65535):
        raise ValueError("expected a port from 1 to 65535, as in postgresql://user:password@host:5432/name")


def parse_bind(text: str) -> str:
    """Return an address to listen on."""
    host, _, port = text.rpartition(":")
    is_port = bool(re.fullmatch(r"\d{1,5}", port, re.ASCII)) and int(port) <= 65535
    if not (text.startswith("unix:") and len(text) > len("unix:")) and not (host and is_port):
        raise ValueError(f"expected HOST:PORT, such as 0.0.0.0:8000, or unix:/a/path, got {text!r}")
    return text


def parse_strong_secret(text: str) -> Secret:
    """Return a secret of at least :data:`MIN_SECRET_LENGTH` characters."""
    if len(text) < MIN_SECRET_LENGTH:
        raise ValueError(
            f"expected at least {MIN_SECRET_LENGTH} characters, got {len(text)}; "
            "set a random text, for example what `openssl rand -hex 32` prints"
        )
    return Secret(text)


def parse_tokens(text: str) -> tuple[Secret, ...]:
    """Return the tokens in a comma-separated list, each of at least :data:`MIN_TOKEN_LENGTH` printable characters."""
    tokens = [token for part in text.split(",") if (token := part.strip())]
    for token in tokens:
        if len(token) < MIN_TOKEN_LENGTH or not re.fullmatch(r"[!-~]+", token):
            raise ValueError(
                f"expected tokens of at least {MIN_TOKEN_LENGTH} printable ASCII characters without spaces, separated "
                f"by commas, got one with {len(token)}; set for example what `openssl rand -hex 32` prints"
            )
    return tuple(map(Secret, tokens))


def parse_header_name(text: str) -> str:
    """Return the name of an HTTP header."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,60}", text, re.ASCII):
        raise ValueError(f"expected the name of a header, such as X-User-Id, got {text!r}")
    return text


def parse_alphanumeric(text: str) -> str:
    """Return a text of letters, digits and hyphens."""
    if not re.fullmatch(r"[A-Za-z0-9-]+", text, re.ASCII):
        raise ValueError(f"expected letters and digits, got {text!r}; copy it from CometChat's dashboard")
    return text


def parse_username(text: str) -> str:
    """Return a user name that Basic Auth can carry."""
    if ":" in text:
        raise ValueError("expected a username without a colon, which Basic Auth cannot carry")
    return text


def parse_display_name(text: str) -> str:
    """Return a name for a SimpleX profile."""
    if any(ord(character) < 32 for character in text) or text.startswith(("#", "@")) or "'" in text:
        raise ValueError("expected a plain name: no @ or # at its beginning, no quotes, no control characters")
    return text
