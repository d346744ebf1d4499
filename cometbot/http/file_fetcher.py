"""Downloads files from URLs that users may have chosen, with limits on time and size."""

from __future__ import annotations

from email.message import Message as Headers
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from cometbot import private_files
from cometbot.errors import ChannelError, NotFound, OutcomeUnknown, Rejected, Unreachable
from cometbot.http.client import HttpClient, make_session
from cometbot.http.responses import HttpResponse
from cometbot.temporary_folders import TemporaryFolder

_TEMPORARY_STATUSES = frozenset({408, 425, 429})
_NOT_FOUND_STATUSES = frozenset({404, 410})


class Fetcher:
    """An HTTP client for files. It follows a few redirects.

    Addresses of this machine and of private networks are refused unless ``allow_private``, including those that a
    redirect leads to. Errors: :class:`Rejected` and its subclasses for permanent failures (a forbidden address, a
    missing file, one over the limit); :class:`OutcomeUnknown` for temporary ones (no response in time, a 5xx, a 429).
    """

    def __init__(self, *, allow_private: bool = False, pool_size: int = 8) -> None:
        self._http = HttpClient(make_session(pool_size, allow_private=allow_private), peer="the file's server")

    def fetch(self, url: str, to: Path, *, limit: int, timeout: float) -> str:
        """Download ``url`` to ``to`` within ``timeout`` seconds and ``limit`` bytes; return the file's name.

        The name is the one in the server's Content-Disposition, else the last part of the URL, else empty. It is not
        safe to use as a path. If the download fails, no file is left at ``to``. Raises the errors of the class, and
        :class:`OSError` if the file cannot be written.
        """
        part = to.with_name(to.name + ".part")
        to.unlink(missing_ok=True)
        try:
            with private_files.open_file(part, "wb") as file:
                url, headers = self._http.download(url, file, limit=limit, timeout=timeout, to_error=_to_error)
            if part.stat().st_size == 0:
                raise Rejected("the file is empty", code="file_empty")
            part.replace(to)
        except (Unreachable, OutcomeUnknown) as error:
            # Only the file's server failed; Unreachable would delay the requester's other messages too.
            raise OutcomeUnknown(str(error)) from None
        except ValueError:
            raise Rejected("the file's URL is invalid") from None
        finally:
            part.unlink(missing_ok=True)
        return _name_from_disposition(headers.get("Content-Disposition", "")) or _name_from_url(url)

    def close(self) -> None:
        """Close the pooled connections."""
        self._http.close()


class FileFetcher(Protocol):
    """An object that downloads files, such as :class:`Fetcher`."""

    def fetch(self, url: str, to: Path, *, limit: int, timeout: float) -> str:
        """Download ``url`` to ``to`` and return the file's name."""
        ...

    def close(self) -> None:
        """Cancel downloads and refuse new ones."""
        ...


def read_url(fetcher: FileFetcher, url: str, *, limit: int, timeout: float) -> bytes:
    """Return the content at ``url``. Raises the errors of ``fetcher``."""
    with TemporaryFolder("file") as folder:
        path = folder / "file"
        fetcher.fetch(url, path, limit=limit, timeout=timeout)
        return path.read_bytes()


def _to_error(response: HttpResponse, request_name: str) -> ChannelError:
    status, text = response.status, f"{request_name}: the file's server answered {response.status}"
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
