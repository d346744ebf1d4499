"""Downloads files from URLs that users may have chosen, with limits on time and size."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from email.message import Message as Headers
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from cometbot import private_files
from cometbot.errors import NotFound, OutcomeUnknown, Rejected, Unreachable
from cometbot.http.client import make_session, time_limited_exchange
from cometbot.http.webhooks import url_origin

MAX_REDIRECTS = 5

_CHUNK_SIZE = 64 * 1024
_TEMPORARY_STATUSES = frozenset({408, 425, 429})
_NOT_FOUND_STATUSES = frozenset({404, 410})


class Fetcher:
    """An HTTP client for files. It follows at most :data:`MAX_REDIRECTS` redirects.

    Addresses of this machine and of private networks are refused unless ``allow_private``, including those that a
    redirect leads to. Errors: :class:`Rejected` and its subclasses for permanent failures (a forbidden address, a
    missing file, one over the limit); :class:`OutcomeUnknown` for temporary ones (no answer in time, a 5xx, a 429).
    """

    def __init__(self, *, allow_private: bool = False, pool_size: int = 8) -> None:
        self._session = make_session(pool_size, allow_private=allow_private)

    def fetch(self, url: str, to: Path, *, limit: int, timeout: float) -> str:
        """Download ``url`` to ``to`` within ``timeout`` seconds and ``limit`` bytes; return the file's name.

        The name is the one in the server's Content-Disposition, else the last part of the URL, else empty. It is not
        safe to use as a path. If the download fails, no file is left at ``to``. Raises the errors of the class, and
        :class:`OSError` if the file cannot be written.
        """
        ends_at = time.monotonic() + timeout
        for _ in range(MAX_REDIRECTS + 1):
            _check_url(url)
            try:
                status, headers = self._get(url, to, limit, max(ends_at - time.monotonic(), 0.001))
            except (Unreachable, OutcomeUnknown) as error:
                # Only the file's server failed; Unreachable would delay the requester's other messages too.
                to.unlink(missing_ok=True)
                raise OutcomeUnknown(str(error)) from None
            except ValueError:
                raise Rejected("the file's address leads to what is no URL") from None
            if status == 200:
                _check_content(to)
                return _name_from_disposition(headers.get("Content-Disposition", "")) or _name_from_url(url)
            if not 300 <= status < 400 or not headers.get("Location"):
                raise _error_for_status(status, url)
            url = _join_url(url, headers["Location"])
        raise Rejected(f"the file's address leads on and on, over more than {MAX_REDIRECTS} redirects")

    def _get(self, url: str, to: Path, limit: int, seconds: float) -> tuple[int, Mapping[str, str]]:
        with time_limited_exchange(
            self._session, url, f"GET {url_origin(url)}", seconds, peer="the file's server"
        ) as deadline:
            wait = max(deadline.remaining, 0.001)
            answer = self._session.get(
                url, headers={"Accept-Encoding": "identity"}, timeout=(wait, wait), allow_redirects=False, stream=True
            )
            with answer:
                if answer.status_code == 200:
                    _check_length(answer.headers.get("Content-Length", ""), limit)
                    _write(answer.iter_content(_CHUNK_SIZE), to, limit)
                return answer.status_code, answer.headers

    def close(self) -> None:
        """Close the pooled connections."""
        self._session.close()


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_good = parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise Rejected("the file's address is no http or https URL with a host")


def _join_url(url: str, place: str) -> str:
    try:
        return urljoin(url, place)
    except ValueError:
        raise Rejected("the file's address leads to what is no URL") from None


def _check_length(content_length: str, limit: int) -> None:
    if content_length.isascii() and content_length.isdigit() and int(content_length) > limit:
        raise Rejected(f"the file has {int(content_length)} bytes, and the limit is {limit}", code="file_too_large")


def _check_content(path: Path) -> None:
    if path.stat().st_size == 0:
        path.unlink()
        raise Rejected("the file is empty", code="file_empty")


def _write(pieces: Iterable[bytes], to: Path, limit: int) -> None:
    part = to.with_name(to.name + ".part")
    try:
        with private_files.open_file(part, "wb") as file:
            file.writelines(_limit_size(pieces, limit))
        part.replace(to)
    finally:
        part.unlink(missing_ok=True)


def _limit_size(pieces: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Yield the pieces; raise :class:`Rejected` once they exceed ``limit`` bytes."""
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > limit:
            raise Rejected(f"the file has more than {limit} bytes, the limit", code="file_too_large")
        yield piece


def _error_for_status(status: int, url: str) -> Rejected | OutcomeUnknown:
    text = f"GET {url_origin(url)}: the file's server answered {status}"
    if status >= 500 or status in _TEMPORARY_STATUSES:
        return OutcomeUnknown(text, status=status)
    return (NotFound if status in _NOT_FOUND_STATUSES else Rejected)(text, status=status)


def _name_from_disposition(disposition: str) -> str:
    """Return the ``filename`` of a Content-Disposition header, or "" if it has none."""
    if not disposition:
        return ""
    headers = Headers()
    headers["Content-Disposition"] = disposition.encode("ascii", "replace").decode()
    return headers.get_filename("") or ""


def _name_from_url(url: str) -> str:
    return unquote(urlsplit(url).path.rpartition("/")[2])
