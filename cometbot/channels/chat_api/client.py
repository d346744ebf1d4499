"""A client for cometbot's and Botpress's Chat API: typed results, typed errors, and streams that reconnect."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import orjson
import requests

from cometbot.channels.chat_api import schemas
from cometbot.channels.chat_api.keys import read_user_id, sign
from cometbot.channels.chat_api.listener import Listener, OpenStream
from cometbot.channels.chat_api.models import ApiConversation, ApiEvent, ApiMessage, ApiUser, Page
from cometbot.channels.chat_api.routes import ROUTES
from cometbot.errors import ChannelError, ConfigurationError, MessageError, OutcomeUnknown, PayloadError
from cometbot.http.client import HttpClient, make_session, read_error_response
from cometbot.http.responses import HttpResponse, describe_refusal, error_for_status

T = TypeVar("T")

_MAX_RESPONSE_SIZE = 16 * 1024 * 1024
_STREAM_READ_TIMEOUT = 75.0
"""Seconds without data after which a stream counts as broken: the server sends a ping every 30 s."""
_ROUTES_BY_NAME = {route.name: (route.method, route.path, route.response) for route in ROUTES}


class ChatClient:
    """A client of a bot's Chat API that acts as one user.

    ``api_url`` is the bot's URL: ``https://host/chat/<bot>``, or ``https://chat.botpress.cloud/<webhook id>``. Create a
    client with :meth:`connect`. Every call ends within ``timeout`` seconds; nothing is retried. A client may be shared
    between threads. The user key appears in no repr, log or error.

    Errors, whose ``code`` is the ``type`` in the server's response: :class:`AuthenticationFailed` (401, 403),
    :class:`NotFound`, :class:`Rejected`, :class:`RateLimited`. :class:`Unreachable` if nothing was sent;
    :class:`OutcomeUnknown` if the request was sent and no usable response arrived.

    ::

        client = ChatClient.connect("https://host/chat/helpdesk", user_id="maria", encryption_key=KEY)
        conversation = client.get_or_create_conversation("order-42")
        with client.listen_conversation(conversation.id) as signals:
            client.create_message(conversation.id, {"type": "text", "text": "hi"})
            for message in signals.answers():
                print(message.payload)
    """

    def __init__(
        self, api_url: str, user_key: str = "", *, session: requests.Session | None = None, timeout: float = 10.0
    ) -> None:
        parts = urlsplit(api_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise ConfigurationError("api_url must be the bot's whole URL, such as https://host/chat/helpdesk")
        self.api_url = api_url.rstrip("/")
        self.timeout = timeout
        self._key = user_key
        self._http = HttpClient(
            session or make_session(32), peer="the Chat API", remedy="check api_url and the network"
        )

    @classmethod
    def connect(
        cls,
        api_url: str,
        *,
        user_id: str = "",
        user_key: str = "",
        encryption_key: str = "",
        session: requests.Session | None = None,
        timeout: float = 10.0,
    ) -> ChatClient:
        """Return a client that acts as a user who exists on the server.

        With ``encryption_key``, the client signs the key of ``user_id`` itself (manual mode). With ``user_key``, it
        uses that key. Otherwise the server creates a user and its key (automatic mode); ``user_id``, if given, is the
        user's id.
        """
        if encryption_key and not user_id:
            raise ConfigurationError("with an encryption_key give the user_id that its key is to be signed for")
        client = cls(api_url, user_key, session=session, timeout=timeout)
        if encryption_key:
            client._key = sign(user_id, encryption_key)
        if client._key:
            client.get_or_create_user()
        else:
            client.create_user(user_id)
        return client

    @property
    def user_key(self) -> str:
        """The user's key. Store it to :meth:`connect` as the same user again."""
        return self._key

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.api_url!r})"

    def close(self) -> None:
        """Close the pooled connections."""
        self._http.close()

    def create_user(
        self,
        user_id: str = "",
        *,
        name: str | None = None,
        picture_url: str | None = None,
        profile: str | None = None,
    ) -> ApiUser:
        """Create a user; from then on, this client acts as that user (automatic mode only)."""
        body = {**_user_fields(name, picture_url, profile), **({"id": user_id} if user_id else {})}
        created = self._call("createUser", body=body)
        self._key = str(created["key"])
        user: ApiUser = created["user"]
        return user

    def get_or_create_user(
        self, *, name: str | None = None, picture_url: str | None = None, profile: str | None = None
    ) -> ApiUser:
        """Return the user of the key, created if necessary and updated with the given fields."""
        return self._get_object(ApiUser, "getOrCreateUser", body=_user_fields(name, picture_url, profile))

    def get_user(self) -> ApiUser:
        """Return the user of the key."""
        return self._get_object(ApiUser, "getUser")

    def update_user(
        self, *, name: str | None = None, picture_url: str | None = None, profile: str | None = None
    ) -> ApiUser:
        """Update the given fields of the user of the key, and return the user."""
        return self._get_object(ApiUser, "updateUser", body=_user_fields(name, picture_url, profile))

    def delete_user(self) -> None:
        """Delete the user of the key permanently."""
        self._call("deleteUser", body={})

    def create_conversation(self, conversation_id: str = "") -> ApiConversation:
        """Create a conversation that this user owns.

        Raises :class:`Rejected` with the code ``AlreadyExists`` if the id is taken.
        """
        body = {"id": conversation_id} if conversation_id else {}
        return self._get_object(ApiConversation, "createConversation", body=body)

    def get_or_create_conversation(self, conversation_id: str) -> ApiConversation:
        """Return this user's own conversation with this id, created if necessary."""
        return self._get_object(ApiConversation, "getOrCreateConversation", body={"id": conversation_id})

    def get_conversation(self, conversation_id: str) -> ApiConversation:
        """Return a conversation in which this user participates."""
        return self._get_object(ApiConversation, "getConversation", {"id": conversation_id})

    def delete_conversation(self, conversation_id: str) -> None:
        """Delete a conversation of this user and its messages permanently."""
        self._call("deleteConversation", {"id": conversation_id}, body={})

    def list_conversations(self, next_token: str = "") -> Page[ApiConversation]:
        """Return a page of the conversations that this user owns."""
        return self._get_page("listConversations", "conversations", {}, next_token)

    def list_messages(self, conversation_id: str, next_token: str = "") -> Page[ApiMessage]:
        """Return a page of a conversation's messages, newest first."""
        return self._get_page("listMessages", "messages", {"conversationId": conversation_id}, next_token)

    def add_participant(self, conversation_id: str, user_id: str) -> ApiUser:
        """Add a user to a conversation that this user owns, and return the added user."""
        ids = {"conversationId": conversation_id}
        return self._get_object(ApiUser, "addParticipant", ids, body={"userId": user_id})

    def get_participant(self, conversation_id: str, user_id: str) -> ApiUser:
        """Return a participant of a conversation that this user owns."""
        ids = {"conversationId": conversation_id, "userId": user_id}
        return self._get_object(ApiUser, "getParticipant", ids)

    def remove_participant(self, conversation_id: str, user_id: str) -> None:
        """Remove a user from a conversation that this user owns."""
        self._call("removeParticipant", {"conversationId": conversation_id, "userId": user_id}, body={})

    def list_participants(self, conversation_id: str, next_token: str = "") -> Page[ApiUser]:
        """Return a page of a conversation's participants."""
        return self._get_page("listParticipants", "participants", {"conversationId": conversation_id}, next_token)

    def create_message(
        self, conversation_id: str, payload: Mapping[str, Any], metadata: Mapping[str, Any] | None = None
    ) -> ApiMessage:
        """Send a message. ``payload`` is one of the API's, for example ``{"type": "text", "text": "hi"}``."""
        body: dict[str, Any] = {"conversationId": conversation_id, "payload": dict(payload)}
        if metadata is not None:
            body["metadata"] = dict(metadata)
        return self._get_object(ApiMessage, "createMessage", body=body)

    def get_message(self, message_id: str) -> ApiMessage:
        """Return a message by its id."""
        return self._get_object(ApiMessage, "getMessage", {"id": message_id})

    def delete_message(self, message_id: str) -> None:
        """Delete a message that this user sent."""
        self._call("deleteMessage", {"id": message_id}, body={})

    def create_event(self, conversation_id: str, payload: Mapping[str, Any]) -> ApiEvent:
        """Send an event, which the bot receives as a custom event and not as a message."""
        body = {"conversationId": conversation_id, "payload": dict(payload)}
        return self._get_object(ApiEvent, "createEvent", body=body)

    def get_event(self, event_id: str) -> ApiEvent:
        """Return an event by its id."""
        return self._get_object(ApiEvent, "getEvent", {"id": event_id})

    def every(self, page: Callable[[str], Page[T]]) -> Iterator[T]:
        """Yield all items of a list, page by page: ``client.every(client.list_conversations)``."""
        token, is_first = "", True
        while token or is_first:
            found, is_first = page(token), False
            yield from found
            token = found.next_token

    def listen_conversation(self, conversation_id: str, *, reconnects: bool = True) -> Listener:
        """Return a listener for everything that happens in a conversation from now on.

        The stream is connected when this method returns. Close the listener, or use it in a ``with`` statement. When
        the connection breaks, the listener reconnects and reads missed messages from the list of messages; without
        ``reconnects`` it ends.
        """

        def list_newest(token: str) -> Page[ApiMessage]:
            return self.list_messages(conversation_id, token)

        user = read_user_id(self._key)
        return Listener(lambda: self._open_stream(conversation_id), list_newest, user=user, reconnects=reconnects)

    def _open_stream(self, conversation_id: str) -> OpenStream:
        """Open a stream and return it once its headers have arrived. Raises like any call."""
        request_name = "GET /conversations/…/listen"
        url = f"{self.api_url}/conversations/{quote(conversation_id, safe='')}/listen"
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache", "Accept-Encoding": "identity"}
        headers["x-user-key"] = self._key
        with self._http.exchange(request_name, self.timeout) as deadline:
            timeout = max(deadline.remaining, 0.001), _STREAM_READ_TIMEOUT
            response = self._http.session.get(url, headers=headers, timeout=timeout, allow_redirects=False, stream=True)
            sockets: list[socket.socket] = list(deadline.sockets)
            if response.status_code != 200:
                with response:
                    error = read_error_response(response)
                raise _to_error(error, request_name, self._key)
        return OpenStream(response.raw, sockets)

    def _get_page(self, name: str, items: str, ids: Mapping[str, str], token: str) -> Page[Any]:
        found = self._call(name, ids, query={"nextToken": token} if token else {})
        return Page(found[items], found["meta"].get("nextToken", ""))

    def _get_object(
        self, kind: type[T], name: str, ids: Mapping[str, str] | None = None, *, body: Mapping[str, Any] | None = None
    ) -> T:
        """Return the object in the response: the schema has loaded exactly one of this ``kind``."""
        [found] = [value for value in self._call(name, ids, body=body).values() if isinstance(value, kind)]
        return found

    def _call(
        self,
        name: str,
        ids: Mapping[str, str] | None = None,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        method, path, schema = _ROUTES_BY_NAME[name]
        for part, value in (ids or {}).items():
            path = path.replace(f"{{{part}}}", quote(value, safe=""))
        headers = {"Accept": "application/json"}
        if self._key:
            headers["x-user-key"] = self._key
        if body is not None:
            headers["Content-Type"] = "application/json"
        request_name = f"{method} {path}"
        response = self._http.send(
            method,
            self.api_url + path,
            request_name,
            self.timeout,
            limit=_MAX_RESPONSE_SIZE,
            headers=headers,
            data=None if body is None else _encode_json(body),
            params=query or None,
        )
        return _parse_response(response, schema, request_name, self._key)


def _parse_response(
    response: HttpResponse, schema: schemas.BaseSchema, request_name: str, user_key: str
) -> dict[str, Any]:
    """Return the content of a successful response. Raises the matching :class:`ChannelError` for any other."""
    value = response.json()
    code = value.get("code")
    is_error = isinstance(code, int) and 400 <= code <= 599
    if not 200 <= response.status < 300 or is_error:
        raise _to_error(response, request_name, user_key)
    try:
        found: dict[str, Any] = schemas.load(schema, value, "response")
    except PayloadError as error:
        raise OutcomeUnknown(f"{request_name}: {error}; is it the URL of a Chat API?", status=response.status) from None
    return found


def _to_error(response: HttpResponse, request_name: str, user_key: str) -> ChannelError:
    """Return the error in a response; its ``code`` is the server's ``type``."""
    value = response.json()
    kind, message = (text if isinstance(text := value.get(name), str) else "" for name in ("type", "message"))
    text = describe_refusal(request_name, response.status, kind, message, [user_key])
    status = response.status if response.status >= 300 else int(value.get("code") or response.status)
    return error_for_status(replace(response, status=status), text, code=kind)


def _encode_json(body: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(dict(body))
    except (TypeError, ValueError) as error:
        raise MessageError(f"what is sent must be JSON: {error}") from None


def _user_fields(name: str | None, picture_url: str | None, profile: str | None) -> dict[str, str]:
    given = {"name": name, "pictureUrl": picture_url, "profile": profile}
    return {field: value for field, value in given.items() if value is not None}
