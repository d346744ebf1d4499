"""Renders messages as CometChat's REST requests, in plain JSON. No I/O."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from cometbot.channels.base import fall_back_to_text
from cometbot.channels.cometchat import request_bodies
from cometbot.channels.cometchat.forms import render_form
from cometbot.channels.cometchat.press_urls import FORM_VALUE
from cometbot.content_types import media_family
from cometbot.errors import MessageError
from cometbot.messages import (
    APPROVAL_ACTION,
    Button,
    Capabilities,
    Card,
    Carousel,
    Choices,
    Custom,
    Form,
    Media,
    Message,
    Operation,
    QuickReply,
    Text,
)
from cometbot.splitting import split_text

RichMode = Literal["text", "interactive", "card"]
GetUrl = Callable[[QuickReply], str]
MakeUrl = Callable[[Operation, QuickReply], str]
_NATIVE: dict[str, frozenset[type[Message]]] = {
    "text": frozenset({Text, Media, Custom}),
    "interactive": frozenset({Text, Media, Custom, Card, Choices}),
    "card": frozenset({Text, Media, Custom, Card, Choices, Carousel}),
}
_EDIT_CAPABILITIES = Capabilities(native=frozenset({Text, Custom}))
_DEFAULT_MIME_TYPE = "application/octet-stream"
_MAX_TEXT_BYTES = request_bodies.MAX_DATA_BYTES - len('{"text":""}')
_MAX_BYTES_PER_CHARACTER = 6
"""The bytes of a control character in JSON; any other character has fewer."""
_CARD_STYLE = {"background": {"light": "#FFFFFF", "dark": "#1C1C1E"}}


@cache
def capabilities(rich: RichMode, *, has_urls: bool = False) -> Capabilities:
    """Return the capabilities of CometChat if rich messages are sent as ``rich``.

    ``has_urls`` says if buttons can call addresses of this server, without which nobody could submit a form.
    """
    return Capabilities(
        native=_NATIVE[rich] | ({Form} if rich == "interactive" and has_urls else set()),
        group_forms=False,
        text_limit=_MAX_TEXT_BYTES,
        edit=True,
        delete=True,
        react=True,
        threads=True,
        history=True,
        look_up=True,
        stream_interval=1.0,
        uneditable=frozenset({Card, Choices, Carousel, Form}),
        members=True,
        moderate=True,
        ban=True,
    )


def render(operation: Operation, rich: RichMode, make_url: MakeUrl | None = None) -> list[dict[str, Any]]:
    """Return the requests of ``operation`` in order: ``{"op": …, "body": …}`` with the parameters of the path.

    ``make_url`` returns the address that a button of a card or a form calls; if it is empty, or without ``make_url``,
    the button sends a message, and a form is a text. ``after`` is the id of the answered message, from which the search
    for a sent message starts. Raises :class:`MessageError` if a message exceeds a limit and cannot be split.
    """
    if operation.kind == "delete":
        return [{"op": "delete", "message": operation.message_id}]
    if operation.kind == "react":
        reaction = request_bodies.check_reaction(operation.reaction)
        return [{"op": "react", "message": operation.message_id, "reaction": reaction}]
    if operation.kind in ("kick", "ban", "unban"):
        return [{"op": operation.kind, "user": request_bodies.check_id(operation.user, "uid")}]
    if operation.message is None:
        raise MessageError(f"an operation of kind {operation.kind} needs a message")
    if operation.kind == "edit":
        return _render_edit(operation, operation.message)
    get_url = partial(make_url, operation) if make_url is not None else _no_url
    known = capabilities(rich, has_urls=make_url is not None)
    parts = _render_bodies(fall_back_to_text(operation.message, known), rich, get_url)
    return [_render_send(operation, part) for part in parts]


def _render_send(operation: Operation, part: Mapping[str, Any]) -> dict[str, Any]:
    conversation = operation.conversation
    receiver_type = "group" if conversation.is_group else "user"
    body = {"receiver": conversation.target, "receiverType": receiver_type, **part}
    if operation.quote_id:
        body["quotedMessageId"] = operation.quote_id
    request_bodies.check_message(body)
    request: dict[str, Any] = {"op": "send", "body": body, "after": operation.reply_to}
    return {**request, "op": "thread", "parent": operation.thread_id} if operation.thread_id else request


def _render_edit(operation: Operation, message: Message) -> list[dict[str, Any]]:
    """Return the edit; the part of a text beyond the limit follows in new messages."""
    first, *rest = _render_bodies(fall_back_to_text(message, _EDIT_CAPABILITIES), "text")
    body: dict[str, Any] = {"data": first["data"], **({"tags": first["tags"]} if "tags" in first else {})}
    request_bodies.check_data(first["data"])
    request_bodies.check_tags(first.get("tags"))
    edit = {"op": "edit", "message": operation.message_id, "body": body}
    return [edit, *(_render_send(operation, part) for part in rest)]


def _no_url(offer: QuickReply) -> str:
    return ""


def _render_bodies(message: Message, rich: RichMode, get_url: GetUrl = _no_url) -> list[dict[str, Any]]:
    """Return the bodies of ``message`` without their receiver; several for a long text."""
    if isinstance(message, Text):
        parts = split_by_data_limit(message.text, message.metadata)
        return [_make_body(message, "message", "text", {"text": part}) for part in parts]
    if isinstance(message, Media):
        return _render_media(message)
    if isinstance(message, Custom):
        data = {"customData": dict(message.data), **({"text": message.text} if message.text else {})}
        return [_make_body(message, "custom", message.type, data)]
    rich_body = _render_card(message, get_url) if rich == "card" else _render_interactive(message, get_url)
    if rich_body and len(request_bodies.encode(rich_body["data"])) <= request_bodies.MAX_DATA_BYTES:
        return [rich_body]
    return _render_bodies(Text(message.to_text(), metadata=message.metadata, tags=message.tags), "text")


def _make_body(message: Message, category: str, kind: str, data: dict[str, Any]) -> dict[str, Any]:
    if message.metadata:
        data["metadata"] = dict(message.metadata)
    body: dict[str, Any] = {"category": category, "type": kind, "data": data}
    if message.tags:
        body["tags"] = list(message.tags)
    return body


def split_by_data_limit(text: str, metadata: Mapping[str, Any]) -> list[str]:
    """Return ``text`` in parts that each fit into ``data`` together with ``metadata``, measured as JSON in UTF-8.

    Raises :class:`MessageError` if ``metadata`` leaves no room for the text.
    """
    if not metadata and len(text) * _MAX_BYTES_PER_CHARACTER <= _MAX_TEXT_BYTES:
        return [text] if text.strip() else []
    without_text = {"text": "", "metadata": dict(metadata)} if metadata else {"text": ""}
    available = request_bodies.MAX_DATA_BYTES - len(request_bodies.encode(without_text, "metadata"))
    if available < 100:
        raise MessageError(
            f"metadata leaves no room for the text: data takes {request_bodies.MAX_DATA_BYTES} bytes as JSON"
        )
    return split_text(text, available, _json_size)


def _json_size(text: str) -> int:
    """Return the size of ``text`` as a JSON string in bytes, without the quotes."""
    return len(request_bodies.encode(text, "text")) - 2


def _render_media(message: Media) -> list[dict[str, Any]]:
    """Return the body of a file with its caption; a caption that is too long follows as texts."""
    mime_type = message.mime_type or mimetypes.guess_type(urlsplit(message.url).path)[0] or ""
    kind = message.kind or media_family(mime_type)
    mime_type = mime_type or _DEFAULT_MIME_TYPE
    name = message.name or unquote(urlsplit(message.url).path.rpartition("/")[2]) or kind
    extension = name.rpartition(".")[2] if "." in name else (mimetypes.guess_extension(mime_type) or ".bin")[1:]
    attachment: dict[str, Any] = {
        "url": message.url,
        "name": name,
        "mimeType": mime_type,
        "extension": extension or "bin",
    }
    if message.size is not None:
        attachment["size"] = message.size
    captioned = _make_body(message, "message", kind, {"attachments": [attachment], "text": message.caption})
    if message.caption and len(request_bodies.encode(captioned["data"])) <= request_bodies.MAX_DATA_BYTES:
        return [captioned]
    plain = _make_body(message, "message", kind, {"attachments": [attachment]})
    texts = _render_bodies(Text(message.caption), "text") if message.caption.strip() else []
    return [plain, *texts]


def _render_interactive(message: Message, get_url: GetUrl) -> dict[str, Any]:
    """Return an interactive form, or a card whose links are buttons; its quick replies are a numbered list in the text.

    CometChat does not report clicks to a bot, so a button for a quick reply would have no effect. A form whose button
    has no address is empty.
    """
    goal = {"interactionGoal": {"type": "none"}, "allowSenderInteraction": False}
    if isinstance(message, Form):
        url = get_url(QuickReply(message.submit, message.action, FORM_VALUE))
        data = {**goal, "interactiveData": render_form(message, url)}
        return _make_body(message, "interactive", "form", data) if url else {}
    interactive_data: dict[str, Any] = {"text": message.to_text(), "cardActions": []}
    if isinstance(message, Card):
        buttons = enumerate(message.buttons, start=1)
        interactive_data["cardActions"] = [_link_button(number, button) for number, button in buttons if button.url]
        if message.image:
            interactive_data["imageUrl"] = message.image
    return _make_body(message, "interactive", "card", {**goal, "interactiveData": interactive_data})


def _link_button(number: int, button: Button) -> dict[str, Any]:
    return {
        "elementType": "button",
        "elementId": f"button-{number}",
        "buttonText": button.label,
        "disableAfterInteracted": False,
        "action": {"actionType": "urlNavigation", "url": button.url},
    }


def _render_card(message: Message, get_url: GetUrl) -> dict[str, Any]:
    """Return a card message; previews, notifications and old clients show its ``text``."""
    preview = message.to_text()
    card = {"version": "1.0", "body": _render_elements(message, get_url), "style": _CARD_STYLE, "fallbackText": preview}
    return _make_body(message, "card", "text", {"text": preview, "card": card})


def _render_elements(message: Message, get_url: GetUrl) -> list[dict[str, Any]]:
    """Return the elements of a card, with ids that are unique in it."""
    elements: list[dict[str, Any]] = []
    offers = list(message.offers())
    if isinstance(message, Choices):
        elements.append({"id": "text", "type": "markdown", "content": message.text})
        return elements + [_reply_button(f"button-{offer.number}", offer, offers, get_url) for offer in offers]
    cards = message.cards if isinstance(message, Carousel) else [message] if isinstance(message, Card) else []
    remaining_offers = iter(offers)
    for number, card in enumerate(cards, start=1):
        if number > 1:
            elements.append({"id": f"divider-{number}", "type": "divider"})
        elements += _render_card_content(card, f"card-{number}")
        for place, button in enumerate(card.buttons, start=1):
            element_id = f"card-{number}-button-{place}"
            element = (
                _open_button(element_id, button)
                if button.url
                else _reply_button(element_id, next(remaining_offers), offers, get_url)
            )
            elements.append(element)
    return elements


def _render_card_content(card: Card, prefix: str) -> Iterator[dict[str, Any]]:
    if card.image:
        yield {"id": f"{prefix}-image", "type": "image", "url": card.image}
    if card.title:
        yield {"id": f"{prefix}-title", "type": "text", "content": card.title}
    if card.text:
        yield {"id": f"{prefix}-text", "type": "markdown", "content": card.text}


def _open_button(element_id: str, button: Button) -> dict[str, Any]:
    action = {"type": "openUrl", "url": button.url}
    return {"id": element_id, "type": "button", "label": button.label, "action": action}


def _reply_button(element_id: str, offer: QuickReply, offers: Sequence[QuickReply], get_url: GetUrl) -> dict[str, Any]:
    """Return a button that calls its address. Without one, it sends its label, or its number if labels are alike.

    The message is then recognised as the quick reply. A button of an approval sends its value, which has the number.
    """
    if url := get_url(offer):
        call = {"type": "apiCall", "url": url, "method": "POST"}
        return {"id": element_id, "type": "button", "label": offer.label, "action": call}
    if offer.name.startswith(APPROVAL_ACTION):
        action = {"type": "sendMessage", "text": offer.value}
        return {"id": element_id, "type": "button", "label": offer.label, "action": action}
    is_unique = sum(other.label.casefold() == offer.label.casefold() for other in offers) == 1
    action = {"type": "sendMessage", "text": offer.label if is_unique else str(offer.number)}
    return {"id": element_id, "type": "button", "label": offer.label, "action": action}
