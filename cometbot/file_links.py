"""Signed addresses of the files that bots send. No I/O.

An address has no end, because the history of a chat shows it for years. It ends when its file is deleted.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable

ROUTE = "/files"
"""The beginning of the path of an address."""

_PURPOSE = b"cometbot: addresses of files"
_ADDRESS_PATTERN = re.compile(r"(?:https?://[^?#]*)?/files/([0-9a-f]{32})-([\w-]{22})/([\w.-]*)", re.ASCII)
_PATH_IN_TEXT = re.compile(r"/files/[0-9a-f]{32}-[\w-]{22}/[\w.-]*", re.ASCII)
_SCHEME = re.compile(r"https?://")
_UNSAFE_CHARACTERS = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_NAME_LENGTH = 80
_SIGNATURE_BYTES = 16


class FileLinks:
    """Makes and verifies the addresses of files.

    ``base_url`` is the public URL of the server; without it, addresses begin with :data:`ROUTE`. ``get_secret`` returns
    the secret that all processes and machines share; it is called once.
    """

    def __init__(self, base_url: str, get_secret: Callable[[], str]) -> None:
        self.base_url = base_url.rstrip("/")
        self._get_secret = get_secret
        self._key = b""

    def make_url(self, id: str, name: str) -> str:
        """Return the address of the file with this id, which ends with ``name`` as far as a URL can hold it."""
        return f"{self.base_url}{ROUTE}/{id}-{self._sign(id)}/{make_url_name(name)}"

    def find_id(self, url: str) -> str:
        """Return the id of the file at an address that was made here; empty for any other URL."""
        found = _ADDRESS_PATTERN.fullmatch(url)
        if found is None or not hmac.compare_digest(found[2], self._sign(found[1])):
            return ""
        return found[1]

    def _sign(self, id: str) -> str:
        if not self._key:
            self._key = hmac.digest(self._get_secret().encode(), _PURPOSE, hashlib.sha256)
        signature = hmac.digest(self._key, id.encode(), hashlib.sha256)[:_SIGNATURE_BYTES]
        return base64.urlsafe_b64encode(signature).rstrip(b"=").decode()


def find_file_url(text: str) -> str:
    """Return the first address of a file in a text; empty if there is none."""
    for word in text.split():
        found = _PATH_IN_TEXT.search(word)
        if found is not None:
            scheme = _SCHEME.search(word, 0, found.start())
            return word[(scheme or found).start() : found.end()]
    return ""


def make_url_name(name: str) -> str:
    """Return a file's name as the last part of an address: ASCII letters, digits, and ``._-``, with its extension."""
    stem, dot, extension = name.rpartition(".")
    if not stem:
        stem, dot, extension = name, "", ""
    clean = _UNSAFE_CHARACTERS.sub("_", stem).strip("._")[:_MAX_NAME_LENGTH] or "file"
    return clean + (dot + _UNSAFE_CHARACTERS.sub("", extension)[:16] if dot else "")
