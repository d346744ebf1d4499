"""The SimpleX channel as the settings say."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cometbot.bot import Bot
from cometbot.channels.simplex.channel import SimplexChannel
from cometbot.channels.simplex.client import Commanding
from cometbot.channels.simplex.endpoint import Endpoint
from cometbot.channels.simplex.files import Folder, NoFolder
from cometbot.settings import Settings

if TYPE_CHECKING:
    from cometbot.channels.simplex.outgoing import OutgoingFiles


def make_channel(
    settings: Settings,
    bots: Iterable[Bot],
    *,
    connection: Commanding | None = None,
    outgoing: OutgoingFiles | None = None,
) -> SimplexChannel:
    """The channel as the settings say; without ``connection`` for a process that handles and does not send."""
    return SimplexChannel(
        bots={bot.name: bot for bot in bots},
        account=account_of(settings),
        connection=connection,
        folder=folder_of(settings),
        file_limit=settings.simplex_file_limit,
        outgoing=outgoing,
    )


def account_of(settings: Settings) -> str:
    """What the profile is called in our database, the same in all processes."""
    return settings.simplex_profile or "default"


def folder_of(settings: Settings) -> Folder | NoFolder:
    """Where files are exchanged with the CLI: in the folder that is set, else in ours if it is on this machine."""
    if settings.simplex_files:
        there = PurePosixPath(settings.simplex_files)
        return Folder(there, Path(settings.simplex_files_here or settings.simplex_files))
    if not Endpoint.from_settings(settings).is_near:
        return NoFolder()
    here = settings.data / "simplex"
    return Folder(PurePosixPath(here), here)
