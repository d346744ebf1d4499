"""A request of CometChat's REST API, and the base of the classes of operations, which send them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import Any
from urllib.parse import quote

from cometbot.channels.cometchat import request_bodies
from cometbot.channels.cometchat.responses import Record
from cometbot.errors import MessageError, OutcomeUnknown
from cometbot.models import check_recipient

PAGE_SIZE = 100

Params = Mapping[str, str | int | bool]


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One request of the REST API, without the key. ``path`` starts with a slash.

    ``secret`` is a text that no log and no error may show, such as a token in the path.
    """

    method: str
    path: str
    body: Mapping[str, Any] | bytes | None = field(default=None, repr=False)
    params: Params = field(default_factory=dict)
    on_behalf_of: str = ""
    timeout: float | None = None
    has_plain_answer: bool = False
    """True if the response is the result itself, as that of the agents' service, and not an envelope."""
    secret: str = field(default="", repr=False)

    def __str__(self) -> str:
        path = self.path.replace(quote(self.secret, safe=""), "***") if self.secret else self.path
        return f"{self.method} {path}"


class OperationsBase(ABC):
    """The base of the classes of operations. The docstring of ``Operations`` says what all of them promise."""

    @abstractmethod
    def send_request(self, request: ApiRequest) -> dict[str, Any]:
        """Send ``request`` and return the response's envelope.

        Raises the matching subclass of :class:`ChannelError` if it fails.
        """

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | bytes | None = None,
        params: Params | None = None,
        on_behalf_of: str = "",
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Send a request and return the response's envelope, for operations without a method of their own.

        ``path`` starts with a slash. Raises the matching subclass of :class:`ChannelError` if the request fails.
        """
        return self.send_request(ApiRequest(method, path, body, params or {}, on_behalf_of, timeout))

    def _request_record(self, method: str, path: str, **options: Any) -> Record:
        data = self.send_request(ApiRequest(method, path, **options)).get("data")
        # Some examples in CometChat's documentation show a single object as a list of one.
        one = data[0] if isinstance(data, list) and len(data) == 1 else data
        return Record(one) if isinstance(one, dict) else Record()

    def _iter_pages(
        self, path: str, query: Params | None = None, *, on_behalf_of: str = "", timeout: float | None = None
    ) -> Iterator[Record]:
        """Iterate over the entries of all pages, until an empty or short one: totals are not always present."""
        params = {"perPage": PAGE_SIZE, **(query or {})}
        ends_at = None if timeout is None else monotonic() + timeout
        for page in count(1):
            left = None if ends_at is None else ends_at - monotonic()
            if left is not None and left <= 0:
                raise OutcomeUnknown(f"GET {path}: expected all pages within {timeout:g} s, got {page - 1} of them")
            answer = self.request("GET", path, params={**params, "page": page}, on_behalf_of=on_behalf_of, timeout=left)
            records = read_records(answer)
            yield from records
            if len(records) < int(params["perPage"]):
                return


def read_records(answer: Mapping[str, Any]) -> list[Record]:
    """Return the objects in the ``data`` of a response. Raises :class:`OutcomeUnknown` if it is not a list."""
    data = answer.get("data")
    if not isinstance(data, list):
        raise OutcomeUnknown("GET (list): expected a list in data, got something else from CometChat")
    return [Record(entry) for entry in data if isinstance(entry, dict)]


def path_segment(value: str, field: str, max_length: int = request_bodies.MAX_NAME_LENGTH) -> str:
    """Return an id as a part of a path. Raises :class:`MessageError`, naming ``field``, if it is not valid."""
    return quote(request_bodies.check_id(value, field, max_length=max_length), safe="")


def user_path(uid: str) -> str:
    """Return the path of a user."""
    return f"/users/{path_segment(uid, 'uid')}"


def group_path(guid: str) -> str:
    """Return the path of a group."""
    return f"/groups/{path_segment(guid, 'guid')}"


def message_path(message_id: str) -> str:
    """Return the path of a message."""
    return f"/messages/{path_segment(message_id, 'id')}"


def peer_path(user: str, group: str) -> str:
    """Return the path of a user or a group. Raises :class:`MessageError` unless exactly one is given."""
    check_recipient(user, group, MessageError)
    return user_path(user) if user else group_path(group)


def check_on_behalf_of(on_behalf_of: str) -> str:
    """Return the acting user's uid, which the operation needs. Raises :class:`MessageError` if it is not valid."""
    return request_bodies.check_id(on_behalf_of, "onBehalfOf")


def check_length(value: str, field: str, max_length: int) -> str:
    """Return ``value``. Raises :class:`MessageError` unless it is a text of 1 to ``max_length`` characters."""
    if not isinstance(value, str) or not 0 < len(value) <= max_length:
        raise MessageError(f"{field} must have 1 to {max_length} characters")
    return value


def check_choice(value: Any, field: str, choices: Sequence[str]) -> str:
    """Return ``value``. Raises :class:`MessageError` unless it is one of ``choices``."""
    if value not in choices:
        raise MessageError(f"{field} must be one of {', '.join(choices)}, not {value!r}")
    return str(value)


def check_uids(uids: Sequence[str], field: str) -> list[str]:
    """Return ``uids`` as a list. Raises :class:`MessageError`, naming ``field``, if it is empty or one is not valid."""
    if isinstance(uids, str):
        raise MessageError(f"{field} must be a list of uids, not a text")
    checked = [request_bodies.check_id(uid, field) for uid in uids]
    if not checked:
        raise MessageError(f"{field} must name at least one user")
    return checked


def read_results(entries: object) -> dict[str, Record]:
    """Return the result for each uid: ``{"success": True, …}`` or ``{"error": …}``."""
    by_uid = entries if isinstance(entries, dict) else {}
    return {
        str(uid): Record(entry) if isinstance(entry, dict) else Record(success=bool(entry))
        for uid, entry in by_uid.items()
    }
