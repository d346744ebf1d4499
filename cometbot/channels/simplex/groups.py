"""The list of the bot's groups, for several releases of the CLI."""

from __future__ import annotations

from cometbot.channels.simplex.errors import CommandFailed
from cometbot.channels.simplex.protocol import Record, commands
from cometbot.channels.simplex.startup import SendCommand
from cometbot.errors import MessageError


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
