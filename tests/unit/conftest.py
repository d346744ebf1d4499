"""What the tests of the core share: an outlet that remembers, and events that Maria sends to the bot ``helpdesk``."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from cometbot import Bot, Context, Conversation, MessageEvent, User
from cometbot.dispatch import dispatch
from cometbot.errors import LeaseLost
from cometbot.events import Event
from cometbot.messages import Capabilities, Operation
from cometbot.outcomes import Outcome
from cometbot.sinks import Transcript, Trigger
from cometbot.state import StateChange
from cometbot.steps import DialogId, Step
from cometbot.token_usage import ReportedUsage

MARIA = User("maria", "Maria")
DIRECT = Conversation("cometchat", "app", "helpdesk", "maria_user_helpdesk", "maria")
GROUP = Conversation("cometchat", "app", "helpdesk", "group_ops-room", "ops-room", is_group=True)


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Capture no records of threads that earlier tests of this process left running."""
    earlier = set(threading.enumerate()) - {threading.current_thread()}

    def is_of_this_test(_: logging.LogRecord) -> bool:
        return threading.current_thread() not in earlier

    caplog.handler.addFilter(is_of_this_test)
    yield caplog
    caplog.handler.removeFilter(is_of_this_test)


class FakeReplySink:
    """A reply sink in memory: what was posted, previewed and begun, and a state that :meth:`store` writes to."""

    def __init__(self) -> None:
        self.capabilities = Capabilities(text_limit=4000, edit=True, delete=True, react=True)
        self.client = object()
        self.posted: list[Operation] = []
        self.previews: list[tuple[int, str]] = []
        self.deltas: list[tuple[str, int, str | None]] = []
        self.started: list[tuple[str, float | None]] = []
        self.loads: list[str] = []
        self.stored: dict[tuple[str, str], dict[str, str]] = {}
        self.before: list[MessageEvent] = []
        self.answered: dict[str, str] = {}
        self.error: BaseException | None = None
        self.is_past = False
        self.pending_usage: list[ReportedUsage] = []
        self.is_cancelled = False
        self.has_stopped = False
        self.has_said_next = False
        self.statuses: list[str] = []
        self.tool_calls: list[tuple[str, str, Mapping[str, Any]]] = []
        self.tool_results: list[tuple[str, str]] = []
        self.is_closed = False
        self.prepared: list[tuple[int, Operation]] = []
        self.broken: list[tuple[int, Operation]] = []
        self.sent_marks: dict[int, int] = {}

    @property
    def texts(self) -> list[str]:
        return [item.message.to_text() for item in self.posted if item.message is not None]

    def post(self, operation: Operation) -> int:
        if self.error is not None:
            raise self.error
        self.posted.append(operation)
        return len(self.posted) - 1

    def platform_id(self, ordinal: int) -> str | None:
        return f"id-{ordinal}"

    def preview(self, ordinal: int, text: str) -> None:
        self.previews.append((ordinal, text))

    def stream_delta(self, stream_id: str, sequence: int, text: str | None) -> None:
        self.deltas.append((stream_id, sequence, text))

    def status(self, text: str) -> None:
        self.statuses.append(text)

    def show_tool_call(self, call_id: str, name: str, arguments: Mapping[str, Any]) -> None:
        self.tool_calls.append((call_id, name, arguments))

    def show_tool_result(self, call_id: str, content: str) -> None:
        self.tool_results.append((call_id, content))

    def check_open(self) -> None:
        if self.is_closed:
            raise LeaseLost

    def stream_key(self) -> int | None:
        return len(self.posted)

    def prepare_mark(self, key: int, mark: Operation) -> None:
        self.prepared.append((key, mark))

    def break_off(self, key: int, mark: Operation) -> None:
        self.broken.append((key, mark))

    def sent_mark(self, key: int) -> int | None:
        return self.sent_marks.get(key)

    def history(self, conversation: Conversation, limit: int) -> list[MessageEvent]:
        return self.before[-limit:]

    def transcript(self, conversation: Conversation, limit: int) -> Transcript:
        return Transcript(self.before[-limit:], self.answered)

    def conversation(self, bot: Bot, user: str, group: str, channel: str = "", app: str = "") -> Conversation:
        return Conversation("test", "app", bot.name, f"with_{user or group}", user or group, is_group=bool(group))

    def get_app(self, conversation: Conversation) -> str:
        return ""

    def capabilities_of(self, conversation: Conversation) -> Capabilities:
        return self.capabilities

    def load_state(self, scope: str, owner: str) -> dict[str, str]:
        self.loads.append(scope)
        return dict(self.stored.get((scope, owner), {}))

    def start_handler(self, handler: str, timeout: float | None, *, stops_on_new: bool = False) -> None:
        self.started.append((handler, timeout))

    def mark_failed(self) -> None:
        self.failed_after = len(self.posted)

    @property
    def trigger(self) -> Trigger:
        return Trigger("m712", 0, 712, 1_700_000_000.0, 0.0)

    is_rerun = False

    def record_usage(self, reported: ReportedUsage) -> None:
        self.pending_usage.append(reported)

    def load_steps(self) -> list[Step]:
        return []

    def attach_steps(self, dialog: DialogId, steps: Sequence[Step]) -> None:
        """Do nothing: only what is said is looked at."""

    def store(self, changes: tuple[StateChange, ...]) -> None:
        for change in changes:
            values = self.stored.setdefault((change.scope, change.owner), {})
            values.update(change.values)
            for name in change.removed:
                values.pop(name, None)
            for name, by in change.increments.items():
                values[name] = json.dumps(json.loads(values.get(name, "0")) + by)


class DispatchHarness:
    """Maria's talk with a bot: each event is dispatched and its changes are stored, as delivery does."""

    def __init__(self, bot: Bot, sink: FakeReplySink) -> None:
        self.bot = bot
        self.sink = sink
        self.outcome = Outcome()

    def send_text(self, text: str = "", *, options: Any = None, **parts: Any) -> list[str]:
        """What the bot says to ``text``; ``parts`` are those of the event, ``options`` those of dispatch."""
        return self.send(message(text, **parts), **(options or {}))

    def send(self, event: Event, **options: Any) -> list[str]:
        self.sink.posted.clear()
        self.outcome = dispatch(self.bot, event, self.sink, **options)
        self.sink.store(self.outcome.changes)
        return self.sink.texts + [
            item.message.to_text() for item in self.outcome.operations if item.message is not None
        ]


def message(text: str = "", **parts: Any) -> MessageEvent:
    """A message of Maria's, one-to-one unless ``conversation`` says otherwise."""
    defaults: dict[str, Any] = {"key": "message:712", "id": "712", "conversation": DIRECT, "sender": MARIA}
    return MessageEvent(text=text, **(defaults | parts))


@pytest.fixture
def sink() -> FakeReplySink:
    return FakeReplySink()


@pytest.fixture
def bot() -> Bot:
    return Bot("helpdesk")


@pytest.fixture
def harness(bot: Bot, sink: FakeReplySink) -> DispatchHarness:
    return DispatchHarness(bot, sink)


@pytest.fixture
def make_message() -> Callable[..., MessageEvent]:
    """Makes a message event: ``make_message("hi", type="image")``."""
    return message


@pytest.fixture
def context(bot: Bot, sink: FakeReplySink) -> Callable[..., Context]:
    """Makes a context for a message of Maria's: ``context("hi", thread_id="5")``."""
    return lambda text="", **parts: Context(bot, message(text, **parts), sink)


@pytest.fixture
def group() -> Conversation:
    return GROUP
