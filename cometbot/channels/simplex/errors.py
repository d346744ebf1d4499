"""Errors of commands, by what the CLI answered or why it did not answer.

::

    ChannelError
    └── CommandFailed           the CLI answered with an error; its own tags are in .tags
        ├── CommandRejected         the CLI will reject it again                      (a Rejected)
        │   └── CommandNotFound     the chat, item, file, group … does not exist      (a NotFound)
        ├── CommandDelayed          the CLI's database was busy: nothing was done     (a RateLimited)
        └── CommandOutcomeUnknown   the network failed: the outcome is unknown        (an OutcomeUnknown)
    Unreachable
    └── NotConnected            there is no connection; nothing was sent
    OutcomeUnknown
    ├── ConnectionLost          the command was sent, and the connection broke before the answer
    └── AnswerMissing           no answer arrived in time, or it cannot be read
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile
from typing import Any

from cometbot.channels.simplex.protocol.command import Command
from cometbot.channels.simplex.protocol.frames import Record
from cometbot.channels.simplex.protocol.objects import find, find_object
from cometbot.errors import ChannelError, NotFound, OutcomeUnknown, RateLimited, Rejected, Unreachable

BUSY_RETRY_AFTER = 1.0
"""Seconds before a retry when the CLI's database was busy."""

_INNER_ERROR_FIELDS = {"error": "errorType", "errorStore": "storeError", "errorAgent": "agentError"}
_TRANSIENT_ERRORS = {("BROKER", "NETWORK"), ("BROKER", "TIMEOUT"), ("BROKER", "HOST"), ("SMP", "QUOTA")}
_EXPLANATIONS = {
    "commandError": "it could not parse the command",
    "noActiveUser": "there is no user profile",
    "largeMsg": "the message is too large",
    "userContactLinkNotFound": "the profile has no address",
    "fileNotFound": "the file is not there",
    "fileSize": "the file is too large",
    "fileAlreadyExists": "there is a file of that name already",
    "fileNotApproved": "the file lies on servers that the CLI does not use",
    "groupUserRole": "the bot's role in the group is too low",
    "invalidChatItemUpdate": "the message cannot be changed",
    "contactNotReady": "the contact is not connected yet",
}


class CommandFailed(ChannelError):
    """The CLI answered a command with an error.

    ``tags`` are the CLI's own, outermost first: ``("errorStore", "largeMsg")``; ``code`` is the same as one string.
    ``chat_error`` is the whole error. It may hold users' texts, so it is not part of the message.
    """

    tags: tuple[str, ...] = ()
    chat_error: Mapping[str, Any] = {}
    keyword: str = ""

    @property
    def tag(self) -> str:
        """The innermost tag, such as ``largeMsg``."""
        return self.tags[-1] if self.tags else ""


class CommandRejected(CommandFailed, Rejected):
    """The CLI rejected a command, and will reject it again."""


class CommandNotFound(CommandRejected, NotFound):
    """The object that a command names does not exist."""


class CommandDelayed(CommandFailed, RateLimited):
    """The CLI's database was busy; nothing was done."""


class CommandOutcomeUnknown(CommandFailed, OutcomeUnknown):
    """The network behind the CLI failed during a command."""


class NotConnected(Unreachable):
    """There is no connection to the SimpleX CLI; nothing was sent."""


class ConnectionLost(OutcomeUnknown):
    """The connection to the SimpleX CLI broke before the answer; the command may have been executed."""


class AnswerMissing(OutcomeUnknown):
    """The SimpleX CLI sent no answer in time, or one that cannot be read; the command may have been executed."""


def get_error_tags(chat_error: object) -> tuple[str, ...]:
    """Return the tags of a ``ChatError``, outermost first, as far as they exist; unknown ones are included."""
    outer = find(chat_error, "type")
    inner = find(chat_error, _INNER_ERROR_FIELDS.get(str(outer), "type"))
    innermost = (find(value, "type") for value in find_object(chat_error, "agentError").values())
    tags = [outer, find(inner, "type"), next((tag for tag in innermost if isinstance(tag, str)), None)]
    return tuple(takewhile(lambda tag: isinstance(tag, str), tags))


def error_from(record: Record, command: Command) -> CommandFailed:
    """Return the exception for an answer that is an error."""
    chat_error = find_object(record.raw, "chatError")
    tags = get_error_tags(chat_error)
    code = ".".join(tags) or "unknown"
    text = f"the SimpleX CLI refused {command.keyword}: {code}" + _explain(tags, chat_error)
    error = _classify(tags, code, text)
    error.tags = tags
    error.chat_error = chat_error
    error.keyword = command.keyword
    return error


def _classify(tags: tuple[str, ...], code: str, text: str) -> CommandFailed:
    last = tags[-1] if tags else ""
    if last == "dBBusyError":
        return CommandDelayed(text, retry_after=BUSY_RETRY_AFTER)
    if tags[:1] == ("errorAgent",) and (tags[1:] in _TRANSIENT_ERRORS or tags[1:2] == ("INACTIVE",)):
        return CommandOutcomeUnknown(text)
    if "NotFound" in last:
        return CommandNotFound(text, code=code)
    return CommandRejected(text, code=code)


def _explain(tags: tuple[str, ...], chat_error: object) -> str:
    """Return the meaning of the last tag, with the parser's own message, which contains no users' text."""
    if not tags:
        return " (the answer names no error)"
    words = _EXPLANATIONS.get(tags[-1], "")
    message = find(chat_error, "errorType.message")
    if tags[-1] == "commandError" and isinstance(message, str):
        words += f": {message:.100}"
    return f" ({words})" if words else ""
