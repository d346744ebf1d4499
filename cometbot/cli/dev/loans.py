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
    login_changes,
    update_bot,
)
from cometbot.cli.dev.ledger import Ledger, Note
from cometbot.errors import ChannelError, RateLimited, Rejected
from cometbot.settings import Credentials

ATTEMPTS = 3
"""How often it is tried to put a bot back."""

_PAUSE = 0.5
_LONGEST_PAUSE = 5.0


@dataclass(frozen=True, slots=True)
class Return:
    """What became of a bot that was to be put back. ``text`` is a sentence; ``error`` says why it is not put back."""

    uid: str
    text: str
    error: ChannelError | None = None


class Loans:
    """The bots that one run has changed. What is to be put back is in the ``ledger`` before anything is changed."""

    def __init__(self, client: CometChatClient, ledger: Ledger) -> None:
        self._client = client
        self._ledger = ledger

    @property
    def uids(self) -> frozenset[str]:
        """The bots that are to be put back."""
        return frozenset(self._ledger.notes)

    def holds(self, uid: str, url: str) -> bool:
        """Whether this bot is called at ``url`` because this run has it so."""
        note = self._ledger.notes.get(uid)
        return note is not None and note.url == url

    def look(self, uids: Iterable[str]) -> None:
        """Raise the client's errors if CometChat does not tell of these bots, which need not exist."""
        for uid in uids:
            find_bot(self._client, uid)

    def borrow(self, plan: BotPlan, *, keeps_group_setting: bool = False) -> RegisteredBot | None:
        """Let CometChat have a bot as ``plan`` says. Returns how it was before, None if it was none.

        With ``keeps_group_setting`` the plan's counts for a new bot only. Raises the client's errors.
        """
        before = find_bot(self._client, plan.uid)
        self._ledger.add(Note(plan.uid, plan.url, _to_record(before) if before else None))
        if before is None:
            create_bot(self._client, plan)
        else:
            changes = {"webhookURL": plan.url, "enabled": plan.enabled, **login_changes(plan.credentials)}
            if not keeps_group_setting:
                changes["groupChatSetting"] = plan.group_setting
            update_bot(self._client, plan.uid, changes)
        return before

    def give_back(self, uid: str) -> Return:
        """Put a bot back as it was before; tried anew for a few seconds while CometChat does not answer."""
        note = self._ledger.notes[uid]
        for attempt in range(1, ATTEMPTS + 1):
            try:
                text = self._put_back(note)
            except Rejected as error:
                return Return(uid, f"{uid} cannot be put back", error)
            except ChannelError as error:
                if attempt == ATTEMPTS:
                    return Return(uid, f"{uid} is not put back", error)
                said = error.retry_after if isinstance(error, RateLimited) else 0.0
                time.sleep(min(max(said, _PAUSE * attempt), _LONGEST_PAUSE))
            else:
                self._ledger.remove(uid)
                return Return(uid, text)
        raise AssertionError("every attempt returns or is followed by another one")

    def give_all_back(self) -> list[Return]:
        """Put all bots back as they were before."""
        return [self.give_back(uid) for uid in sorted(self.uids)]

    def _put_back(self, note: Note) -> str:
        now = find_bot(self._client, note.uid)
        before = RegisteredBot.from_record(note.before) if note.before else None
        if now is None or now.url != note.url:
            is_as_before = now is before is None or (now and before and now.url == before.url)
            meanwhile = "is as it was" if is_as_before else "was changed on CometChat meanwhile, and stays like that"
            return f"{note.uid} {meanwhile}"
        if before is None:
            self._client.delete_bot(note.uid)
            return f"{note.uid} is no bot any more, as before; its user stays"
        update_bot(self._client, note.uid, _changes_to(before))
        return f"CometChat calls {before.shown_url or 'nothing'} for {note.uid} again"


def _changes_to(before: RegisteredBot) -> dict[str, Any]:
    login = login_changes(Credentials(before.username, before.password) if before.uses_login else None)
    known = {name: value for name, value in login.items() if value != ""}
    return {
        "webhookURL": before.url,
        "groupChatSetting": before.group_setting,
        "enabled": before.enabled,
        **known,
    }


def _to_record(bot: RegisteredBot) -> dict[str, Any]:
    return {**bot.to_json(), "webhookURL": bot.url, "password": bot.password.reveal()}
