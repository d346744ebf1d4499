"""Credentials of HTTP requests, compared in constant time."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
from collections.abc import Iterable, Mapping

CHALLENGE = {"WWW-Authenticate": 'Basic realm="cometbot", charset="UTF-8"'}


class BasicCredentials:
    """User names and passwords by the name of what they give access to. They never appear in a repr.

    The usual form of the header is compared as a whole with a value computed in advance. Any other form that RFC 7617
    allows (case of the scheme, spaces, UTF-8 or Latin-1) is decoded first. ``previous`` are pairs that count as well,
    of names in ``credentials``.
    """

    def __init__(
        self,
        credentials: Mapping[str, tuple[str, str]],
        previous: Mapping[str, tuple[str, str]] | None = None,
    ) -> None:
        self._previous = BasicCredentials(previous) if previous else None
        self._pairs = {name: _encode_pair(user, password) for name, (user, password) in credentials.items()}
        self._headers = {name: b"Basic " + base64.b64encode(pair[0]) for name, pair in self._pairs.items()}

    def __contains__(self, name: object) -> bool:
        return name in self._pairs

    def __bool__(self) -> bool:
        return bool(self._pairs)

    def matches(self, name: str, header: str) -> bool:
        """Return whether the Authorization ``header`` contains the credentials of ``name``, or its previous ones."""
        return self._matches_current(name, header) or (
            self._previous is not None and self._previous.matches(name, header)
        )

    def uses_previous(self, name: str, header: str) -> bool:
        """Return whether the Authorization ``header`` contains the previous credentials of ``name`` alone."""
        return self.matches(name, header) and not self._matches_current(name, header)

    def has_previous(self, name: str) -> bool:
        """Return whether ``name`` has previous credentials."""
        return self._previous is not None and name in self._previous

    def _matches_current(self, name: str, header: str) -> bool:
        expected = self._headers.get(name)
        if expected is None:
            return False
        # WSGI passes headers as Latin-1; no server lets other characters through.
        given = header.encode("latin-1", "replace")
        return hmac.compare_digest(given, expected) or self._matches_decoded(name, given)

    def matches_any(self, header: str) -> bool:
        """Return whether the Authorization ``header`` contains the credentials of any name."""
        return any(self.matches(name, header) for name in self._pairs)

    def _matches_decoded(self, name: str, given: bytes) -> bool:
        scheme, _, rest = given.strip(b" \t").partition(b" ")
        if scheme.lower() != b"basic":
            return False
        try:
            pair = base64.b64decode(rest.strip(b" \t"), validate=True)
        except (binascii.Error, ValueError):
            return False
        return any(hmac.compare_digest(pair, expected) for expected in self._pairs[name])


class BearerTokens:
    """Tokens, one of which a client sends as ``Authorization: Bearer <token>`` or ``X-API-Key: <token>``.

    They never appear in a repr.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        self._digests = [_make_digest(token) for token in tokens]

    def matches(self, authorization: str, api_key: str) -> bool:
        """Return whether one of the two headers has one of the tokens. Each is compared with all of them."""
        scheme, _, token = authorization.strip().partition(" ")
        given = (api_key, token if scheme.lower() == "bearer" else "")
        digests = [_make_digest(text.strip()) for text in given]
        found = [hmac.compare_digest(digest, known) for digest in digests for known in self._digests]
        return any(found)


def _make_digest(token: str) -> bytes:
    """Return a digest of a token: those that are compared have the same length, whatever was sent."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _encode_pair(user: str, password: str) -> tuple[bytes, ...]:
    """Return the pair encoded in UTF-8, and in Latin-1 if that differs.

    Lone surrogates, which stand for undecodable bytes in environment variables, are encoded as those bytes.
    """
    pair = f"{user}:{password}"
    spellings = [pair.encode("utf-8", "surrogateescape")]
    with contextlib.suppress(UnicodeEncodeError):
        spellings.append(pair.encode("latin-1"))
    return tuple(dict.fromkeys(spellings))
