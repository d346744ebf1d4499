"""Put the limits of a message's buttons into their action names, which travel with them and come back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from cometbot.messages import Card, Carousel, Choices, Form, Message
from cometbot.presses import Press, parse_press
from cometbot.quick_replies import QUICK_REPLIES_KEY

_MAX_KEPT = 20
"""The messages of a conversation whose quick replies stay valid although the bot has said something else since."""

_KEEP_SECONDS = 86400.0
"""Seconds for which an ended quick reply is known, so that users are told that they are late."""


def apply_limits(message: Message, id: str, now: float) -> Message:
    """Return a message that is said ``now`` with its limits in the names of its actions; others as they are.

    ``id`` belongs to this message alone.
    """
    if not has_limits(message):
        return message
    if isinstance(message, Carousel):
        cards = [_limit_card(card, f"{id}-{number}", now) for number, card in enumerate(message.cards)]
        return replace(message, cards=cards)
    if isinstance(message, Card):
        return _limit_card(message, id, now)
    if isinstance(message, Choices | Form):
        action = Press(id, message.make_rules(now), message.action).to_action_name()
        return replace(message, action=action, by=None, expires=None, once=False)
    return message


def _limit_card(card: Card, id: str, now: float) -> Card:
    if not card.has_limits:
        return card
    rules, offers = card.make_rules(now), iter(card.offers())
    buttons = [
        button if button.url else replace(button, action=Press(id, rules, next(offers).name).to_action_name())
        for button in card.buttons
    ]
    return replace(card, buttons=buttons, by=None, expires=None, once=False)


def has_limits(message: Message | None) -> bool:
    """Return True if :func:`apply_limits` would change the message."""
    if isinstance(message, Carousel):
        return any(card.has_limits for card in message.cards)
    return isinstance(message, Card | Choices | Form) and message.has_limits


def find_presses(message: Message | None) -> list[Press]:
    """Return the buttons with limits of a message to which :func:`apply_limits` was applied, one for each id."""
    if message is None:
        return []
    names = [message.action] if isinstance(message, Form) else [offer.name for offer in message.offers()]
    found = [press for name in names if (press := parse_press(name)) is not None]
    return list({press.id: press for press in found}.values())


def keep_limited(stored: Iterable[Mapping[str, Any]], now: float) -> list[dict[str, Any]]:
    """Return those of the ``stored`` quick replies that stay valid when the bot says something else.

    These are the ones with limits, until a day after their end. Users select them by label or value, not by number.
    """
    kept = [{**item, "kept": True} for item in stored if "offers" in item and _is_recent(item, now)]
    return kept[-_MAX_KEPT:]


def keep_stored(state: Mapping[str, str], now: float) -> list[dict[str, Any]]:
    """Return what :func:`keep_limited` returns for the quick replies in the stored state of a conversation."""
    text = state.get(QUICK_REPLIES_KEY)
    return keep_limited(json.loads(text), now) if text else []


def _is_recent(item: Mapping[str, Any], now: float) -> bool:
    presses = [parse_press(name) for _, name, _ in item["offers"]]
    ends = [press.rules.expires_at for press in presses if press is not None]
    return bool(ends) and len(ends) == len(presses) and max(map(float, filter(None, ends))) + _KEEP_SECONDS > now
