"""The messages of a bot as users see them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

from cometbot.messages import Button, Card, Carousel, Choices, Form, Message, QuickReply
from cometbot.models import Conversation


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message of the bot on the platform. ``versions`` has every text that it has shown, previews included.

    ``message`` is what the platform received: for example a :class:`Card` if it supports cards, otherwise its text.
    """

    id: str
    conversation: Conversation
    message: Message
    thread_id: str = ""
    quote_id: str = ""
    client_id: str = ""
    reactions: tuple[str, ...] = ()
    deleted: bool = False
    versions: tuple[str, ...] = ()
    at: float = 0.0

    @property
    def text(self) -> str:
        """The message as plain text."""
        return self.message.to_text()

    @property
    def buttons(self) -> list[str]:
        """The labels of a card's or carousel's buttons in order, links included."""
        return [button.label for button in _buttons(self.message)]

    @property
    def links(self) -> dict[str, str]:
        """The URLs that buttons open, by label."""
        return {button.label: button.url for button in _buttons(self.message) if button.url}

    @property
    def choices(self) -> list[str]:
        """The labels of the choices."""
        return [offer.label for offer in self.offers] if isinstance(self.message, Choices) else []

    @property
    def fields(self) -> list[str]:
        """The names of a form's fields."""
        return [field.name for field in self.message.fields] if isinstance(self.message, Form) else []

    @property
    def offers(self) -> tuple[QuickReply, ...]:
        """The buttons and choices that a user can select."""
        return self.message.offers()


class Replies(Sequence[SentMessage]):
    """The bot's messages in order, as a sequence of :class:`SentMessage`. It is true if there is any message."""

    def __init__(self, said: Iterable[SentMessage] = (), shown_as_text: Sequence[Mapping[str, Any]] = ()) -> None:
        # shown_as_text: the quick replies that the bot stored; they have the labels if a platform has no buttons.
        self._said = tuple(said)
        self._shown_as_text = tuple(item for item in shown_as_text if not item.get("kept")) if self._said else ()

    @property
    def texts(self) -> list[str]:
        """The text of each message."""
        return [said.text for said in self._said]

    @property
    def text(self) -> str:
        """All texts, joined by newlines; empty without messages."""
        return "\n".join(self.texts)

    @property
    def buttons(self) -> list[str]:
        """The labels of all buttons, whether the platform shows them as buttons or as text."""
        return [label for said in self._said for label in said.buttons] or self._labels("buttons")

    @property
    def choices(self) -> list[str]:
        """The labels of all choices, whether the platform shows them as choices or as text."""
        return [label for said in self._said for label in said.choices] or self._labels("choices")

    def _labels(self, kind: str) -> list[str]:
        return [offer[0] for item in self._shown_as_text if item.get("kind") == kind for offer in item["offers"]]

    @overload
    def __getitem__(self, index: int) -> SentMessage: ...
    @overload
    def __getitem__(self, index: slice) -> Replies: ...
    def __getitem__(self, index: int | slice) -> SentMessage | Replies:
        if isinstance(index, slice):
            return Replies(self._said[index], self._shown_as_text)
        if not -len(self._said) <= index < len(self._said):
            raise IndexError(f"no reply {index}; the bot sent {self.texts or 'nothing'}")
        return self._said[index]

    def __len__(self) -> int:
        return len(self._said)

    def __eq__(self, other: object) -> bool:
        return self._said == other._said if isinstance(other, Replies) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(said.id for said in self._said))

    def __repr__(self) -> str:
        return f"<Replies {self.texts}>"


def _buttons(message: Message) -> list[Button]:
    cards = message.cards if isinstance(message, Carousel) else [message] if isinstance(message, Card) else []
    return [button for card in cards for button in card.buttons]
