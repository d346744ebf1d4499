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

from cometbot.channels.simplex import models
from cometbot.channels.simplex.protocol.frames import Record
from cometbot.channels.simplex.protocol.objects import CliObject, find, read_object, read_or_none
from cometbot.errors import PayloadError

_FIELDS_BY_MODEL: dict[type[CliObject], str] = {
    models.User: "user user_",
    models.Contact: "contact fromContact toContact memberContact hostContact contact_ contacts",
    models.GroupInfo: "groupInfo fromGroup toGroup groups",
    models.Member: "member member_ hostMember byMember fromMember toMember deletedMember acceptingMember members",
    models.Item: "chatItem chatItem_ chatItems",
    models.Reaction: "reaction",
    models.ContactRequest: "contactRequest",
    models.Address: "contactLink groupLink",
    models.FileTransfer: "rcvFileTransfer fileTransferMeta",
    models.Deletion: "chatItemDeletions",
    models.ChatSummary: "chats chat chat_",
    models.Profile: "fromProfile toProfile customUserProfile userCustomProfile",
}


def _read_link(raw: Any) -> models.Address:
    """Return a bare link, as in the answer to creating an address."""
    return replace(read_object(models.Address, {"connLinkContact": raw}), raw=raw)


_MODELS_BY_FIELD = {name: model for model, names in _FIELDS_BY_MODEL.items() for name in names.split()}
_READERS_BY_FIELD: dict[str, Callable[[Any], Any]] = {
    "connLinkContact": _read_link,
    "connLinkInvitation": _read_link,
    "connLink": _read_link,
    "users": lambda entry: read_object(models.User, find(entry, "user")),
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


def require_field(record: Record, name: str) -> Any:
    """Return a field like :func:`read_field`, or the first value of a list.

    Raises :class:`PayloadError` if there is none.
    """
    found = read_field(record, name)
    if not found:
        raise PayloadError(f"the record {record.type} of the SimpleX CLI lacks its {name}")
    return found[0] if isinstance(found, list) else found


def read_item(raw: object) -> models.Item:
    """Return the item in an ``AChatItem``, ``{"chatInfo": …, "chatItem": …}``. Raises :class:`PayloadError`."""
    return read_object(models.Item, raw)


def read_item_or_none(raw: object, level: int = logging.WARNING) -> models.Item | None:
    """Return the item in an ``AChatItem``, or None for one that cannot be read, which is logged at ``level``."""
    return read_or_none(models.Item, raw, level)


def read_chat(raw: object) -> models.ChatSummary:
    """Return a chat of a list, an ``AChat``. Raises :class:`PayloadError`."""
    return read_object(models.ChatSummary, raw)


def read_content(raw: object) -> models.Content:
    """Return the content in a ``MsgContent``. Raises :class:`PayloadError`."""
    return read_object(models.Content, raw)
