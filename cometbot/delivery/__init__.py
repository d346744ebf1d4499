"""From "stored" to "answered": mailbox, lanes, outbox, and who works on what."""

from cometbot.delivery.dead_letters import DeadLetter, DeadLetters
from cometbot.delivery.delivery import Backlog, Delivery
from cometbot.delivery.engine import Check, Engine
from cometbot.delivery.observer import Observer
from cometbot.delivery.thread_engine import ThreadEngine
from cometbot.delivery.throttle import Backoff, SendPolicy

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
