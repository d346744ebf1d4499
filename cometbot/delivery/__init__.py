"""From the stored event to the sent reply: mailbox, conversation runners, outbox and leases."""

from cometbot.backoff import Backoff
from cometbot.delivery.delivery import Backlog, Delivery
from cometbot.delivery.engine import Check, Engine, ThreadEngine
from cometbot.delivery.sending import SendPolicy
from cometbot.inspection.dead_letters import DeadLetter, DeadLetters

__all__ = [
    "Backlog",
    "Backoff",
    "Check",
    "DeadLetter",
    "DeadLetters",
    "Delivery",
    "Engine",
    "SendPolicy",
    "ThreadEngine",
]
