"""Shows the messages of a conversation as texts: the bot's cards and choices, and what users have chosen. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from cometbot.channels.chat_api import payloads
from cometbot.events import MessageEvent
from cometbot.messages import Media, Message, paragraphs, remove_answer_hint


def show_as_texts(messages: Iterable[MessageEvent], bot: str) -> Iterator[MessageEvent]:
    """Yield the messages of a conversation with their content as text.

    A client sends the value of a button or choice. The text is its label if the bot's last messages offered it.
    """
    labels: dict[str, str] = {}
    is_answered = False
    for message in messages:
        if message.sender.uid != bot:
            is_answered = True
            yield replace(message, text=labels.get(message.text, message.text))
            continue
        shown = payloads.to_messages(message.data) if message.data else []
        labels = {} if is_answered else labels
        labels |= {offer.value: offer.label for item in shown for offer in item.offers()}
        is_answered = False
        yield replace(message, text=_text_of(shown)) if shown else message


def _text_of(messages: Iterable[Message]) -> str:
    return paragraphs(*(remove_answer_hint(item.to_text()) for item in messages if not isinstance(item, Media)))
