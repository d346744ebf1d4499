"""Reads the chats of a CLI: the groups, the newest item, and the items since a given one."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

from cometbot.channels.simplex.errors import AnswerMissing, CommandDelayed, CommandFailed, CommandNotFound
from cometbot.channels.simplex.models import ChatSummary
from cometbot.channels.simplex.protocol import ChatRef, Command, Record, SendCommand, commands
from cometbot.channels.simplex.protocol.objects import Raw, find, find_list, find_object, read_or_none
from cometbot.channels.simplex.schemas import read_field
from cometbot.errors import MessageError, PayloadError

log = logging.getLogger(__name__)

CHAT_PAGE_SIZE = 50
ITEM_PAGE_SIZE = 100
MAX_MISSED_ITEMS = 10_000
"""Maximum items that are fetched of one chat."""

BUSY_RETRY_INTERVALS = (0.5, 1.0, 2.0)
"""Seconds to wait between attempts while the CLI's database is busy; fetching missed items uses each only once."""


def fetch_groups(send_command: SendCommand, user_id: int, search: str = "") -> tuple[Record, bool]:
    """Return the CLI's list of groups, and True if it is filtered by ``search``.

    If a command cannot carry ``search``, the list has all groups and the caller must filter it. Some releases do not
    parse the space that the API reference has before the user's id; they get the older spelling.
    """
    try:
        commands.list_groups(user_id, search=search)
    except MessageError:
        search, is_searched = "", False
    else:
        is_searched = True
    try:
        return send_command(commands.list_groups(user_id, search=search)), is_searched
    except CommandFailed as error:
        if error.tag != "commandError":
            raise
    return send_command(commands.list_groups(user_id, search=search, is_joined=True)), is_searched


def get_newest_item_id(send_command: SendCommand, user_id: int) -> int:
    """Return the id of the newest item in any chat, or 0 if there is none.

    :func:`fetch_missed_items` finds newer items later.
    """
    return max((_get_newest_id(chat) for chat in _list_chats(send_command, user_id, CHAT_PAGE_SIZE)[0]), default=0)


def fetch_missed_items(
    send_command: SendCommand, user_id: int, after: int, postponed: list[str]
) -> Iterator[dict[str, Any]]:
    """Yield the items with an id above ``after``, as ``{"chatInfo": …, "chatItem": …}``, oldest first in each chat.

    These are items of every kind and direction in all chats, chats with a group's moderators included. Of each chat the
    newest :data:`MAX_MISSED_ITEMS` at most are yielded. Invalid chats and items are left out, and so is a chat that
    does not exist or whose command the CLI does not know. A chat that the CLI cannot return now is added to
    ``postponed``: none of its items were yielded, and it must be requested again.
    """
    retrying_send = retry_while_busy(send_command)
    for ref in _find_changed_chats(retrying_send, user_id, after, postponed):
        try:
            items = fetch_items_after(retrying_send, ref, after)
        except (CommandFailed, AnswerMissing) as error:
            _skip_or_postpone(f"the items of the chat {ref}", str(ref), error, postponed)
        else:
            yield from items


def retry_while_busy(send_command: SendCommand) -> SendCommand:
    """Return a ``send_command`` that retries while the CLI's database is busy.

    A chat that is fetched later instead would be stored after newer messages.
    """
    pauses = list(BUSY_RETRY_INTERVALS)

    def send_retrying(command: Command | str) -> Record:
        while True:
            try:
                return send_command(command)
            except CommandDelayed:
                if not pauses:
                    raise
                time.sleep(pauses.pop(0))

    return send_retrying


def _skip_or_postpone(what: str, name: str, error: CommandFailed | AnswerMissing, postponed: list[str]) -> None:
    """Leave a chat out if it can never be fetched; otherwise add it to ``postponed``."""
    if isinstance(error, CommandNotFound) or (isinstance(error, CommandFailed) and error.tag == "commandError"):
        log.warning("cannot fetch %s, so it is skipped: %s", what, error)
    else:
        log.warning("cannot fetch %s now; trying again later: %s", what, error)
        postponed.append(name)


def _find_changed_chats(send_command: SendCommand, user_id: int, after: int, postponed: list[str]) -> list[ChatRef]:
    """Return the chats with items above ``after``. The list is sorted by change, so a run of old chats ends it."""
    count = CHAT_PAGE_SIZE
    while True:
        chats, listed = _list_chats(send_command, user_id, count)
        if listed < count or all(_get_newest_id(chat) <= after for chat in chats[-CHAT_PAGE_SIZE // 2 :]):
            break
        count *= 4
    found = [chat.chat.ref for chat in chats if _get_newest_id(chat) > after]
    scopes = [scope for chat in chats for scope in _find_support_scopes(send_command, chat, postponed)]
    return [ref for ref in found if ref is not None] + scopes


def _list_chats(send_command: SendCommand, user_id: int, count: int) -> tuple[list[ChatSummary], int]:
    """Return the chats that changed last, without unreadable ones, and their number including those."""
    listed = find_list(send_command(commands.get_chats(user_id, count=count)).raw, "chats")
    return list(filter(None, (read_or_none(ChatSummary, item) for item in listed))), len(listed)


def _get_newest_id(chat: ChatSummary) -> int:
    return max((item.item_id for item in chat.items), default=0)


def _find_support_scopes(send_command: SendCommand, chat: ChatSummary, postponed: list[str]) -> list[ChatRef]:
    """Return the chats with moderators; none if the CLI cannot list their members."""
    try:
        return list(_iter_support_scopes(send_command, chat))
    except PayloadError as error:
        log.warning("cannot read the list of chats with the moderators of a group: %s", error)
    except (CommandFailed, AnswerMissing) as error:
        name = f"the moderators of {chat.chat.ref}"
        _skip_or_postpone("the list of chats with the moderators of a group", name, error, postponed)
    return []


def _iter_support_scopes(send_command: SendCommand, chat: ChatSummary) -> Iterator[ChatRef]:
    """Yield the chats of single members with the moderators that have unread items, the bot's own included."""
    group = chat.chat.group
    if chat.chat.type != "group" or group is None:
        return
    if group.membership is not None and _has_unread(group.membership.raw):
        yield ChatRef("group", group.group_id, "support")
    if not _is_positive(group.raw.get("membersRequireAttention")):
        return
    for member in read_field(send_command(commands.list_members(group.group_id)), "group") or ():
        if _has_unread(member.raw):
            yield ChatRef("group", group.group_id, "support", member.group_member_id)


def _has_unread(member: Raw) -> bool:
    return _is_positive(find(member, "supportChat.unread"))


def _is_positive(number: object) -> bool:
    return isinstance(number, int) and number > 0


def fetch_items_after(send_command: SendCommand, ref: ChatRef, after: int, *, page: int = 0) -> list[dict[str, Any]]:
    """Return the items of one chat with an id above ``after``, in the form of :func:`fetch_missed_items`.

    They are requested in pages from the newest back, since an item of another chat cannot be a starting point in this
    one.
    """
    found: dict[int, dict[str, Any]] = {}
    before: int | None = None
    page = page or ITEM_PAGE_SIZE
    while len(found) < MAX_MISSED_ITEMS:
        chat = find_object(send_command(commands.get_chat(ref, count=page, before=before)).raw, "chat")
        items = find_list(chat, "chatItems")
        given = {_read_item_id(item): {"chatInfo": chat.get("chatInfo"), "chatItem": item} for item in items}
        new = {number: item for number, item in given.items() if number > after and number not in found}
        found |= new
        if len(new) < page:
            break
        before = min(new)
    else:
        log.warning("more than %d messages were missed in one chat; the oldest are skipped", MAX_MISSED_ITEMS)
    return [found[number] for number in sorted(found)]


def _read_item_id(item: object) -> int:
    number = find(item, "meta.itemId")
    return number if isinstance(number, int) else 0
