"""Creation of the SimpleX channel from the settings."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cometbot.bot import Bot
from cometbot.channels.simplex.channel import SimplexChannel
from cometbot.channels.simplex.client import CommandSender
from cometbot.channels.simplex.endpoint import Endpoint
from cometbot.channels.simplex.files import NoSharedFolder, SharedFolder
from cometbot.settings import Settings

if TYPE_CHECKING:
    from cometbot.channels.simplex.outgoing_files import OutgoingFiles


def make_channel(
    settings: Settings,
    bots: Iterable[Bot],
    *,
    connection: CommandSender | None = None,
    outgoing: OutgoingFiles | None = None,
) -> SimplexChannel:
    """Return the channel for the settings. Without ``connection`` it handles messages and cannot send."""
    return SimplexChannel(
        bots={bot.name: bot for bot in bots},
        account=get_account(settings),
        connection=connection,
        folder=get_shared_folder(settings),
        file_limit=settings.simplex_file_limit,
        outgoing=outgoing,
    )


def get_account(settings: Settings) -> str:
    """Return the name of the profile in cometbot's database, the same in all processes."""
    return settings.simplex_profile or "default"


def get_shared_folder(settings: Settings) -> SharedFolder | NoSharedFolder:
    """Return the folder for exchanging files with the CLI.

    It is the one of the settings, or else ``simplex`` in the data folder if the CLI is on this machine.
    """
    if settings.simplex_files:
        cli_path = PurePosixPath(settings.simplex_files)
        return SharedFolder(cli_path, Path(settings.simplex_files_here or settings.simplex_files))
    if not Endpoint.from_settings(settings).is_local:
        return NoSharedFolder()
    local_path = settings.data / "simplex"
    return SharedFolder(PurePosixPath(local_path), local_path)
