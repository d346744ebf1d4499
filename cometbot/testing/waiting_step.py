"""The step that a handler waits at, as tests see it."""

from __future__ import annotations

from dataclasses import dataclass

from cometbot.store.dialogs import DialogRow


@dataclass(frozen=True, slots=True)
class WaitingStep:
    """A step that a handler waits at: ``kind`` is ``ask``, ``approve``, ``call``, ``hand_off`` or ``sleep``.

    ``text`` and ``choices`` are those of a question, ``text`` that of an approval or call, or what people read first.

    ``fields`` are the names of a form's fields that are left. ``field`` is the one that is asked, empty where the
    platform shows the form.
    """

    handler: str
    kind: str
    text: str = ""
    choices: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    field: str = ""


def to_waiting_step(row: DialogRow) -> WaitingStep:
    """Return the step of a stored dialog."""
    waiting = row.waiting
    labels = tuple(label for offer in waiting.offers for label, _, _ in offer.get("offers", ()))
    return WaitingStep(
        row.handler, waiting.kind, waiting.question_text, labels, tuple(waiting.fields), waiting.asked_field
    )
