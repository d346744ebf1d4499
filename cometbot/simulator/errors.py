"""CometChat's error codes, the HTTP status of each, and the error envelope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cometbot.errors import Rejected

_STATUS_BY_CODE = {
    "AUTH_ERR_NO_ACCESS": 403,
    "ERR_TOO_MANY_REQUESTS": 429,
    "ERR_INVALID_API_VERSION": 404,
    "ERR_GROUP_NOT_JOINED": 404,
    "ERR_NOT_A_MEMBER": 404,
    "ERR_NOT_A_BANNED_USER": 404,
    "ERR_BANNED_GROUPMEMBER": 403,
    "ERR_GROUP_NO_CLEARANCE": 403,
    "ERR_GROUP_NO_SCOPE_CLEARANCE": 403,
    "ERR_GROUP_NO_SELF_ACTION": 403,
    "ERR_GROUP_JOIN_NOT_ALLOWED": 403,
    "ERR_MESSAGE_NOT_A_SENDER": 403,
    "ERR_MESSAGE_NO_ACCESS": 403,
    "ERR_BLOCKED_RECEIVER": 403,
    "ERR_BLOCKED_SENDER": 403,
    "ERR_PLAN_QUOTA_RESTRICTION": 403,
    "ERR_SYSTEM_PINNED_CONVERSATION": 403,
    "ERR_CONVERSATION_NOT_ACCESSIBLE": 404,
    "ERR_EXCEPTION": 500,
    "ERR_MISSION_FAILED": 500,
}


def get_status(code: str) -> int:
    """Return the HTTP status that goes with an error code.

    CometChat documents no status for most codes. For these, the nearest documented class decides: 401 for a key, 404
    for something that does not exist, 403 for something that is not allowed, 400 for the rest.
    """
    if code in _STATUS_BY_CODE:
        return _STATUS_BY_CODE[code]
    if code.startswith("AUTH_ERR_"):
        return 401
    return 404 if code.endswith("_NOT_FOUND") else 400


class Refusal(Rejected):
    """The simulated CometChat refused the request, as the real one would. Nothing was changed."""

    def __init__(self, code: str, message: str, *, details: Mapping[str, Sequence[str]] | None = None) -> None:
        super().__init__(message, code=code, status=get_status(code), details=details)

    def to_json(self) -> dict[str, Any]:
        """Return the ``error`` object of CometChat's error envelope."""
        return error_json(self.code, str(self), self.details)


def error_json(code: str, message: str, details: Mapping[str, Sequence[str]] | None = None) -> dict[str, Any]:
    """Return an ``error`` object with CometChat's keys. ``details`` is left out if it is empty."""
    error: dict[str, Any] = {"code": code, "source": "chat-api", "message": message, "devMessage": message}
    if details:
        error["details"] = {field: list(texts) for field, texts in details.items()}
    return error


def bad_request(field: str, text: str) -> Refusal:
    """Return the refusal of one field of a body, a query or the headers."""
    return Refusal("ERR_BAD_REQUEST", f"Validation failed: {field}: {text}", details={field: [text]})
