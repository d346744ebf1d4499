"""Store the file of an outgoing message before the message is rendered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cometbot.channels.base import Channel
from cometbot.errors import MessageError
from cometbot.messages import Media, Operation
from cometbot.store.sent_files import Said, SentFiles, describe_unstored


def has_file(operation: Operation) -> bool:
    """Return True if the message has a file that is not stored yet."""
    return isinstance(operation.message, Media) and operation.message.is_local


def store_file(
    files: SentFiles,
    channel: Channel,
    operation: Operation,
    said: Said,
    *,
    store: Callable[[Media, Said], Media] | None = None,
) -> Operation:
    """Return an operation whose message has the address of its file, after storing a file that the bot has.

    ``store`` replaces :meth:`SentFiles.store`. Raises :class:`MessageError` if nobody could load the file, and the
    errors of :meth:`SentFiles.store`.
    """
    message = operation.message
    if not isinstance(message, Media) or not message.is_local:
        return operation
    if not (channel.takes_files or files.has_public_url):
        raise MessageError(
            f"a Media with data or path needs an address that users' apps can load on the channel {channel.name}; set "
            "COMETBOT_PUBLIC_URL to the public URL of this server"
        )
    return replace(operation, message=(store or files.store)(message, said))


def describe_file(operation: Operation) -> Operation:
    """Return an operation like :func:`store_file`, without storing anything."""
    message = operation.message
    if not isinstance(message, Media) or not message.is_local:
        return operation
    return replace(operation, message=describe_unstored(message))
