"""Validates names, texts and URLs, with the protocol's error messages. Lengths are in UTF-8 bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from cometbot.channels.platform.config import MessageLimits, UserLimits
from cometbot.channels.platform.errors import ApiError

MAX_NAME_LENGTH = 32
MAX_DESCRIPTION_LENGTH = 512
MAX_AVATAR_LENGTH = 256
MAX_ALIAS_LENGTH = 32
MAX_ALIAS_DESCRIPTION_LENGTH = 128
MAX_WEBHOOK_LENGTH = 128
MAX_SECRET_LENGTH = 64
MAX_TITLE_LENGTH = 64
MAX_CLIENT_ID_LENGTH = 64
MAX_COMMANDS = 100

_NAME = re.compile(r"[A-Za-z0-9 -]*")
_ALIAS = re.compile(r"[a-z0-9_-]*")
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")


def check_nickname(text: str, limits: UserLimits) -> None:
    """Raise :class:`ApiError` for a nickname that is too short, too long, or contains forbidden characters."""
    min_length, max_length = limits.min_nickname_length, limits.max_nickname_length
    _require(_byte_length(text) >= min_length, f"Nickname must be at least {min_length} characters long.")
    _require(_byte_length(text) <= max_length, f"Nickname should not be longer than {max_length} characters.")
    _require(
        _NAME.fullmatch(text) is not None,
        "Nickname should contain only upper/lower case English letters, spaces, dashes and numbers.",
    )


def is_nickname(text: str, limits: UserLimits) -> bool:
    """Return whether :func:`check_nickname` accepts ``text``."""
    try:
        check_nickname(text, limits)
    except ApiError:
        return False
    return True


def check_body(text: str, attachment_ids: Sequence[str], limits: MessageLimits) -> None:
    """Raise :class:`ApiError` for a message that is too long or has too many files."""
    max_length, files = limits.max_body_length, limits.max_attached_files
    _require(_byte_length(text) <= max_length, f"maximum allowed body length is {max_length} characters")
    _require(len(attachment_ids) <= files, f"maximum number of files allowed is {files}")


def check_bot_name(text: str) -> None:
    """Raise :class:`ApiError` for an invalid name of a bot."""
    _require(bool(text), "bot name must not be empty")
    _require(_byte_length(text) <= MAX_NAME_LENGTH, f"bot name should not be longer than {MAX_NAME_LENGTH} characters")
    _require(
        _NAME.fullmatch(text) is not None,
        "bot name should contain upper/lower case English letters, spaces, dashes or numbers",
    )


def check_bot_description(text: str) -> None:
    """Raise :class:`ApiError` for a description that is too long."""
    max_length = MAX_DESCRIPTION_LENGTH
    _require(_byte_length(text) <= max_length, f"bot description should not be longer than {max_length} characters")


def check_avatar(text: str) -> None:
    """Raise :class:`ApiError` for an avatar that is not an http or https URL. An empty one is valid."""
    _require(
        _byte_length(text) <= MAX_AVATAR_LENGTH, f"bot avatar should not be longer than {MAX_AVATAR_LENGTH} characters"
    )
    _require(not text or _is_url(text), "specified url is not valid")


def check_command(alias: str, description: str) -> None:
    """Raise :class:`ApiError` for an invalid alias or description of a command."""
    _require(bool(alias), "command alias must not be empty")
    _require(
        _byte_length(alias) <= MAX_ALIAS_LENGTH,
        f"command alias should not be longer than {MAX_ALIAS_LENGTH} characters",
    )
    _require(
        _ALIAS.fullmatch(alias) is not None,
        "command alias should contain lower case English letters, underscores, dashes or numbers",
    )
    max_length = MAX_ALIAS_DESCRIPTION_LENGTH
    _require(
        _byte_length(description) <= max_length,
        f"command description should not be longer than {max_length} characters",
    )


def check_webhook(url: str, secret: str) -> None:
    """Raise :class:`ApiError` for an invalid URL or secret of a webhook."""
    _require(bool(url), "webhook url must not be empty")
    _require(
        _byte_length(url) <= MAX_WEBHOOK_LENGTH,
        f"webhook url should not be longer than {MAX_WEBHOOK_LENGTH} characters",
    )
    _require(_is_url(url), "specified url is not valid")
    _require(
        _byte_length(secret) <= MAX_SECRET_LENGTH,
        f"webhook secret should not be longer than {MAX_SECRET_LENGTH} characters",
    )
    _require(
        _HEADER_VALUE.fullmatch(secret) is not None and secret == secret.strip(),
        "webhook secret should contain only visible ASCII characters, since it is sent as a header",
    )


def check_title(text: str) -> None:
    """Raise :class:`ApiError` for an invalid title of a chat."""
    _require(len(text) <= MAX_TITLE_LENGTH, f"title should not be longer than {MAX_TITLE_LENGTH} characters")
    _require(_CONTROL_CHARACTERS.search(text) is None, "title should not contain control characters")


def check_client_id(text: str) -> None:
    """Raise :class:`ApiError` for an invalid client id of a message or chat."""
    _require(
        len(text) <= MAX_CLIENT_ID_LENGTH and re.fullmatch(r"[A-Za-z0-9_.:-]*", text) is not None,
        f"clientId should be at most {MAX_CLIENT_ID_LENGTH} letters, digits, dots, colons, dashes and underscores",
    )


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and has_host and re.search(r"[\s\x00-\x20\x7f]", text) is None


def _byte_length(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ApiError(400, message)
