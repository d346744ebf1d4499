"""Rejects the key of a deleted user after another user has got the same id.

In automatic mode each account has a random name, which is stored with its user and is part of the key that was issued
for it. In manual mode the backend decides who has an id. The time of a deletion is stored, and keys that were signed
before it are refused. Of the id itself only a hash is stored.
"""

from __future__ import annotations

import hashlib
import json
import math
import time

from cometbot.channels.chat_api.ids import CHANNEL
from cometbot.channels.chat_api.keys import UserKey
from cometbot.chat import Chat, ChatUser, Data, Scope
from cometbot.errors import NotFound
from cometbot.http.errors import HttpError
from cometbot.state import StateChange
from cometbot.store.database import Transaction
from cometbot.store.state import StateTable

ACCOUNT_FIELD = "account"
"""The field of a user's data that holds the account's name. It appears in no response."""

_DELETED_USER = "deleted user"
_VALID_FROM = "at"


class Accounts:
    """The accounts of one bot's users. All methods work inside the caller's transaction."""

    def __init__(self, chat: Chat, scope: Scope, *, issues_keys: bool) -> None:
        self._chat = chat
        self._scope = scope
        self._issues_keys = issues_keys
        self._state = StateTable(chat.database)

    def check_key(self, connection: Transaction, key: UserKey) -> None:
        """Raise :class:`HttpError` with 401 for a key that is older than the current user with its id.

        If there is no such user, the check passes, and operations answer that the user does not exist.
        """
        user = self._chat.users.get(connection, self._scope, key.user_id)
        if self._issues_keys:
            self._check_account(user, key)
        elif user is not None:
            self._check_time(connection, key)

    def get_or_create_user(self, connection: Transaction, key: UserKey, data: Data) -> ChatUser:
        """Return the user of ``key``, created or updated.

        Raises like :meth:`check_key`, :class:`NotFound` if another request created the user at the same moment, and
        :class:`StorageFull` if there is no room for the user's data.
        """
        users = self._chat.users
        existing = users.get(connection, self._scope, key.user_id)
        if self._issues_keys:
            self._check_account(existing, key)
        else:
            # An old key must not recreate the user: the next owner of the id would share the account with its holder.
            self._check_time(connection, key)
        if self._issues_keys and existing is None:
            data = {**data, ACCOUNT_FIELD: key.account}
        user, is_new = users.get_or_create(connection, self._scope, key.user_id, data)
        if existing is None and not is_new:
            raise NotFound("a concurrent request created the user; retry")
        if is_new or data:
            self._chat.quota.check(connection)
        return user

    def invalidate_keys(self, connection: Transaction, key: UserKey) -> None:
        """Invalidate the keys that were signed until now. Call this when the user is deleted."""
        if self._issues_keys:
            return
        # ``iat`` is in whole seconds, so a key signed in this second may be older than the deletion.
        deleted_at = max(time.time(), key.issued_at or 0.0, self._valid_from(connection, key.user_id) - 1)
        value = json.dumps(math.floor(deleted_at) + 1)
        self._state.apply(
            connection, [StateChange(_DELETED_USER, self._state_owner(key.user_id), {_VALID_FROM: value})]
        )

    def _check_account(self, user: ChatUser | None, key: UserKey) -> None:
        if user is not None and user.data.get(ACCOUNT_FIELD, "") != key.account:
            raise HttpError(401, "Unauthorized", "The user key belongs to a user who was deleted")

    def _check_time(self, connection: Transaction, key: UserKey) -> None:
        if key.issued_at is not None and key.issued_at < self._valid_from(connection, key.user_id):
            text = "The user key was signed before its user was deleted: sign a new one"
            raise HttpError(401, "Unauthorized", text)

    def _valid_from(self, connection: Transaction, user: str) -> float:
        found = self._state.load(connection, _DELETED_USER, self._state_owner(user)).get(_VALID_FROM)
        return float(json.loads(found)) if found else 0.0

    def _state_owner(self, user: str) -> str:
        return f"{CHANNEL}/{self._scope.bot}/{hashlib.sha256(user.encode()).hexdigest()}"
