"""Errors of the platform's APIs: a status and ``{"message": …}``, as the protocol defines."""

from __future__ import annotations

from collections.abc import Mapping

from cometbot.http.errors import HttpError


class ApiError(HttpError):
    """A refused request, which has changed nothing. The response has ``status`` and ``message``."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, "", message, headers=headers)


def bot_not_found() -> ApiError:
    """Return the error for an unknown bot."""
    return ApiError(404, "Bot not found.")


def chat_not_found() -> ApiError:
    """Return the error for an unknown chat."""
    return ApiError(404, "Chat not found.")


def unauthorized() -> ApiError:
    """Return the error for a request without a logged-in user, or from a deleted one."""
    return ApiError(401, "User is unauthorized.")


def name_already_exists() -> ApiError:
    """Return the error for a bot name that is in use."""
    return ApiError(400, "Bot with this name already exists.")
