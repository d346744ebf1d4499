"""The 21 operations of the Chat API: their paths, request bodies and responses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cometbot.channels.chat_api import schemas

_WORD_BOUNDARY = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Route:
    """An operation of the Chat API.

    ``path`` contains ids in braces. ``errors`` are the operation's own error statuses, besides those that all
    operations have. An operation with ``is_paged`` has a ``nextToken`` parameter.
    """

    name: str
    method: str
    path: str
    response: schemas.BaseSchema
    errors: tuple[int, ...] = ()
    body: schemas.BaseSchema | None = None
    status: int = 200
    requires_key: bool = True
    is_paged: bool = False

    @property
    def is_stream(self) -> bool:
        """True if the response is a stream of events."""
        return self.name == "listenConversation"

    @property
    def function_name(self) -> str:
        """The name of the method of ``Operations``: ``getUser`` is ``get_user``."""
        return _WORD_BOUNDARY.sub("_", self.name).lower()


_USER, _MESSAGE, _CONVERSATIONS, _CONVERSATION = "/users/me", "/messages/{id}", "/conversations", "/conversations/{id}"

_PARTICIPANTS = "/conversations/{conversationId}/participants"
_PARTICIPANT = f"{_PARTICIPANTS}/{{userId}}"
_NEW_USER, _USER_FIELDS = schemas.CreateUserBody(), schemas.UserFields()
_NEW_CONVERSATION = schemas.CreateConversationBody()
_NAMED_CONVERSATION, _NEW_PARTICIPANT = schemas.GetOrCreateConversationBody(), schemas.AddParticipantBody()
_NEW_MESSAGE, _NEW_EVENT = schemas.CreateMessageBody(), schemas.CreateEventBody()

ROUTES = (
    Route("createUser", "POST", "/users", schemas.USER_WITH_KEY, (401, 409, 507), _NEW_USER, 201, requires_key=False),
    Route("getOrCreateUser", "POST", "/users/get-or-create", schemas.USER, (409, 507), _USER_FIELDS, 201),
    Route("getUser", "GET", _USER, schemas.USER, (404,)),
    Route("updateUser", "PUT", _USER, schemas.USER, (404, 507), _USER_FIELDS),
    Route("deleteUser", "DELETE", _USER, schemas.EMPTY, (404,)),
    Route(
        "createConversation", "POST", _CONVERSATIONS, schemas.CONVERSATION, (403, 404, 409, 507), _NEW_CONVERSATION, 201
    ),
    Route(
        "getOrCreateConversation",
        "POST",
        "/conversations/get-or-create",
        schemas.CONVERSATION,
        (403, 404, 507),
        _NAMED_CONVERSATION,
        201,
    ),
    Route("getConversation", "GET", _CONVERSATION, schemas.CONVERSATION, (403, 404)),
    Route("deleteConversation", "DELETE", _CONVERSATION, schemas.EMPTY, (403, 404)),
    Route("listConversations", "GET", _CONVERSATIONS, schemas.CONVERSATIONS, is_paged=True),
    Route("listenConversation", "GET", f"{_CONVERSATION}/listen", schemas.SignalSchema(), (403,)),
    Route("listMessages", "GET", "/conversations/{conversationId}/messages", schemas.MESSAGES, (403,), is_paged=True),
    Route("addParticipant", "POST", _PARTICIPANTS, schemas.PARTICIPANT, (403, 404, 507), _NEW_PARTICIPANT),
    Route("getParticipant", "GET", _PARTICIPANT, schemas.PARTICIPANT, (403, 404)),
    Route("removeParticipant", "DELETE", _PARTICIPANT, schemas.EMPTY, (403, 404)),
    Route("listParticipants", "GET", _PARTICIPANTS, schemas.PARTICIPANTS, (403,), is_paged=True),
    Route("createMessage", "POST", "/messages", schemas.MESSAGE, (403, 507), _NEW_MESSAGE, 201),
    Route("getMessage", "GET", _MESSAGE, schemas.MESSAGE, (403, 404)),
    Route("deleteMessage", "DELETE", _MESSAGE, schemas.EMPTY, (403, 404)),
    Route("createEvent", "POST", "/events", schemas.EVENT, (403, 507), _NEW_EVENT, 201),
    Route("getEvent", "GET", "/events/{id}", schemas.EVENT, (403, 404)),
)
"""All operations, in the order of the documentation."""

ERROR_TYPES: Mapping[int, str] = {
    400: "InvalidPayload",
    401: "Unauthorized",
    403: "Forbidden",
    404: "ResourceNotFound",
    409: "AlreadyExists",
    413: "PayloadTooLarge",
    415: "UnsupportedMediaType",
    429: "RateLimited",
    503: "Internal",
    507: "Internal",
}
"""The default ``type`` of an error by its status. Clients choose their error classes by it."""

COMMON_ERROR_STATUSES = (400, 401, 413, 415, 429, 503)
"""The error statuses of every operation."""
