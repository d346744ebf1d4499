"""Access to an existing database for commands that inspect it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cometbot.errors import ConfigurationError

if TYPE_CHECKING:
    from cometbot.bot import Bot
    from cometbot.channels.base import Channel
    from cometbot.delivery import Delivery
    from cometbot.settings import Settings
    from cometbot.store.database import Database


def find_account(app: str) -> str:
    """Return the account of an app of ``COMETCHAT_APPS``, empty for no name.

    Raises :class:`ConfigurationError` for an unknown one.
    """
    from cometbot.settings import Settings

    return Settings.from_environment().for_app(app.lower()).cometchat_app_id if app else ""


def describe_selection(bot: str, app: str) -> str:
    """Return the words that name the chosen bot and app behind what is listed."""
    return f"{f' of the bot {bot}' if bot else ''}{f' in the app {app}' if app else ''}"


@contextmanager
def open_delivery(
    settings: Settings | None = None,
    bots: Sequence[Bot] = (),
    make_channels: Callable[[Database], Sequence[Channel]] | None = None,
) -> Iterator[Delivery]:
    """Open a :class:`Delivery` on the database of ``settings`` (None: the environment's), without any workers.

    ``make_channels`` receives that database before it is opened, because some channels store their conversations in it.
    Raises :class:`ConfigurationError` if the SQLite file does not exist: a command that inspects should not create it.
    """
    from cometbot.delivery import Delivery
    from cometbot.store.factory import check_persistent, database_from_url
    from cometbot.web.files import files_from_settings

    if settings is None:
        from cometbot.settings import Settings

        settings = Settings.from_environment()
    check_persistent(settings.database_url)
    store = database_from_url(settings.database_url)
    path = str(getattr(store, "path", ""))
    if path and not Path(path).is_file():
        raise ConfigurationError(
            f"database not found: {path}. Change to the bot's folder, or set COMETBOT_DATABASE_URL."
        )
    files = files_from_settings(settings, store)
    delivery = Delivery(bots, make_channels(store) if make_channels else (), store, files=files)
    try:
        store.open()
        yield delivery
    finally:
        delivery.close()
