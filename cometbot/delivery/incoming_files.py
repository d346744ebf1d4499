"""Load the files that users send, wherever their bytes are."""

from __future__ import annotations

import binascii
from typing import Any
from urllib.parse import unquote_to_bytes

from cometbot.channels.base import Channel
from cometbot.errors import Rejected
from cometbot.models import Attachment
from cometbot.store.sent_files import SentFiles


def read_file(files: SentFiles, channel: Channel, client: Any, file: Attachment, limit: int) -> bytes:
    """Return the content of an attachment, of at most about ``limit`` bytes.

    It may be in the address itself, or be a file of a bot, as in the history. Anything else is loaded by the channel.
    Raises the errors of :meth:`Channel.read_file`.
    """
    if file.url.startswith("data:"):
        return _read_data_url(file.url)
    found = files.open_url(file.url)
    if found is None:
        return channel.read_file(file, client, limit=limit)
    with found[2] as content:
        return content.read(limit + 1)


def _read_data_url(url: str) -> bytes:
    head, comma, data = url.partition(",")
    if not comma:
        raise Rejected("the file's data URL has no data", code="file_invalid")
    if not head.endswith(";base64"):
        return unquote_to_bytes(data)
    try:
        return binascii.a2b_base64(unquote_to_bytes(data))
    except binascii.Error as error:
        raise Rejected(f"the file's data URL is no base64: {error}", code="file_invalid") from error
