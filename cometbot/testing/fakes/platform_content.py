"""Parses the web chat's contents into messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cometbot.messages import Button, Card, Carousel, Choice, Choices, Field, Form, Location, Media, Message, Text

Content = Mapping[str, Any]


def to_message(content: Content | None, body: str) -> Message:
    """Return the message of a stored ``content``, or the text ``body`` without one."""
    if content is None:
        return Text(body)
    made: dict[str, Any] = {
        "card": _card,
        "carousel": lambda item: Carousel([_card(card) for card in item["cards"]]),
        "choices": _choices,
        "form": _form,
        "location": lambda item: Location(item["latitude"], item["longitude"], item["label"], item["address"]),
        "media": lambda item: Media(
            item["url"], item["media"], item["name"], item["mimeType"], caption=item["caption"]
        ),
    }
    message: Message = made[content["kind"]](content)
    return message


def _card(content: Content) -> Card:
    buttons = [
        Button(one["label"], url=one["url"]) if "url" in one else Button(one["label"], one["action"], one["value"])
        for one in content["buttons"]
    ]
    return Card(content["title"], content["text"], content["image"], buttons)


def _choices(content: Content) -> Choices:
    options = content["options"]
    shared = {option["action"] for option in options}
    action = next(iter(shared)) if len(shared) == 1 else ""
    return Choices(content["text"], [Choice(option["label"], option["value"]) for option in options], action)


def _form(content: Content) -> Form:
    fields = [
        Field(
            item["name"],
            item["label"],
            item["kind"],
            [Choice(option["label"], option["value"]) for option in item["options"]],
            item["default"],
            item["optional"],
        )
        for item in content["fields"]
    ]
    return Form(content["title"], fields, content["action"], content["submit"])
