"""Converts messages to the web chat's rich content: cards, choices, forms, media and locations, as JSON."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from cometbot.content_types import media_family
from cometbot.field_values import field_to_json, label_of
from cometbot.http.page.markdown import to_html
from cometbot.messages import Button, Card, Carousel, Choices, Field, Form, Location, Media, Message, QuickReply

Content = dict[str, Any]


def to_content(message: Message) -> Content | None:
    """Return the rich content of ``message``, or None if it is only text.

    ``kind`` is ``card``, ``carousel``, ``choices``, ``form``, ``media`` or ``location``; the other members are named
    like the message's own fields. When a user presses a button, chooses an option or submits a form, the web chat sends
    its ``action`` and ``value`` back.
    """
    for kind, make in _CONVERTERS.items():
        if isinstance(message, kind):
            return make(message)
    return None


def with_html(content: Mapping[str, Any]) -> Content:
    """Return ``content`` with its texts also as safe HTML, under ``html``."""
    if content.get("kind") == "carousel":
        return {**content, "cards": [with_html(card) for card in content["cards"]]}
    name = _TEXT_FIELDS.get(str(content.get("kind")))
    return {**content, "html": to_html(str(content.get(name) or ""))} if name else dict(content)


_TEXT_FIELDS = {"card": "text", "choices": "text", "media": "caption"}


def _card(card: Card) -> Content:
    offers = iter(card.offers())
    buttons = [_button(button, offers) for button in card.buttons]
    return {"kind": "card", "title": card.title, "text": card.text, "image": card.image, "buttons": buttons}


def _button(button: Button, offers: Iterator[QuickReply]) -> Content:
    if button.url:
        return {"label": button.label, "url": button.url}
    offer = next(offers)
    return {"label": offer.label, "action": offer.name, "value": offer.value}


def _carousel(carousel: Carousel) -> Content:
    return {"kind": "carousel", "cards": [_card(card) for card in carousel.cards]}


def _choices(choices: Choices) -> Content:
    options = [{"label": one.label, "action": one.name, "value": one.value} for one in choices.offers()]
    return {"kind": "choices", "text": choices.text, "options": options}


def _form(form: Form) -> Content:
    fields = [_field(field) for field in form.fields]
    return {"kind": "form", "title": form.title, "fields": fields, "action": form.action, "submit": form.submit}


def _field(field: Field) -> Content:
    return {**field_to_json(field), "label": label_of(field)}


def _media(media: Media) -> Content:
    path = urlsplit(media.url).path
    mime_type = media.mime_type or mimetypes.guess_type(path)[0] or ""
    return {
        "kind": "media",
        "media": media.kind or media_family(mime_type),
        "url": media.url,
        "name": media.name or unquote(path.rpartition("/")[2]),
        "mimeType": mime_type,
        "size": media.size,
        "caption": media.caption,
    }


def _location(location: Location) -> Content:
    return {"kind": "location", **_members(location, "latitude", "longitude", "label", "address")}


def _members(value: object, *names: str) -> Content:
    return {name: getattr(value, name) for name in names}


_CONVERTERS: dict[type[Message], Callable[[Any], Content]] = {
    Card: _card,
    Carousel: _carousel,
    Choices: _choices,
    Form: _form,
    Media: _media,
    Location: _location,
}
