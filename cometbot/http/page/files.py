"""Serves the files of a page from its own folder and from the shared one, with security headers."""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from pathlib import Path

from flask import Response, request
from werkzeug.exceptions import NotFound

SHARED_FOLDER = Path(__file__).parent / "static"
"""The folder of the files that all pages share: transcript, composer, dialogs, colours."""

_CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data: blob: http: https:",  # a bot may show a picture from anywhere, as in a chat app
        "media-src 'self' blob: http: https:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_REVALIDATE = "no-cache"
_CACHE_FOREVER = "public, max-age=31536000, immutable"
_PAGE_LINK_PATTERN = re.compile(r'(?<=")/page/(?=[\w.-]+")')
_MODULE_IMPORT_PATTERN = re.compile(r'from "\./([\w.-]+)"')


class PageFiles:
    """The files in ``folder``, and those that all pages share; a file in ``folder`` replaces a shared one.

    The page refers to them as ``/page/<name>``. All responses have a content security policy that lets a page run only
    these files: no inline script or style, no plug-in, no frame around it.
    """

    def __init__(self, folder: Path) -> None:
        self._folders = (folder, SHARED_FOLDER)

    def file(self, name: str) -> Response:
        """Return the response for a file, which the browser revalidates each time.

        Raises :class:`werkzeug.exceptions.NotFound` if the page has no such file.
        """
        path = self._find(name)
        return _make_response(path.read_bytes(), _TYPES[path.suffix], _REVALIDATE)

    def index(self) -> Response:
        """Return the response for ``index.html``.

        Its links contain :attr:`version`, so that the browser caches the files of :meth:`versioned` until they change.
        It preloads all imported modules, so that they load in parallel.
        """
        return _make_response(self._index, _TYPES[".html"], _REVALIDATE)

    def versioned(self, version: str, name: str) -> Response:
        """Return the response for a file, which the browser may cache for ever if ``version`` is the current one.

        A file of another version is revalidated each time. Raises :class:`werkzeug.exceptions.NotFound` if the page has
        no such file.
        """
        path = self._find(name)
        return _make_response(
            path.read_bytes(), _TYPES[path.suffix], _CACHE_FOREVER if version == self.version else _REVALIDATE
        )

    @cached_property
    def version(self) -> str:
        """A hash of the content of all files, computed at the first access."""
        digest = hashlib.sha256()
        for path in self.paths():
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()[:16]

    def paths(self) -> list[Path]:
        """Return the paths of the page's files, sorted by name."""
        found = {path.name: path for folder in reversed(self._folders) for path in sorted(folder.iterdir())}
        return [found[name] for name in sorted(found) if found[name].suffix in _TYPES]

    @cached_property
    def _index(self) -> bytes:
        text = self._find("index.html").read_text()
        entry_modules = re.findall(r'type="module" src="/page/([\w.-]+)"', text)
        links = "".join(
            f'<link rel="modulepreload" href="/page/{name}" />\n    '
            for name in self._find_imported_modules(entry_modules)
        )
        text = text.replace("</head>", f"  {links.rstrip()}\n  </head>") if links else text
        return _PAGE_LINK_PATTERN.sub(f"/page/{self.version}/", text).encode()

    def _find_imported_modules(self, entry_modules: list[str]) -> list[str]:
        found = list(entry_modules)
        for name in found:
            text = self._find(name).read_text()
            found += [other for other in dict.fromkeys(_MODULE_IMPORT_PATTERN.findall(text)) if other not in found]
        return found[len(entry_modules) :]

    def _find(self, name: str) -> Path:
        for folder in self._folders:
            path = folder / name
            if path.suffix in _TYPES and path.parent == folder and path.is_file():
                return path
        raise NotFound(f"The page has no file {name}.")


def _make_response(content: bytes, kind: str, cache_control: str) -> Response:
    response = Response(content, content_type=kind)
    response.add_etag()
    response.headers.update({**_HEADERS, "Cache-Control": cache_control})
    response.make_conditional(request)
    return response
