"""The 21 operations of the Chat API: their paths, request bodies and responses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cometbot.channels.chat_api import schemas


@dataclass(frozen=True, slots=True)
class Route:
    """An operation of the Chat API.

    ``path`` contains ids in braces. ``error_statuses`` are the operation's own error statuses, besides those that all
    operations have. An operation with ``is_paged`` has a ``nextToken`` parameter.
    """

    name: str
    method: str
    path: str
    summary: str
    response: schemas.BaseSchema
    body: schemas.BaseSchema | None = None
    status: int = 200
    requires_key: bool = True
    is_paged: bool = False
    error_statuses: tuple[int, ...] = ()

    @property
    def is_stream(self) -> bool:
        """True if the response is a stream of events."""
        return self.name == "listenConversation"


_USER, _CONVERSATION = schemas.UserResponse(), schemas.ConversationResponse()
_MESSAGE, _EVENT, _EMPTY = schemas.MessageResponse(), schemas.EventResponse(), schemas.EmptyResponse()
_PARTICIPANT = schemas.ParticipantResponse()
_CONVERSATION_PATH = "/conversations/{id}"
_PARTICIPANTS_PATH = "/conversations/{conversationId}/participants"

ROUTES = (
    Route(
        "createUser",
        "POST",
        "/users",
        "A new user, with the key to speak as that user; in automatic mode only.",
        schemas.UserKeyResponse(),
        schemas.CreateUserBody(),
        status=201,
        requires_key=False,
        error_statuses=(401, 409, 507),
    ),
    Route(
        "getOrCreateUser",
        "POST",
        "/users/get-or-create",
        "The user of the key, made if there is none yet; what is given of it is stored.",
        _USER,
        schemas.UserFields(),
        status=201,
        error_statuses=(409, 507),
    ),
    Route("getUser", "GET", "/users/me", "The user of the key.", _USER, error_statuses=(404,)),
    Route(
        "updateUser",
        "PUT",
        "/users/me",
        "The user of the key, changed; what is not given stays.",
        _USER,
        schemas.UserFields(),
        error_statuses=(404, 507),
    ),
    Route("deleteUser", "DELETE", "/users/me", "Delete the user of the key, for good.", _EMPTY, error_statuses=(404,)),
    Route(
        "createConversation",
        "POST",
        "/conversations",
        "A new conversation, owned by the user of the key.",
        _CONVERSATION,
        schemas.CreateConversationBody(),
        status=201,
        error_statuses=(403, 404, 409, 507),
    ),
    Route(
        "getOrCreateConversation",
        "POST",
        "/conversations/get-or-create",
        "The conversation of this id, made if there is none yet.",
        _CONVERSATION,
        schemas.GetOrCreateConversationBody(),
        status=201,
        error_statuses=(403, 404, 507),
    ),
    Route("getConversation", "GET", _CONVERSATION_PATH, "A conversation.", _CONVERSATION, error_statuses=(403, 404)),
    Route(
        "deleteConversation",
        "DELETE",
        _CONVERSATION_PATH,
        "Delete a conversation and its messages, for good.",
        _EMPTY,
        error_statuses=(403, 404),
    ),
    Route(
        "listConversations",
        "GET",
        "/conversations",
        "The conversations that the user of the key owns, newest first.",
        schemas.ConversationsResponse(),
        is_paged=True,
    ),
    Route(
        "listenConversation",
        "GET",
        f"{_CONVERSATION_PATH}/listen",
        "What happens in a conversation from now on, as server-sent events.",
        schemas.SignalSchema(),
        error_statuses=(403,),
    ),
    Route(
        "listMessages",
        "GET",
        "/conversations/{conversationId}/messages",
        "The messages of a conversation, newest first.",
        schemas.MessagesResponse(),
        is_paged=True,
        error_statuses=(403,),
    ),
    Route(
        "addParticipant",
        "POST",
        _PARTICIPANTS_PATH,
        "Let another user take part.",
        _PARTICIPANT,
        schemas.AddParticipantBody(),
        error_statuses=(403, 404, 507),
    ),
    Route(
        "getParticipant",
        "GET",
        f"{_PARTICIPANTS_PATH}/{{userId}}",
        "A user who takes part.",
        _PARTICIPANT,
        error_statuses=(403, 404),
    ),
    Route(
        "removeParticipant",
        "DELETE",
        f"{_PARTICIPANTS_PATH}/{{userId}}",
        "Let a user take part no more.",
        _EMPTY,
        error_statuses=(403, 404),
    ),
    Route(
        "listParticipants",
        "GET",
        _PARTICIPANTS_PATH,
        "The users who take part.",
        schemas.ParticipantsResponse(),
        is_paged=True,
        error_statuses=(403,),
    ),
    Route(
        "createMessage",
        "POST",
        "/messages",
        "Say something; the bot answers later, on the stream.",
        _MESSAGE,
        schemas.CreateMessageBody(),
        status=201,
        error_statuses=(403, 507),
    ),
    Route("getMessage", "GET", "/messages/{id}", "A message.", _MESSAGE, error_statuses=(403, 404)),
    Route("deleteMessage", "DELETE", "/messages/{id}", "Take back what one said.", _EMPTY, error_statuses=(403, 404)),
    Route(
        "createEvent",
        "POST",
        "/events",
        "Tell the bot something that is no message.",
        _EVENT,
        schemas.CreateEventBody(),
        status=201,
        error_statuses=(403, 507),
    ),
    Route("getEvent", "GET", "/events/{id}", "An event.", _EVENT, error_statuses=(403, 404)),
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
