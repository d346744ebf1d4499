"""Errors of the platform's APIs: a status and ``{"message": …}``, as the protocol defines."""

from __future__ import annotations

from collections.abc import Mapping

from cometbot.errors import StoreBusy, StoreUnavailable
from cometbot.http.errors import HttpError, store_unavailable_error


class ApiError(Exception):
    """A refused request, which has changed nothing. The response has ``status`` and ``message``."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})

    @classmethod
    def from_http_error(cls, error: HttpError) -> ApiError:
        """Return the same error in the shape of this protocol."""
        return cls(error.status, error.message, error.headers)


def unauthorized() -> ApiError:
    """Return the error for a request without a logged-in user, or from a deleted one."""
    return ApiError(401, "User is unauthorized.")


def name_already_exists() -> ApiError:
    """Return the error for a bot name that is in use."""
    return ApiError(400, "Bot with this name already exists.")


def too_many_requests(what: str, retry_after: float) -> ApiError:
    """Return the error for a request beyond the limits; the client may retry after ``retry_after`` seconds."""
    wait = max(1, -int(-retry_after // 1))
    return ApiError(429, f"Too many {what}. Try again in {wait} s.", {"Retry-After": str(wait)})


def storage_full() -> ApiError:
    """Return the error for data that users may not store because there is no room."""
    return ApiError(507, "There is no room to store this.")


def from_store_error(error: StoreBusy) -> ApiError:
    """Return the error for a database that could not store or read something."""
    if isinstance(error, StoreUnavailable):
        return ApiError.from_http_error(store_unavailable_error(error))
    return ApiError(503, "The database is busy. Try again.", {"Retry-After": "1"})
