"""Operations on conversations: receipts, tags, pins, and deletion for one user."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cometbot.channels.cometchat import request_bodies
from cometbot.channels.cometchat.api_request import (
    OperationsBase,
    Params,
    check_on_behalf_of,
    peer_path,
    read_records,
)
from cometbot.channels.cometchat.responses import Record
from cometbot.errors import MessageError

MAX_PINNED_CONVERSATIONS = 5


class ConversationOperations(OperationsBase):
    """Operations on conversations. Each user has a view of their own: read up to where, tagged, pinned."""

    def mark_read(self, *, reader: str, user: str = "", group: str = "", message_id: str = "") -> Record:
        """Mark a conversation as read by ``reader``, up to and including ``message_id`` if given.

        Returns the confirmation.
        """
        return self._mark_conversation("POST", "read", reader, user, group, message_id)

    def mark_unread(self, *, reader: str, user: str = "", group: str = "", message_id: str = "") -> Record:
        """Mark a conversation as unread again for ``reader``, and return the confirmation."""
        return self._mark_conversation("DELETE", "read", reader, user, group, message_id)

    def mark_delivered(self, *, reader: str, user: str = "", group: str = "", message_id: str = "") -> Record:
        """Mark a conversation's messages as delivered to ``reader``, and return the confirmation."""
        return self._mark_conversation("POST", "delivered", reader, user, group, message_id)

    def conversations(self, *, on_behalf_of: str = "", query: Params | None = None) -> Iterator[Record]:
        """Iterate over all conversations of ``on_behalf_of``."""
        return self._iter_pages("/conversations", query, on_behalf_of=on_behalf_of)

    def conversation(self, *, on_behalf_of: str, user: str = "", group: str = "") -> Record:
        """Return one conversation of ``on_behalf_of``."""
        return self._request_conversation("GET", on_behalf_of, user, group)

    def tag_conversation(self, tags: Sequence[str], *, on_behalf_of: str, user: str = "", group: str = "") -> Record:
        """Replace the tags of a conversation of ``on_behalf_of``, and return the conversation."""
        request_bodies.check_tags(list(tags) if not isinstance(tags, str) else tags)
        return self._request_conversation("PUT", on_behalf_of, user, group, body={"tags": list(tags)})

    def delete_conversation(
        self, *, on_behalf_of: str, user: str = "", group: str = "", permanent: bool = False
    ) -> Record:
        """Delete a conversation for ``on_behalf_of``, and return the confirmation.

        The others keep it, and a new message opens it again without the earlier ones. With ``permanent``, the messages
        of a one-to-one conversation are deleted for both. Raises :class:`MessageError` for ``permanent`` in a group.
        """
        body: dict[str, Any] | None = None
        if permanent and group:
            raise MessageError("permanent: expected a one-to-one conversation, got a group; delete its messages singly")
        if user:
            body = {"conversationWith": user, "deleteMessagesPermanently": permanent}
        return self._request_conversation("DELETE", on_behalf_of, user, group, body=body)

    def pin_conversation(self, *, on_behalf_of: str, user: str = "", group: str = "") -> Record:
        """Pin a conversation to the top of the list of ``on_behalf_of``, and return the conversation.

        A user can pin 5. Pinning a pinned one changes nothing. The app needs CometChat's feature for pins.
        """
        return self._request_conversation("POST", on_behalf_of, user, group, "/pin")

    def unpin_conversation(self, *, on_behalf_of: str, user: str = "", group: str = "") -> Record:
        """Unpin a conversation of ``on_behalf_of``, and return the conversation."""
        return self._request_conversation("DELETE", on_behalf_of, user, group, "/pin")

    def pinned_conversations(self) -> list[Record]:
        """Return the conversations that the app pins for all its users, in their order."""
        return read_records(self.request("GET", "/conversations/pinned"))

    def pin_conversations_for_all(self, *, users: Sequence[str] = (), groups: Sequence[str] = ()) -> list[Record]:
        """Replace the conversations that the app pins for all its users, and return them: groups first, 5 at most."""
        pinned = [{"guid": request_bodies.check_id(guid, "guid")} for guid in groups]
        pinned += [{"uid": request_bodies.check_id(uid, "uid")} for uid in users]
        if len(pinned) > MAX_PINNED_CONVERSATIONS:
            raise MessageError(
                f"pinnedConversations has {len(pinned)} entries; CometChat takes {MAX_PINNED_CONVERSATIONS}"
            )
        answer = self.request("PUT", "/conversations/pinned", body={"pinnedConversations": pinned})
        return read_records(answer) if isinstance(answer.get("data"), list) else []

    def _request_conversation(
        self, method: str, on_behalf_of: str, user: str, group: str, suffix: str = "", **options: Any
    ) -> Record:
        path = f"{peer_path(user, group)}/conversation{suffix}"
        return self._request_record(method, path, on_behalf_of=check_on_behalf_of(on_behalf_of), **options)

    def _mark_conversation(self, method: str, what: str, reader: str, user: str, group: str, message_id: str) -> Record:
        number = request_bodies.check_id(message_id, "messageId") if message_id else ""
        body = {"messageId": int(number) if number.isdigit() else number} if number else None
        return self._request_conversation(method, reader, user, group, f"/{what}", body=body)
