"""Bots of a real app on CometChat, pointed at this machine for a while, and put back as they were."""

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
"""How often it is tried to put a bot back."""

_RETRY_INTERVAL = 0.5
_MAX_RETRY_INTERVAL = 5.0


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """What became of a bot that was to be put back. ``text`` is a sentence; ``error`` says why it is not put back."""

    uid: str
    text: str
    error: ChannelError | None = None


class TemporaryRegistrations:
    """The bots that one run has changed. What is to be put back is in the ``journal`` before anything is changed."""

    def __init__(self, client: CometChatClient, journal: UndoJournal) -> None:
        self._client = client
        self._journal = journal

    @property
    def uids(self) -> frozenset[str]:
        """The bots that are to be put back."""
        return frozenset(self._journal.entries)

    def is_registered(self, uid: str, url: str) -> bool:
        """Whether this bot is called at ``url`` because this run has it so."""
        entry = self._journal.entries.get(uid)
        return entry is not None and entry.url == url

    def check_access(self, uids: Iterable[str]) -> None:
        """Raise the client's errors if CometChat does not tell of these bots, which need not exist."""
        for uid in uids:
            find_bot(self._client, uid)

    def register(self, plan: BotPlan, *, keeps_group_setting: bool = False) -> RegisteredBot | None:
        """Let CometChat have a bot as ``plan`` says. Returns how it was before, None if it was none.

        With ``keeps_group_setting`` the plan's counts for a new bot only. Raises the client's errors.
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
        """Put a bot back as it was before; tried anew for a few seconds while CometChat does not answer."""
        entry = self._journal.entries[uid]
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                text = self._restore(entry)
            except Rejected as error:
                return RestoreResult(uid, f"{uid} cannot be put back", error)
            except ChannelError as error:
                if attempt == MAX_ATTEMPTS:
                    return RestoreResult(uid, f"{uid} is not put back", error)
                retry_after = error.retry_after if isinstance(error, RateLimited) else 0.0
                time.sleep(min(max(retry_after, _RETRY_INTERVAL * attempt), _MAX_RETRY_INTERVAL))
            else:
                self._journal.remove(uid)
                return RestoreResult(uid, text)
        raise AssertionError("every attempt returns or is followed by another one")

    def restore_all(self) -> list[RestoreResult]:
        """Put all bots back as they were before."""
        return [self.restore(uid) for uid in sorted(self.uids)]

    def _restore(self, entry: UndoEntry) -> str:
        now = find_bot(self._client, entry.uid)
        before = RegisteredBot.from_record(entry.before) if entry.before else None
        if now is None or now.url != entry.url:
            is_as_before = now is before is None or (now and before and now.url == before.url)
            meanwhile = "is as it was" if is_as_before else "was changed on CometChat meanwhile, and stays like that"
            return f"{entry.uid} {meanwhile}"
        if before is None:
            self._client.delete_bot(entry.uid)
            return f"{entry.uid} is no bot any more, as before; its user stays"
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
