"""What names, texts and addresses may be, in the words that refuse them. Lengths are counted in UTF-8 bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from cometbot.channels.botyard.config import MessageLimits, UserLimits
from cometbot.channels.botyard.refusals import Refusal

LONGEST_NAME = 32
LONGEST_DESCRIPTION = 512
LONGEST_AVATAR = 256
LONGEST_ALIAS = 32
LONGEST_ALIAS_DESCRIPTION = 128
LONGEST_WEBHOOK = 128
LONGEST_SECRET = 64
LONGEST_TITLE = 64
LONGEST_CLIENT_ID = 64
MOST_COMMANDS = 100

_NAME = re.compile(r"[A-Za-z0-9 -]*")
_ALIAS = re.compile(r"[a-z0-9_-]*")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f]")
_HEADER = re.compile(r"[\x20-\x7e]*")


def check_nickname(text: str, limits: UserLimits) -> None:
    """Raise :class:`Refusal` for a nickname that is too short, too long, or has other letters than it may."""
    least, most = limits.min_nickname_length, limits.max_nickname_length
    _require(_size(text) >= least, f"Nickname must be at least {least} characters long.")
    _require(_size(text) <= most, f"Nickname should not be longer than {most} characters.")
    _require(
        _NAME.fullmatch(text) is not None,
        "Nickname should contain only upper/lower case English letters, spaces, dashes and numbers.",
    )


def is_nickname(text: str, limits: UserLimits) -> bool:
    """Return whether :func:`check_nickname` accepts ``text``."""
    try:
        check_nickname(text, limits)
    except Refusal:
        return False
    return True


def check_body(text: str, attachment_ids: Sequence[str], limits: MessageLimits) -> None:
    """Raise :class:`Refusal` for a message that is too long or has too many files."""
    most, files = limits.max_body_length, limits.max_attached_files
    _require(_size(text) <= most, f"maximum allowed body length is {most} characters")
    _require(len(attachment_ids) <= files, f"maximum number of files allowed is {files}")


def check_bot_name(text: str) -> None:
    """Raise :class:`Refusal` for what cannot be a bot's name."""
    _require(bool(text), "bot name must not be empty")
    _require(_size(text) <= LONGEST_NAME, f"bot name should not be longer than {LONGEST_NAME} characters")
    _require(
        _NAME.fullmatch(text) is not None,
        "bot name should contain upper/lower case English letters, spaces, dashes or numbers",
    )


def check_bot_description(text: str) -> None:
    """Raise :class:`Refusal` for a description that is too long."""
    most = LONGEST_DESCRIPTION
    _require(_size(text) <= most, f"bot description should not be longer than {most} characters")


def check_avatar(text: str) -> None:
    """Raise :class:`Refusal` for an avatar that is no http or https URL; none at all is one."""
    _require(_size(text) <= LONGEST_AVATAR, f"bot avatar should not be longer than {LONGEST_AVATAR} characters")
    _require(not text or _is_url(text), "specified url is not valid")


def check_command(alias: str, description: str) -> None:
    """Raise :class:`Refusal` for a command that cannot be one."""
    _require(bool(alias), "command alias must not be empty")
    _require(_size(alias) <= LONGEST_ALIAS, f"command alias should not be longer than {LONGEST_ALIAS} characters")
    _require(
        _ALIAS.fullmatch(alias) is not None,
        "command alias should contain lower case English letters, underscores, dashes or numbers",
    )
    most = LONGEST_ALIAS_DESCRIPTION
    _require(_size(description) <= most, f"command description should not be longer than {most} characters")


def check_webhook(url: str, secret: str) -> None:
    """Raise :class:`Refusal` for a webhook that cannot be called."""
    _require(bool(url), "webhook url must not be empty")
    _require(_size(url) <= LONGEST_WEBHOOK, f"webhook url should not be longer than {LONGEST_WEBHOOK} characters")
    _require(_is_url(url), "specified url is not valid")
    _require(_size(secret) <= LONGEST_SECRET, f"webhook secret should not be longer than {LONGEST_SECRET} characters")
    _require(
        _HEADER.fullmatch(secret) is not None and secret == secret.strip(),
        "webhook secret should contain only visible ASCII characters, since it is sent as a header",
    )


def check_title(text: str) -> None:
    """Raise :class:`Refusal` for what cannot be a chat's title."""
    _require(len(text) <= LONGEST_TITLE, f"title should not be longer than {LONGEST_TITLE} characters")
    _require(_UNSEEN.search(text) is None, "title should not contain control characters")


def check_client_id(text: str) -> None:
    """Raise :class:`Refusal` for what cannot tell one message from another."""
    _require(
        len(text) <= LONGEST_CLIENT_ID and re.fullmatch(r"[A-Za-z0-9_.:-]*", text) is not None,
        f"clientId should be at most {LONGEST_CLIENT_ID} letters, digits, dots, colons, dashes and underscores",
    )


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        has_place = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and has_place and re.search(r"[\s\x00-\x20\x7f]", text) is None


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise Refusal(400, sentence)
