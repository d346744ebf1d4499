"""A simulator of CometChat that needs no account: its REST API, its callbacks and its users, on your own machine."""

from cometbot.simulator.actor import Actor
from cometbot.simulator.behaviour import Behaviour
from cometbot.simulator.errors import Refusal
from cometbot.simulator.journal import CallbackEntry, ChangeEntry, Entry, Log, RequestEntry
from cometbot.simulator.misbehaviour import Misbehaviour, Rule
from cometbot.simulator.records import StoredMessage
from cometbot.simulator.simulator import Simulator
from cometbot.simulator.triggers import TRIGGERS

__all__ = [
    "TRIGGERS",
    "Actor",
    "Behaviour",
    "CallbackEntry",
    "ChangeEntry",
    "Entry",
    "Log",
    "Misbehaviour",
    "Refusal",
    "RequestEntry",
    "Rule",
    "Simulator",
    "StoredMessage",
]
