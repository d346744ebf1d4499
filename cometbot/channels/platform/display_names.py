"""Display names of the web chat's users, and the nicknames that Botyard's clients receive for them."""

from __future__ import annotations

import re
import secrets
import unicodedata
from typing import Any

from cometbot.channels.platform.config import UserLimits
from cometbot.channels.platform.errors import ApiError
from cometbot.channels.platform.validators import is_nickname
from cometbot.chat import ChatUser

_SPACES = re.compile(" +")
_JOINERS = "\u200c\u200d"
"""Zero-width joiners, which Persian and the scripts of India need between letters."""

_ALLOWED_MARKS = "'\u2019.\u00b7\u30fb,&_-" + _JOINERS
_NOT_IN_NICKNAMES = re.compile(r"[^A-Za-z0-9 -]")


def normalize_name(text: str, limits: UserLimits) -> str:
    """Return ``text`` with single spaces and composed letters. Raises :class:`ApiError` if it is not a valid name.

    A name contains letters or digits of any script, and at most ``max_nickname_length`` characters. Characters that are
    invisible, or change the direction of the text around them, are refused.
    """
    name = _SPACES.sub(" ", unicodedata.normalize("NFC", "".join(map(_normalize_space, text)))).strip(" ")
    if len(name) > limits.max_nickname_length:
        raise ApiError(400, f"The name should not be longer than {limits.max_nickname_length} characters.")
    if not any(character.isalnum() for character in name) or not all(map(_is_allowed, name)):
        raise ApiError(400, "The name should consist of letters, digits, spaces and dashes, with at least one letter.")
    return name


def to_nickname(name: str, limits: UserLimits) -> str:
    """Return ``name`` in the letters that Botyard's protocol allows, or a numbered guest if too few remain."""
    decomposed = unicodedata.normalize("NFKD", name)
    nickname = _NOT_IN_NICKNAMES.sub(
        "", "".join(character for character in decomposed if not unicodedata.combining(character))
    )
    if is_nickname(nickname.strip(), limits):
        return nickname.strip()
    digits = max(6, limits.min_nickname_length)
    return f"Guest {secrets.randbelow(10**digits):0{digits}}"[-limits.max_nickname_length :]


def display_name(user: ChatUser) -> str:
    """Return the name that the user has chosen."""
    return str(user.data.get("name") or user.data.get("nickname", ""))


def to_user_data(name: str, limits: UserLimits) -> dict[str, Any]:
    """Return the stored data of a user with this name."""
    return {"nickname": to_nickname(name, limits), "name": name}


def _normalize_space(character: str) -> str:
    return " " if unicodedata.category(character) == "Zs" else character


def _is_allowed(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in "LMN" or category in ("So", "Sk", "Zs") or character in _ALLOWED_MARKS
