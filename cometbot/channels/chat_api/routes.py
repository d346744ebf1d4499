"""The 21 operations of the Chat API: their paths, request bodies and responses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cometbot.channels.chat_api import schemas


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
    summary: str
    errors: tuple[int, ...] = ()
    body: schemas.BaseSchema | None = None
    status: int = 200
    requires_key: bool = True
    is_paged: bool = False

    @property
    def is_stream(self) -> bool:
        """True if the response is a stream of events."""
        return self.name == "listenConversation"


def _get(name: str, path: str, response: schemas.BaseSchema, summary: str, *errors: int) -> Route:
    return Route(name, "GET", path, response, summary, errors)


def _list(name: str, path: str, response: schemas.BaseSchema, summary: str, *errors: int) -> Route:
    return Route(name, "GET", path, response, summary, errors, is_paged=True)


def _delete(name: str, path: str, summary: str, *errors: int) -> Route:
    return Route(name, "DELETE", path, schemas.EMPTY, summary, errors)


_USER, _CONVERSATION, _MESSAGE = "/users/me", "/conversations/{id}", "/messages/{id}"
_PARTICIPANTS = "/conversations/{conversationId}/participants"
_PARTICIPANT = f"{_PARTICIPANTS}/{{userId}}"

ROUTES = (
    Route(
        "createUser",
        "POST",
        "/users",
        schemas.USER_WITH_KEY,
        "Create a user, and return it with its key; in automatic mode only.",
        (401, 409, 507),
        schemas.CreateUserBody(),
        status=201,
        requires_key=False,
    ),
    Route(
        "getOrCreateUser",
        "POST",
        "/users/get-or-create",
        schemas.USER,
        "Return the user of the key, created if necessary and updated with the given fields.",
        (409, 507),
        schemas.UserFields(),
        status=201,
    ),
    _get("getUser", _USER, schemas.USER, "Return the user of the key.", 404),
    Route(
        "updateUser",
        "PUT",
        _USER,
        schemas.USER,
        "Update the given fields of the user of the key.",
        (404, 507),
        schemas.UserFields(),
    ),
    _delete("deleteUser", _USER, "Delete the user of the key permanently.", 404),
    Route(
        "createConversation",
        "POST",
        "/conversations",
        schemas.CONVERSATION,
        "Create a conversation that the user of the key owns.",
        (403, 404, 409, 507),
        schemas.CreateConversationBody(),
        status=201,
    ),
    Route(
        "getOrCreateConversation",
        "POST",
        "/conversations/get-or-create",
        schemas.CONVERSATION,
        "Return the conversation with this id, created if necessary.",
        (403, 404, 507),
        schemas.GetOrCreateConversationBody(),
        status=201,
    ),
    _get("getConversation", _CONVERSATION, schemas.CONVERSATION, "Return a conversation.", 403, 404),
    _delete("deleteConversation", _CONVERSATION, "Delete a conversation and its messages permanently.", 403, 404),
    _list(
        "listConversations",
        "/conversations",
        schemas.CONVERSATIONS,
        "List the conversations that the user of the key owns, newest first.",
    ),
    _get(
        "listenConversation",
        f"{_CONVERSATION}/listen",
        schemas.SignalSchema(),
        "Stream what happens in a conversation from now on, as server-sent events.",
        403,
    ),
    _list(
        "listMessages",
        "/conversations/{conversationId}/messages",
        schemas.MESSAGES,
        "List the messages of a conversation, newest first.",
        403,
    ),
    Route(
        "addParticipant",
        "POST",
        _PARTICIPANTS,
        schemas.PARTICIPANT,
        "Add a user to a conversation.",
        (403, 404, 507),
        schemas.AddParticipantBody(),
    ),
    _get("getParticipant", _PARTICIPANT, schemas.PARTICIPANT, "Return a participant.", 403, 404),
    _delete("removeParticipant", _PARTICIPANT, "Remove a participant from a conversation.", 403, 404),
    _list("listParticipants", _PARTICIPANTS, schemas.PARTICIPANTS, "List the participants of a conversation.", 403),
    Route(
        "createMessage",
        "POST",
        "/messages",
        schemas.MESSAGE,
        "Send a message. The bot's replies arrive on the stream.",
        (403, 507),
        schemas.CreateMessageBody(),
        status=201,
    ),
    _get("getMessage", _MESSAGE, schemas.MESSAGE, "Return a message.", 403, 404),
    _delete("deleteMessage", _MESSAGE, "Delete a message that the user of the key sent.", 403, 404),
    Route(
        "createEvent",
        "POST",
        "/events",
        schemas.EVENT,
        "Send the bot an event that is not a message.",
        (403, 507),
        schemas.CreateEventBody(),
        status=201,
    ),
    _get("getEvent", "/events/{id}", schemas.EVENT, "Return an event.", 403, 404),
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
