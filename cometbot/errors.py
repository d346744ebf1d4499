"""Every error that cometbot raises, one class a situation.

::

    CometbotError
    ├── ConfigurationError      fix your settings: the text says which and how
    ├── BotError                the bot's code used cometbot wrongly
    │   ├── RegistrationError       a decorator was given something that cannot work
    │   └── MessageError            a message that no platform would take
    ├── ChannelError            the platform, or the way to it
    │   ├── Rejected                it said no, and will say no again
    │   │   ├── AuthenticationFailed    the key is wrong or lacks a right
    │   │   └── NotFound                user, group or message does not exist
    │   ├── RateLimited             it said "later": nothing was done
    │   ├── Unreachable             nothing reached it: nothing was done
    │   └── Uncertain               it was asked and nobody knows whether it acted
    ├── PayloadError            what came in does not have the shape it must have
    ├── ChatError               the chat server was asked for something that cannot be
    │   ├── IdTaken                 somebody has this id already
    │   ├── Missing                 what it was to be added to does not exist
    │   ├── BadCursor               the position in a list was not made by this list
    │   ├── TooLarge                a file is longer than its kind may be
    │   └── StorageFull             there is no room for more files
    └── DeliveryError           the road between a channel and a handler
        ├── StoreBusy               the database did not take the write in time
        │   └── StoreUnavailable        it cannot store anything: disk full, file gone, …
        └── LeaseLost               another worker has this conversation now
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class CometbotError(Exception):
    """Anything that cometbot raises on purpose. Its text is the first line of its docstring unless it has one."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().partition("\n")[0])


class ConfigurationError(CometbotError):
    """A setting is missing or wrong."""


class BotError(CometbotError):
    """The bot's own code asked for something that cannot be done."""


class RegistrationError(BotError):
    """A handler cannot be registered as it stands."""


class MessageError(BotError):
    """A message that no platform would take."""


class ChannelError(CometbotError):
    """The platform, or the way to it, failed."""


class Rejected(ChannelError):
    """The platform refused the request for good; sending it again unchanged will fail again.

    ``code`` is the platform's own error code, ``status`` its HTTP status (0 where there is none), ``details`` what it
    said of single fields.
    """

    def __init__(
        self, message: str = "", *, code: str = "", status: int = 0, details: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.details = dict(details or {})


class AuthenticationFailed(Rejected):
    """The platform does not accept the key, or the key lacks the right for this request."""


class NotFound(Rejected):
    """The platform does not know the user, group, bot or message that was named."""


class RateLimited(ChannelError):
    """The platform wants fewer requests; nothing was done. ``retry_after`` is in seconds."""

    def __init__(self, message: str = "", *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unreachable(ChannelError):
    """The platform could not be reached; the request was surely not carried out."""


class Uncertain(ChannelError):
    """The request went out and no usable answer came back (time-out, broken connection, 5xx): it may have acted.

    ``down`` is true where the answer (or its absence) speaks of the whole platform and not of this one request.
    """

    def __init__(self, message: str = "", *, down: bool = False, status: int = 0) -> None:
        super().__init__(message)
        self.down = down
        self.status = status


class PayloadError(CometbotError):
    """What came in does not have the shape that it must have. ``details`` maps a field's path to its faults."""

    def __init__(self, message: str = "", *, details: Mapping[str, Sequence[str]] | None = None) -> None:
        super().__init__(message)
        self.details = {path: list(texts) for path, texts in (details or {}).items()}


class ChatError(CometbotError):
    """The chat server was asked for something that cannot be."""


class IdTaken(ChatError):
    """Somebody has this id already."""


class Missing(ChatError):
    """What it was to be added to does not exist."""


class BadCursor(ChatError):
    """The position in a list was not made by this list; begin without one."""


class TooLarge(ChatError):
    """A file is longer than files of its kind may be. ``limit`` is in bytes, 0 for a kind that is not taken at all."""

    def __init__(self, message: str = "", *, kind: str = "", limit: int = 0) -> None:
        super().__init__(message)
        self.kind = kind
        self.limit = limit


class StorageFull(ChatError):
    """All files together, or the free space of their disk, have reached their limit."""


class DeliveryError(CometbotError):
    """The road between a channel and a handler failed."""


class StoreBusy(DeliveryError):
    """The database did not confirm the write in time. It may be stored all the same, if its commit had begun."""


class StoreUnavailable(StoreBusy):
    """The database cannot be used until somebody repairs something.

    ``kind`` is a kind of :mod:`cometbot.store.failures`, such as ``full`` or ``missing``.
    """

    def __init__(self, message: str = "", kind: str = "other") -> None:
        super().__init__(message)
        self.kind = kind


class LeaseLost(DeliveryError):
    """Another worker has this conversation now; nothing more may be said or stored here."""
