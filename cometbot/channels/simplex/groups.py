"""The list of the bot's groups, from CLIs of several releases."""

from __future__ import annotations

from cometbot.channels.simplex.errors import CommandFailed
from cometbot.channels.simplex.protocol import Record, commands
from cometbot.channels.simplex.startup import SendCommand
from cometbot.errors import MessageError


def fetch_groups(send_command: SendCommand, user_id: int, search: str = "") -> tuple[Record, bool]:
    """Return the CLI's list of groups, and whether it was searched.

    A search that a command cannot carry is left to the caller: the list has all groups then. Some releases do not read
    the space that the reference has before the user's number.
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
