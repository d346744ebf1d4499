"""CometChat's JSON of users, groups, bots and messages: docs/protocols/cometchat.md, "Bot object", "Message object"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cometbot.simulator.directory import Directory
from cometbot.simulator.message_store import MessageStore
from cometbot.simulator.records import (
    BOT_KEYS,
    MESSAGE_KEYS,
    USER_KEYS,
    BotRecord,
    GroupRecord,
    Reaction,
    StoredMessage,
    UserRecord,
)


def user_json(user: UserRecord, *, with_tags: bool = False) -> dict[str, Any]:
    """Return a user entity without its empty fields. The private part of the metadata is never included."""
    entity = _record_json(user, USER_KEYS, with_tags=with_tags)
    if metadata := entity.get("metadata"):
        entity["metadata"] = {key: value for key, value in metadata.items() if key != "@private"}
    return _without_empty(**entity)


def group_json(group: GroupRecord, *, viewer: str = "", with_tags: bool = False) -> dict[str, Any]:
    """Return a group entity, with ``viewer``'s membership if they are a member. The password is never included."""
    member = group.members.get(viewer)
    place = {"hasJoined": True, "scope": member.scope, "joinedAt": member.joined_at} if member else {}
    return {
        "guid": group.guid,
        "name": group.name,
        **_without_empty(description=group.description, icon=group.icon, metadata=group.metadata),
        "type": group.type,
        "membersCount": len(group.members),
        "conversationId": f"group_{group.guid}",
        **place,
        **_without_empty(tags=list(group.tags) if with_tags else []),
        "createdAt": group.created_at,
        **_without_empty(owner=group.owner, updatedAt=group.updated_at),
    }


def bot_json(bot: BotRecord) -> dict[str, Any]:
    """Return a bot object without its empty and false fields.

    It includes the password in plain text, as on CometChat.
    """
    return _record_json(bot, BOT_KEYS)


class Serializer:
    """Converts messages to JSON and inserts the current entities of their users and groups."""

    def __init__(self, directory: Directory, message_store: MessageStore) -> None:
        self._directory = directory
        self._archive = message_store

    def message(self, message: StoredMessage, *, viewer: str = "", with_tags: bool = False) -> dict[str, Any]:
        """Return a message object. ``viewer``'s own reactions are marked; ``with_tags`` includes the tags."""
        shown = _record_json(message, MESSAGE_KEYS, with_tags=with_tags)
        shown["data"] = message.data if message.is_action else self._data(message, viewer)
        quoted = self._archive.find(message.quoted_message_id) if message.quoted_message_id else None
        if quoted is not None and not quoted.quoted_message_id:
            shown["quotedMessage"] = self.message(quoted)
        return shown

    def deletion(self, message: StoredMessage) -> dict[str, Any]:
        """Return the payload that reports a deletion: ids and times alone, as CometChat documents it."""
        return {
            "id": message.id,
            "conversationId": message.conversation_id,
            "deletedAt": message.deleted_at,
            "deletedBy": message.deleted_by,
        }

    def user(self, uid: str, *, conversation_id: str = "", with_tags: bool = False) -> dict[str, Any]:
        """Return the entity of a user, who may have been deleted."""
        user = self._directory.find_user(uid)
        entity = user_json(user, with_tags=with_tags) if user else {"uid": uid, "name": uid}
        return {**entity, "conversationId": conversation_id} if conversation_id else entity

    def group(self, guid: str, *, viewer: str = "") -> dict[str, Any]:
        """Return the entity of a group, which may have been deleted, as ``viewer`` sees it."""
        group = self._directory.groups.get(guid)
        return group_json(group, viewer=viewer) if group else {"guid": guid, "name": guid}

    def actor(self, uid: str) -> dict[str, Any]:
        """Return the entry of a user in ``entities`` who did something, with their tags."""
        return self.entity("user", self.user(uid, with_tags=True))

    def entity(self, kind: str, value: Mapping[str, Any]) -> dict[str, Any]:
        """Return one entry of ``entities``."""
        return {"entityType": kind, "entity": value}

    def receiver(self, message: StoredMessage) -> dict[str, Any]:
        """Return the entry for the receiver of a message."""
        if message.receiver_type == "group":
            return self.entity("group", self.group(message.receiver, viewer=message.sender))
        return self.entity("user", self.user(message.receiver, conversation_id=message.conversation_id))

    def reaction(self, message: StoredMessage, reaction: Reaction) -> dict[str, Any]:
        """Return one reaction, as lists and webhooks show it."""
        return {
            "id": reaction.id,
            "messageId": message.id,
            "reaction": reaction.reaction,
            "uid": reaction.uid,
            "reactedAt": reaction.reacted_at,
            "reactedBy": self.user(reaction.uid, with_tags=True),
        }

    def _data(self, message: StoredMessage, viewer: str) -> dict[str, Any]:
        mentions = {uid: self.user(uid) for uid in message.mentions}
        return {
            **message.data,
            **_without_empty(mentions=mentions, reactions=_count_reactions(message.reactions, viewer)),
            "entities": {
                "sender": self.actor(message.sender),
                "receiver": self.receiver(message),
            },
        }


def _count_reactions(reactions: Iterable[Reaction], viewer: str) -> list[dict[str, Any]]:
    counts: dict[str, dict[str, Any]] = {}
    for reaction in reactions:
        entry = counts.setdefault(reaction.reaction, {"reaction": reaction.reaction, "count": 0})
        entry["count"] += 1
        if viewer and reaction.uid == viewer:
            entry["reactedByMe"] = True
    return list(counts.values())


def _record_json(record: Any, keys: Mapping[str, str], *, with_tags: bool = False) -> dict[str, Any]:
    """Return the fields of a record that are not empty, by CometChat's names."""
    shown = {key: value for key, name in keys.items() if (value := getattr(record, name))}
    if not with_tags:
        shown.pop("tags", None)
    elif "tags" in shown:
        shown["tags"] = list(shown["tags"])
    return shown


def _without_empty(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value}
