"""Who gets to know that a conversation has mail, and on what threads it is worked through."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from cometbot.delivery.roles import ProcessRoles
from cometbot.dispatch import ErrorClasses


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to be right for bots to answer. ``detail`` says what is, and what to do if it is not.

    ``ok`` is None where it could not be found out.
    """

    name: str
    ok: bool | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SharedTask:
    """Something that one process has to do for all of them, every ``interval`` or so.

    With a ``queue`` it is for one of the processes that take wakes from that queue.
    """

    interval: float
    function: Callable[[], object]
    queue: str = ""


SharedTasks = Mapping[str, SharedTask]


class Engine(ABC):
    """Wakes lanes and runs them.

    A wake is only a hint: it may be lost, doubled or late, and nothing breaks, because a lane reads its conversation
    until it is empty and a sweep wakes what was forgotten. Exclusion is the lease's business, not the engine's.
    ``needs_maintenance_thread`` is false for an engine whose owner sweeps and keeps time himself; then no thread does
    it.
    """

    needs_maintenance_thread: ClassVar[bool] = True
    reraise: ErrorClasses = ()
    """What a handler may raise to end whoever runs it, instead of failing its message: nothing in threads of our own,
    which no signal interrupts."""
    runs_shared_tasks: ClassVar[bool] = False
    """Whether :meth:`schedule` sees to the duties that are shared; if not, every process does them."""

    def schedule(self, tasks: SharedTasks, roles: ProcessRoles) -> None:
        """Do ``tasks`` from :meth:`start` on, each in one process at a time, and take wakes that fit ``roles``."""

    @abstractmethod
    def start(self, process_conversation: Callable[[str], None]) -> None:
        """Begin to call ``work(lane)`` for lanes that are woken. Threads begin here, hence after a fork."""

    @abstractmethod
    def notify(self, conversation_key: str, *, to_send: bool = False) -> None:
        """Ask for ``conversation_key`` to be worked through soon. Never blocks, never raises.

        ``to_send``: by a process that can send to its channel, since replies wait there.
        """

    @abstractmethod
    def replace_thread(self, thread_id: int) -> None:
        """Do without a thread whose handler does not end, and put another in its place."""

    @abstractmethod
    def stop(self, timeout: float) -> bool:
        """Begin nothing new, and wait up to ``timeout`` seconds for what runs; whether all of it ended."""

    @abstractmethod
    def checks(self) -> list[Check]:
        """Whether lanes can be worked through."""
