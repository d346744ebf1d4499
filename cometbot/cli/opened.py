"""The database of the settings, opened by commands that look at what is stored."""

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


@contextmanager
def opened_delivery(
    settings: Settings,
    bots: Sequence[Bot] = (),
    make_channels: Callable[[Database], Sequence[Channel]] | None = None,
) -> Iterator[Delivery]:
    """Delivery over the database of ``settings``, without anything that handles.

    ``make_channels`` gets that database, which is not open yet: some channels keep their conversations in it. Raises
    :class:`ConfigurationError` if there is no such database yet: whoever looks does not make one.
    """
    from cometbot.delivery import Delivery
    from cometbot.store.database import check_kept, database

    check_kept(settings.database_url)
    opened = database(settings.database_url)
    path = str(getattr(opened, "path", ""))
    if path and not Path(path).is_file():
        raise ConfigurationError(f"there is no database {path}; go to the bot's folder, or set COMETBOT_DATABASE_URL")
    delivery = Delivery(bots, make_channels(opened) if make_channels else (), opened)
    try:
        opened.open()
        yield delivery
    finally:
        delivery.close()
