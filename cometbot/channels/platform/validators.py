"""Validates what users and bots send, with the protocol's error messages. Lengths are in UTF-8 bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from cometbot.channels.platform.config import MessageLimits, UserLimits
from cometbot.channels.platform.errors import ApiError
from cometbot.field_values import field_from_json, normalize_values

MAX_COMMANDS = 100
_MAX_TITLE_LENGTH = 64
_MAX_CLIENT_ID_LENGTH = 64

_NAME = re.compile(r"[A-Za-z0-9 -]*")
_ALIAS = re.compile(r"[a-z0-9_-]*")
_CLIENT_ID = re.compile(r"[A-Za-z0-9_.:-]*")
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")

Content = Mapping[str, Any]
"""The rich content of a message."""


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


def check_bot(name: str, description: str, avatar: str) -> None:
    """Raise :class:`ApiError` for an invalid name, description or avatar of a bot. Empty ones are valid."""
    _check_length("bot name", name, 32)
    _require(
        _NAME.fullmatch(name) is not None,
        "bot name should contain upper/lower case English letters, spaces, dashes or numbers",
    )
    _check_length("bot description", description, 512)
    _check_length("bot avatar", avatar, 256)
    _require(not avatar or _is_url(avatar), "specified url is not valid")


def check_command(alias: str, description: str) -> None:
    """Raise :class:`ApiError` for an invalid alias or description of a command."""
    _require(bool(alias), "command alias must not be empty")
    _check_length("command alias", alias, 32)
    _require(
        _ALIAS.fullmatch(alias) is not None,
        "command alias should contain lower case English letters, underscores, dashes or numbers",
    )
    _check_length("command description", description, 128)


def check_webhook(url: str, secret: str) -> None:
    """Raise :class:`ApiError` for an invalid URL or secret of a webhook."""
    _require(bool(url), "webhook url must not be empty")
    _check_length("webhook url", url, 128)
    _require(_is_url(url), "specified url is not valid")
    _check_length("webhook secret", secret, 64)
    _require(
        _HEADER_VALUE.fullmatch(secret) is not None and secret == secret.strip(),
        "webhook secret should contain only visible ASCII characters, since it is sent as a header",
    )


def check_title(text: str) -> None:
    """Raise :class:`ApiError` for an invalid title of a chat."""
    _require(len(text) <= _MAX_TITLE_LENGTH, f"title should not be longer than {_MAX_TITLE_LENGTH} characters")
    _require(_CONTROL_CHARACTERS.search(text) is None, "title should not contain control characters")


def check_client_id(text: str) -> None:
    """Raise :class:`ApiError` for an invalid client id of a message or chat."""
    _require(
        len(text) <= _MAX_CLIENT_ID_LENGTH and _CLIENT_ID.fullmatch(text) is not None,
        f"clientId should be at most {_MAX_CLIENT_ID_LENGTH} letters, digits, dots, colons, dashes and underscores",
    )


def validate_action(content: Content | None, name: str, value: str, values: Mapping[str, str]) -> dict[str, Any]:
    """Return the action as the bot receives it: ``name``, ``value``, and a form's ``values`` by field name.

    Raises :class:`ApiError` if the message with this ``content`` does not offer the action, so a bot receives only
    actions that it has offered.
    """
    shown = content or {}
    if shown.get("kind") == "form" and shown.get("action") == name:
        return {"name": name, "value": "", "values": _validate_values(shown["fields"], values)}
    if (name, value) not in set(_available_actions(shown)):
        raise ApiError(400, "There is no such button in that message.")
    return {"name": name, "value": value, "values": {}}


def _available_actions(content: Content) -> Iterator[tuple[str, str]]:
    for card in (content, *content.get("cards", ())):
        for item in (*card.get("buttons", ()), *card.get("options", ())):
            if "action" in item:
                yield item["action"], item["value"]


def _validate_values(described: Sequence[Mapping[str, Any]], values: Mapping[str, str]) -> dict[str, str]:
    """Return the values of a form.

    A default applies only to a field that was not submitted, since a user may clear it.
    """
    fields = [field_from_json(item) for item in described]
    found = normalize_values(fields, values, can_clear=True)
    if not found.is_complete:
        raise ApiError(400, found.describe(fields))
    return found.texts


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and has_host and re.search(r"[\s\x00-\x20\x7f]", text) is None


def _byte_length(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _check_length(what: str, text: str, limit: int) -> None:
    _require(_byte_length(text) <= limit, f"{what} should not be longer than {limit} characters")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ApiError(400, message)
