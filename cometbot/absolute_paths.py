"""Make the paths in settings absolute at startup, because a bot's code may change the working directory later."""

from __future__ import annotations

import os
from urllib.parse import parse_qsl, quote, urlencode

_FILE_OPTIONS = frozenset({"passfile", "sslcert", "sslcrl", "sslcrldir", "sslkey", "sslrootcert"})
"""Options of a PostgreSQL URL that are file names."""

_MEMORY_PATHS = ("", ":memory:")


def absolute_path(path: str) -> str:
    """Return ``path`` as an absolute path; an empty one stays empty."""
    return os.path.abspath(path) if path else ""


def absolute_bind(bind: str) -> str:
    """Return the address of a server, with an absolute path if it is a unix socket."""
    if not bind.startswith("unix:"):
        return bind
    # gunicorn reads unix://PATH as unix:PATH.
    return f"unix:{absolute_path(bind.removeprefix('unix:').removeprefix('//'))}"


def absolute_database_url(url: str) -> str:
    """Return the URL of a database with absolute paths of the SQLite file, or of certificates and keys."""
    return _absolute_sqlite_url(url) if url.startswith("sqlite") else _absolute_server_url(url)


def _absolute_sqlite_url(url: str) -> str:
    kind, separator, path = url.partition(":///")
    path, question, options = path.partition("?")
    absolute = absolute_path(path)
    # A URL cannot express a question mark in a path, so the database resolves such a path itself.
    if not separator or path in _MEMORY_PATHS or "?" in absolute:
        return url
    return f"{kind}:///{absolute}{question}{options}"


def _absolute_server_url(url: str) -> str:
    # A password may contain a question mark, but no @.
    options = url.rpartition("@")[2].partition("?")[2]
    given = parse_qsl(options, keep_blank_values=True)
    made = [(name, absolute_path(value) if _is_file_option(name, value) else value) for name, value in given]
    if made == given:
        return url
    return url.removesuffix(options) + urlencode(made, safe="/", quote_via=quote)


def _is_file_option(option: str, value: str) -> bool:
    # To libpq, "system" means the certificates of the operating system.
    return option in _FILE_OPTIONS and value != "system"
