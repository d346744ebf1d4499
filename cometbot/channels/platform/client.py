"""The platform's ``ctx.client``: operations of a bot other than sending messages."""

from __future__ import annotations

import io

from cometbot.channels.platform.ids import ALL_BOTS
from cometbot.channels.platform.platform import Platform
from cometbot.channels.platform.rendering import platform_file_id
from cometbot.channels.platform.serializers import file_json
from cometbot.errors import BotError, FileTooLarge, StorageFull
from cometbot.models import Attachment


class PlatformClient:
    """Access to the platform's files for the bot called ``bot``."""

    def __init__(self, platform: Platform, bot: str) -> None:
        self._platform = platform
        self._bot = bot

    def download(self, file: Attachment | str) -> bytes:
        """Return the bytes of an attached file, or of the file at a URL of the platform.

        Raises :class:`BotError` if the platform has no such file.
        """
        url = file if isinstance(file, str) else file.url
        found = None
        if file_id := platform_file_id(url, self._platform.settings.base_url):
            with self._platform.database.read() as connection:
                found = self._platform.chat.files.get(connection, ALL_BOTS, file_id)
        path = self._platform.chat.files.path(found) if found else None
        if path is None or not path.is_file():
            raise BotError(f"the platform has no file at {url}")
        return path.read_bytes()

    def upload(self, name: str, content: bytes) -> str:
        """Store ``content`` as a file and return its URL, for a :class:`Media`. An unsent file is deleted after a day.

        Raises :class:`BotError` for a file that is larger than its kind may be, or if there is no room for it.
        """
        sizes = self._platform.config.current.file
        limits = {
            "image": sizes.max_image_size,
            "audio": sizes.max_audio_size,
            "video": sizes.max_video_size,
            "file": sizes.max_file_size,
        }
        try:
            upload = self._platform.chat.files.receive(io.BytesIO(content), name=name, limits=limits)
        except (FileTooLarge, StorageFull) as error:
            raise BotError(f"{name}: {error}") from error
        try:
            with self._platform.database.write() as connection:
                file = self._platform.chat.files.save(connection, ALL_BOTS, upload, self._bot)
        except BaseException:
            upload.discard()
            raise
        upload.finalize()
        return f"{self._platform.settings.base_url}/{file_json(file)['path']}"
