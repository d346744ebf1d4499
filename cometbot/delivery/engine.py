"""The interface of an engine: it receives notifications of pending work and runs conversations in threads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from cometbot.delivery.roles import ProcessRoles
from cometbot.dispatch import ErrorClasses


@dataclass(frozen=True, slots=True)
class Check:
    """One requirement for bots to answer.

    ``detail`` describes its state, and what to do if it fails. ``ok`` is None if the state is unknown.
    """

    name: str
    ok: bool | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SharedTask:
    """A task that one process does for all of them, about every ``interval`` seconds.

    With a ``queue``, it runs in one of the processes that receive jobs from that queue.
    """

    interval: float
    function: Callable[[], object]
    queue: str = ""


SharedTasks = Mapping[str, SharedTask]


class Engine(ABC):
    """Receives notifications and runs the conversations they name.

    A notification is only a hint: it may be lost, doubled or late. Nothing breaks then, because a runner reads its
    conversation until it is empty, and a sweep notifies again for abandoned work. Mutual exclusion is the task of the
    lease, not of the engine. ``needs_maintenance_thread`` is False for an engine whose owner runs the sweep and the
    timers; then no thread is started for them.
    """

    needs_maintenance_thread: ClassVar[bool] = True
    reraise: ErrorClasses = ()
    """Exceptions of a handler that are raised to the caller of the runner, instead of failing the message.

    Empty for engines whose threads cometbot starts itself, because no signal interrupts those.
    """
    runs_shared_tasks: ClassVar[bool] = False
    """True if :meth:`schedule` runs the shared tasks; otherwise every process runs them."""

    def schedule(self, tasks: SharedTasks, roles: ProcessRoles) -> None:
        """Run ``tasks`` from :meth:`start` on, each in one process at a time.

        Receive only notifications that fit ``roles``.
        """

    @abstractmethod
    def start(self, process_conversation: Callable[[str], None]) -> None:
        """Begin to call ``process_conversation(conversation_key)`` for notified conversations.

        The threads are started here, hence after a fork.
        """

    @abstractmethod
    def notify(self, conversation_key: str, *, to_send: bool = False) -> None:
        """Request that ``conversation_key`` is processed soon. Never blocks, never raises.

        With ``to_send``, a process is needed that can send to its channel, because replies wait there.
        """

    @abstractmethod
    def replace_thread(self, thread_id: int) -> None:
        """Stop using a thread whose handler does not end, and start another in its place."""

    @abstractmethod
    def stop(self, timeout: float) -> bool:
        """Start nothing new, wait up to ``timeout`` seconds for running work, and return True if all of it ended."""

    @abstractmethod
    def checks(self) -> list[Check]:
        """Return the checks of whether conversations can be processed."""
