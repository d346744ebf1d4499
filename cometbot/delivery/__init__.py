"""From "stored" to "answered": mailbox, lanes, outbox, and who works on what."""

from cometbot.delivery.deadletters import DeadLetter, DeadLetters
from cometbot.delivery.delivery import Backlog, Delivery
from cometbot.delivery.engine import Check, Engine
from cometbot.delivery.observer import Observer
from cometbot.delivery.pacing import Backoff, SendPolicy
from cometbot.delivery.threads import ThreadEngine

__all__ = [
    "Backlog",
    "Backoff",
    "Check",
    "DeadLetter",
    "DeadLetters",
    "Delivery",
    "Engine",
    "Observer",
    "SendPolicy",
    "ThreadEngine",
]
