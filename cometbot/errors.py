"""All errors that cometbot raises.

::

    CometbotError
    ├── ConfigurationError      a setting is missing or wrong: the text says which, and what to set
    ├── BotError                the bot's code uses cometbot wrongly
    │   ├── RegistrationError       a handler cannot be registered
    │   └── MessageError            no platform accepts the message
    ├── ChannelError            the platform, or the connection to it, failed
    │   ├── Rejected                the platform refused the request for good
    │   │   ├── AuthenticationFailed    the key is wrong or lacks a right
    │   │   └── NotFound                the user, group, bot, conversation or message does not exist
    │   ├── RateLimited             too many requests: nothing was done
    │   ├── Unreachable             the platform could not be reached: nothing was done
    │   └── OutcomeUnknown          the request was sent and its outcome is unknown
    ├── AskEnded                a question of ``ctx.ask`` ended without an answer
    │   ├── AskTimeout              nobody answered in time
    │   ├── AskCancelled            the user cancelled
    │   ├── AskGivenUp              too many answers did not fit
    │   └── AskReplaced             the user began something else
    ├── AgentLimit              the model of ``ctx.run_agent`` did not come to an end within the limits
    ├── McpUnreachable          an MCP server, whose tools a model may call, cannot be reached
    ├── NotDelivered            the platform refused a question of ``ctx.ask``
    ├── FieldError              the ``validate`` of a form raises it for one of the fields
    ├── OnceUncertain           a call of ``ctx.once`` may have been made, and must not be made twice
    ├── TokenBudgetExceeded     the user has used up the tokens that the bot gives each user
    ├── PayloadError            an incoming payload does not have the expected shape
    ├── ChatError               the chat server cannot carry out an operation
    │   ├── AlreadyExists           the id is already in use
    │   ├── BadCursor               the cursor is not one of this list
    │   ├── FileTooLarge            a file is larger than its kind may be
    │   └── StorageFull             there is no space for more files or messages
    └── DeliveryError           delivery between a channel and a handler failed
        ├── StoreBusy               the database did not confirm the write in time
        │   └── StoreUnavailable        the database cannot be written: disk full, file missing, …
        └── LeaseLost               another worker holds the conversation now
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime


class CometbotError(Exception):
    """The base class of all errors of cometbot.

    Without a ``message``, its text is the first line of the docstring of its class.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().partition("\n")[0])


class ConfigurationError(CometbotError):
    """A setting is missing or wrong."""


class BotError(CometbotError):
    """The bot's code uses cometbot wrongly."""


class RegistrationError(BotError):
    """The handler cannot be registered."""


class MessageError(BotError):
    """No platform accepts this message."""


class ChannelError(CometbotError):
    """The platform, or the connection to it, failed."""


class Rejected(ChannelError):
    """The platform refused the request for good; sending it again unchanged will fail again.

    ``code`` is the platform's own error code. ``status`` is its HTTP status (0 if there is none). ``details`` are its
    messages about single fields.
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
    """The user, group, bot, conversation or message does not exist."""


class RateLimited(ChannelError):
    """The platform refused the request because of its rate limit; nothing was done.

    ``retry_after`` is in seconds.
    """

    def __init__(self, message: str = "", *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unreachable(ChannelError):
    """The platform could not be reached; the request was not carried out."""


class OutcomeUnknown(ChannelError):
    """The request was sent and its outcome is unknown: timeout, broken connection or status 5xx.

    ``down`` is true if the failure concerns the whole platform and not only this request.
    """

    def __init__(self, message: str = "", *, down: bool = False, status: int = 0) -> None:
        super().__init__(message)
        self.down = down
        self.status = status


class AskEnded(CometbotError):
    """The question ended without an answer."""


class AskTimeout(AskEnded):
    """Nobody answered the question in time."""


class AskCancelled(AskEnded):
    """The user cancelled instead of answering the question."""


class AskGivenUp(AskEnded):
    """Too many answers to the question did not fit."""


class AskReplaced(AskEnded):
    """The user began something else instead of answering the question."""


class AgentLimit(CometbotError):
    """The model did not come to an end within the limits of ``ctx.run_agent``."""


class McpUnreachable(CometbotError):
    """An MCP server cannot be reached."""


class NotDelivered(CometbotError):
    """The platform refused the question, or the card of an approval."""


class FieldError(CometbotError, ValueError):
    """It does not fit.

    The ``validate`` of ``ctx.ask`` and the ``__post_init__`` of a dataclass raise it for one field of a form:
    ``FieldError("count", "only 3 are left.")``. The user sees the text behind the field's label, and answers that field
    again.
    """

    def __init__(self, field: str = "", message: str = "") -> None:
        super().__init__(message)
        self.field = field


class OnceUncertain(CometbotError):
    """The call began in a process that died, so it may have been made; it is not made again."""


class TokenBudgetExceeded(CometbotError):
    """The user has used up the bot's token budget.

    It is renewed at ``renewed_at``, in UTC. If the handler does not catch it, the bot says its ``token_budget_text``.
    """

    renewed_at: datetime | None = None

    def __init__(self, message: str = "", *, renewed_at: datetime | None = None) -> None:
        super().__init__(message)
        self.renewed_at = renewed_at


class PayloadError(CometbotError):
    """The payload does not have the expected shape.

    ``details`` maps a field's path to its errors.
    """

    def __init__(self, message: str = "", *, details: Mapping[str, Sequence[str]] | None = None) -> None:
        super().__init__(message)
        self.details = {path: list(texts) for path, texts in (details or {}).items()}


class ChatError(CometbotError):
    """The chat server cannot carry out this operation."""


class AlreadyExists(ChatError):
    """The id is already in use."""


class BadCursor(ChatError):
    """The cursor does not belong to this list; start again without a cursor."""


class FileTooLarge(ChatError):
    """The file is larger than files of its kind may be.

    ``limit`` is in bytes, 0 for a kind that is not accepted at all.
    """

    def __init__(self, message: str = "", *, kind: str = "", limit: int = 0) -> None:
        super().__init__(message)
        self.kind = kind
        self.limit = limit


class StorageFull(ChatError):
    """The files or the database have reached their size limit, or too little of the disk is free."""


class DeliveryError(CometbotError):
    """Delivery between a channel and a handler failed."""


class StoreBusy(DeliveryError):
    """The database did not confirm the write in time. It may still be stored if its commit had begun."""


class StoreUnavailable(StoreBusy):
    """The database cannot be used until it is repaired.

    ``kind`` is a kind of :mod:`cometbot.store.failures`, such as ``full`` or ``missing``.
    """

    def __init__(self, message: str = "", kind: str = "other") -> None:
        super().__init__(message)
        self.kind = kind


class LeaseLost(DeliveryError):
    """Another worker holds this conversation now; nothing more may be sent or stored here."""
