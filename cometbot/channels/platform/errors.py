"""What a refused request is answered: a status and ``{"message": …}``, as the protocol has it."""

from __future__ import annotations

from collections.abc import Mapping

from cometbot.errors import StoreBusy, StoreUnavailable
from cometbot.http.errors import HttpError, store_unavailable_error


class ApiError(Exception):
    """A request is answered with ``status`` and ``message``, and has changed nothing."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})

    @classmethod
    def from_http_error(cls, error: HttpError) -> ApiError:
        """The same refusal in this protocol's shape."""
        return cls(error.status, error.message, error.headers)


def unauthorized() -> ApiError:
    """Nobody is logged in, or somebody who is gone."""
    return ApiError(401, "User is unauthorized.")


def name_already_exists() -> ApiError:
    """A bot cannot be called like another one."""
    return ApiError(400, "Bot with this name already exists.")


def too_many_requests(what: str, retry_after: float) -> ApiError:
    """More than the limits allow; ``retry_after`` from now it may be done again."""
    wait = max(1, -int(-retry_after // 1))
    return ApiError(429, f"Too many {what}. Try again in {wait} s.", {"Retry-After": str(wait)})


def storage_full() -> ApiError:
    """Return the refusal where users may store nothing more."""
    return ApiError(507, "There is no room to store this.")


def from_store_error(error: StoreBusy) -> ApiError:
    """Return the refusal where the database did not store something, or could not be read."""
    if isinstance(error, StoreUnavailable):
        return ApiError.from_http_error(store_unavailable_error(error))
    return ApiError(503, "The database is busy. Try again.", {"Retry-After": "1"})
