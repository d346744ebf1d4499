"""The calls of the bot as a moderator of SimpleX groups. A call that changes nothing is no error."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from cometbot.channels.simplex import ids
from cometbot.channels.simplex.errors import CommandNotFound
from cometbot.channels.simplex.models import Member
from cometbot.channels.simplex.protocol import Command, Record, commands
from cometbot.channels.simplex.schemas import read_field
from cometbot.models import User

MODERATIONS = ("kick", "ban", "unban")

RunCommand = Callable[[Command], Record]


def list_members(run_command: RunCommand, group_id: int) -> list[Member]:
    """Return the members of a group now, without the bot."""
    found: list[Member] = read_field(run_command(commands.list_members(group_id)), "group") or []
    return [member for member in found if member.is_current]


def list_users(run_command: RunCommand, group_id: int) -> list[User]:
    """Return the members of a group as users."""
    return [ids.make_member_user(member, None) for member in list_members(run_command, group_id)]


def moderate(run_command: RunCommand, operation: str, group_id: int, uid: str) -> None:
    """Carry out one of :data:`MODERATIONS`: remove a member, hide the messages of one, or show them again.

    SimpleX cannot keep anybody out, because members have no identity outside of their group.
    """
    member = ids.make_member_finder(list_members(run_command, group_id))(uid)
    if member is None:
        return
    blocks = operation == "ban"
    with suppress(CommandNotFound):  # the member has just left
        if operation == "kick":
            run_command(commands.remove_members(group_id, [member.group_member_id]))
        elif member.is_blocked != blocks:
            run_command(commands.block_members_for_all(group_id, [member.group_member_id], blocks))


def delete_message(run_command: RunCommand, group_id: int, item_id: int) -> None:
    """Delete a message of a member for everybody. Does nothing if it no longer exists."""
    with suppress(CommandNotFound):
        run_command(commands.delete_member_chat_item(group_id, [item_id]))
