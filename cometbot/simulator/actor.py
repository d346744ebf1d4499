"""A simulated user who writes, edits, reacts, reads, joins, blocks and so on, as a person does in a chat app."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID

from cometbot.content_types import media_family
from cometbot.simulator import membership, messaging, people
from cometbot.simulator.errors import bad_request
from cometbot.simulator.records import StoredMessage
from cometbot.simulator.world import World

ORIGIN = {"platform": "web", "language": "reactjs", "resource": "chat-widget"}


class Actor:
    """A user of the simulated app, or the user of a bot. Every method acts on that user's behalf.

    Every method raises :class:`cometbot.simulator.Refusal` if CometChat would refuse the operation.
    """

    def __init__(self, world: World, uid: str) -> None:
        self._world = world
        self.uid = uid

    def __repr__(self) -> str:
        return f"<Actor {self.uid}>"

    def say(
        self,
        text: str = "",
        *,
        to: str = "",
        group: str = "",
        parent: StoredMessage | str = "",
        quote: StoredMessage | str = "",
        attachments: Sequence[str | Mapping[str, Any]] = (),
        custom: Mapping[str, Any] | None = None,
        type: str = "",
        metadata: Mapping[str, Any] | None = None,
        tags: Sequence[str] = (),
        muid: str = "",
    ) -> StoredMessage:
        """Send a message and return it as stored. Its callbacks are queued for the bots.

        The message goes ``to`` a user, to a ``group``, or into the thread of ``parent``, which implies the
        conversation. ``attachments`` are URLs or attachment objects, with ``text`` as their caption. ``custom`` makes
        it a custom message of ``type``. Write ``<@uid:UID>`` to mention a user.
        """
        data: dict[str, Any] = {"text": text} if text or not (attachments or custom) else {}
        if metadata is not None:
            data["metadata"] = dict(metadata)
        category = "message"
        if custom is not None:
            category, type, data = "custom", type or "custom", {**data, "customData": dict(custom)}
        elif attachments:
            files = [attachment_json(item) for item in attachments]
            type, data = type or media_family(str(files[0].get("mimeType", ""))), {**data, "attachments": files}
        body: dict[str, Any] = {"category": category, "type": type or "text", "data": data, "muid": muid}
        if tags:
            body["tags"] = list(tags)
        if quote:
            body["quotedMessageId"] = _id(quote)
        return self.write({**self._receiver(to, group, parent), **body}, parent=parent)

    def write(self, body: Mapping[str, Any], *, parent: StoredMessage | str = "") -> StoredMessage:
        """Send a message with the body of ``POST /messages``, as this user's app would, and return it as stored."""
        with self._world.condition:
            mark = UUID(self._world.token(32))
            resource = f"WEB-4_1_10-{mark}-{int(self._world.clock() * 1000)}"
            muid = body.get("muid") or f"_{self._world.token(8)}"
            root = _id(parent) if parent else ""
            return messaging.send(
                self._world, self.uid, {**body, "muid": muid}, parent_id=root, resource=resource, origin=ORIGIN
            )

    def edit(self, message: StoredMessage | str, text: str, **data: Any) -> StoredMessage:
        """Replace the text of a message and return the edited message. ``data`` changes other keys of its data."""
        with self._world.condition:
            messaging.edit(self._world, self.uid, _id(message), {"data": {"text": text, **data}})
            return self._world.message_store.get(_id(message))

    def delete(self, message: StoredMessage | str) -> StoredMessage:
        """Delete a message and return the action message that records the deletion."""
        with self._world.condition:
            return messaging.delete(self._world, self.uid, _id(message))

    def react(self, message: StoredMessage | str, reaction: str) -> StoredMessage:
        """Add this user's reaction to a message and return the message."""
        with self._world.condition:
            return messaging.react(self._world, self.uid, _id(message), reaction)

    def unreact(self, message: StoredMessage | str, reaction: str) -> StoredMessage:
        """Remove this user's reaction from a message and return the message."""
        with self._world.condition:
            return messaging.unreact(self._world, self.uid, _id(message), reaction)

    def join(self, group: str, *, password: str = "") -> StoredMessage:
        """Join a group and return the action message that records it."""
        with self._world.condition:
            return membership.join(self._world, self.uid, self._world.directory.group(group), password)

    def leave(self, group: str) -> StoredMessage:
        """Leave a group and return the action message that records it."""
        with self._world.condition:
            return membership.leave(self._world, self.uid, self._world.directory.group(group))

    def block(self, uid: str) -> None:
        """Block a user, who can then no longer write to this one."""
        with self._world.condition:
            people.block(self._world, self.uid, uid)

    def unblock(self, uid: str) -> None:
        """Unblock a user."""
        with self._world.condition:
            people.block(self._world, self.uid, uid, blocked=False)

    def connect(self, platform: str = "javascript") -> None:
        """Go online, as when the user opens the app."""
        with self._world.condition:
            people.set_connected(self._world, self.uid, connected=True, platform=platform)

    def disconnect(self, platform: str = "javascript") -> None:
        """Go offline."""
        with self._world.condition:
            people.set_connected(self._world, self.uid, connected=False, platform=platform)

    def receive(self, message: StoredMessage | str) -> None:
        """Report a message, and those before it, as delivered to the user's device."""
        self._mark(message, "delivered")

    def read(self, message: StoredMessage | str) -> None:
        """Report a message, and those before it, as read."""
        self._mark(message, "read")

    def _mark(self, message: StoredMessage | str, receipt: people.Receipt) -> None:
        with self._world.condition:
            found = messaging.get_accessible_message(self._world, _id(message), self.uid)
            people.mark(self._world, self.uid, found.conversation_id, found.number, receipt)

    def _receiver(self, to: str, group: str, parent: StoredMessage | str) -> dict[str, str]:
        if to and group:
            raise bad_request("to", "Name a user or a group, not both.")
        if to or group:
            return {"receiver": to or group, "receiverType": "user" if to else "group"}
        if not parent:
            raise bad_request("to", "Name whom it is for: to=UID, group=GUID or parent=MESSAGE.")
        with self._world.condition:
            root = self._world.message_store.get(_id(parent))
        other = root.sender if root.receiver_type == "user" and root.receiver == self.uid else root.receiver
        return {"receiver": other, "receiverType": root.receiver_type}


def attachment_json(item: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return an attachment object. For a URL, the name, the extension and the MIME type are derived from the URL."""
    if not isinstance(item, str):
        return dict(item)
    name = unquote(urlsplit(item).path.rpartition("/")[2]) or "file"
    mime_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    extension = name.rpartition(".")[2] if "." in name else ""
    return {"url": item, "name": name, "mimeType": mime_type, "extension": extension}


def _id(message: StoredMessage | str) -> str:
    return message if isinstance(message, str) else message.id
