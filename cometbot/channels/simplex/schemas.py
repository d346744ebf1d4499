"""Reads the fields of answers and events as values of ``models``.

Only the indispensable fields are required: ids, tags, directions. All others are omitted if they are absent, null or of
a wrong type. Unknown fields, tags and enum values stay in ``raw``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from cometbot.channels.simplex.models import (
    Address,
    ChatSummary,
    Contact,
    ContactRequest,
    Content,
    Deletion,
    FileTransfer,
    GroupInfo,
    Item,
    Member,
    Profile,
    Reaction,
    User,
)
from cometbot.channels.simplex.protocol.frames import Record
from cometbot.channels.simplex.protocol.objects import CliObject, find, read_object
from cometbot.errors import PayloadError

_log = logging.getLogger(__name__)

_FIELDS_BY_MODEL: dict[type[CliObject], str] = {
    User: "user user_",
    Contact: "contact fromContact toContact memberContact hostContact contact_ contacts",
    GroupInfo: "groupInfo fromGroup toGroup groups",
    Member: "member member_ hostMember byMember fromMember toMember deletedMember acceptingMember members",
    Item: "chatItem chatItem_ chatItems",
    Reaction: "reaction",
    ContactRequest: "contactRequest",
    Address: "contactLink groupLink",
    FileTransfer: "rcvFileTransfer fileTransferMeta",
    Deletion: "chatItemDeletions",
    ChatSummary: "chats chat chat_",
    Profile: "fromProfile toProfile customUserProfile userCustomProfile",
}


def _read_link(raw: Any) -> Address:
    """Return a bare link, as in the answer to creating an address."""
    return replace(read_object(Address, {"connLinkContact": raw}), raw=raw)


_MODELS_BY_FIELD = {name: model for model, names in _FIELDS_BY_MODEL.items() for name in names.split()}
_READERS_BY_FIELD: dict[str, Callable[[Any], Any]] = {
    "connLinkContact": _read_link,
    "connLinkInvitation": _read_link,
    "connLink": _read_link,
    "users": lambda entry: read_object(User, find(entry, "user")),
}


def read_field(record: Record, name: str) -> Any:
    """Return the field ``name`` of an answer or event as a value of ``models``, or None if it is absent.

    A list becomes a list of values. ``group`` of ``groupMembers`` is the list of members. Raises :class:`PayloadError`
    if the value does not have the required shape, and ``KeyError`` for a field that has no model.
    """
    raw = find(record.raw, name)
    if name == "group":
        name, raw = "members", find(raw, "members")
    read = _READERS_BY_FIELD.get(name) or partial(read_object, _MODELS_BY_FIELD[name])
    if raw is None:
        return None
    return [read(item) for item in raw] if isinstance(raw, list) else read(raw)


def read_item(raw: object) -> Item:
    """Return the item in an ``AChatItem``, ``{"chatInfo": …, "chatItem": …}``. Raises :class:`PayloadError`."""
    return read_object(Item, raw)


def read_item_or_none(raw: object) -> Item | None:
    """Return the item in an ``AChatItem``, or None for one that cannot be read, which is logged."""
    try:
        return read_item(raw)
    except (PayloadError, RecursionError) as error:
        _log.warning("skipped an unreadable chat item: %s", error)
        return None


def read_chat(raw: object) -> ChatSummary:
    """Return a chat of a list, an ``AChat``. Raises :class:`PayloadError`."""
    return read_object(ChatSummary, raw)


def read_content(raw: object) -> Content:
    """Return the content in a ``MsgContent``. Raises :class:`PayloadError`."""
    return read_object(Content, raw)
