"""Temporary registrations: bots of a real CometChat app that point to this machine, and are restored afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cometbot.channels.cometchat.client import CometChatClient
from cometbot.channels.cometchat.provision import (
    BotPlan,
    RegisteredBot,
    create_bot,
    find_bot,
    make_basic_auth_changes,
    update_bot,
)
from cometbot.cli.dev.undo_journal import UndoEntry, UndoJournal
from cometbot.errors import ChannelError, RateLimited, Rejected
from cometbot.settings import Credentials

MAX_ATTEMPTS = 3
"""Maximum number of attempts to restore a bot."""

_RETRY_INTERVAL = 0.5
_MAX_RETRY_INTERVAL = 5.0


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """The result of restoring a bot. ``text`` is a sentence; ``error`` is the cause if it failed."""

    uid: str
    text: str
    error: ChannelError | None = None


class TemporaryRegistrations:
    """The bots that one run has changed. Each change is written to the ``journal`` before it is made."""

    def __init__(self, client: CometChatClient, journal: UndoJournal) -> None:
        self._client = client
        self._journal = journal

    @property
    def uids(self) -> frozenset[str]:
        """The bots to restore."""
        return frozenset(self._journal.entries)

    def is_registered(self, uid: str, url: str) -> bool:
        """Return True if this run registered the bot with ``url``."""
        entry = self._journal.entries.get(uid)
        return entry is not None and entry.url == url

    def check_access(self, uids: Iterable[str]) -> None:
        """Raise the client's errors if CometChat refuses to show these bots. The bots need not exist."""
        for uid in uids:
            find_bot(self._client, uid)

    def register(self, plan: BotPlan, *, keeps_group_setting: bool = False) -> RegisteredBot | None:
        """Register a bot as ``plan`` describes. Return its previous registration, or None if it was not a bot.

        With ``keeps_group_setting``, the plan's group setting applies only to a new bot. Raises the client's errors.
        """
        before = find_bot(self._client, plan.uid)
        self._journal.add(UndoEntry(plan.uid, plan.url, _to_record(before) if before else None))
        if before is None:
            create_bot(self._client, plan)
        else:
            changes = {"webhookURL": plan.url, "enabled": plan.enabled, **make_basic_auth_changes(plan.credentials)}
            if not keeps_group_setting:
                changes["groupChatSetting"] = plan.group_setting
            update_bot(self._client, plan.uid, changes)
        return before

    def restore(self, uid: str) -> RestoreResult:
        """Restore a bot's previous registration, with retries for a few seconds while CometChat does not answer."""
        entry = self._journal.entries[uid]
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                text = self._restore(entry)
            except ChannelError as error:
                if attempt == MAX_ATTEMPTS or isinstance(error, Rejected):
                    return RestoreResult(uid, f"cannot restore {uid}", error)
                retry_after = error.retry_after if isinstance(error, RateLimited) else 0.0
                time.sleep(min(max(retry_after, _RETRY_INTERVAL * attempt), _MAX_RETRY_INTERVAL))
            else:
                self._journal.remove(uid)
                return RestoreResult(uid, text)
        raise AssertionError("every attempt returns or is followed by another one")

    def restore_all(self) -> list[RestoreResult]:
        """Restore all bots."""
        return [self.restore(uid) for uid in sorted(self.uids)]

    def _restore(self, entry: UndoEntry) -> str:
        now = find_bot(self._client, entry.uid)
        before = RegisteredBot.from_record(entry.before) if entry.before else None
        if now is None or now.url != entry.url:
            is_as_before = now is before is None or (now and before and now.url == before.url)
            meanwhile = "is unchanged" if is_as_before else "was changed on CometChat meanwhile; left as it is"
            return f"{entry.uid} {meanwhile}"
        if before is None:
            self._client.delete_bot(entry.uid)
            return f"{entry.uid} is unregistered again; its user is kept"
        update_bot(self._client, entry.uid, _changes_to(before))
        return f"CometChat calls {before.masked_url or 'nothing'} for {entry.uid} again"


def _changes_to(before: RegisteredBot) -> dict[str, Any]:
    login = make_basic_auth_changes(Credentials(before.username, before.password) if before.uses_basic_auth else None)
    known = {name: value for name, value in login.items() if value != ""}
    return {
        "webhookURL": before.url,
        "groupChatSetting": before.group_setting,
        "enabled": before.enabled,
        **known,
    }


def _to_record(bot: RegisteredBot) -> dict[str, Any]:
    return {**bot.to_json(), "webhookURL": bot.url, "password": bot.password.reveal()}
