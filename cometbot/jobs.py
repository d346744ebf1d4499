"""Jobs: functions that a bot runs at a time instead of for a message."""

from __future__ import annotations

import hashlib
import inspect
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, Literal

from cometbot.commands import ProvidedParameter, Signature, can_be_provided, get_python_signature, resolve_annotation
from cometbot.errors import BotError, RegistrationError
from cometbot.events import JobEvent
from cometbot.messages import Operation
from cometbot.models import Conversation, User, conversation_to_json
from cometbot.schedules import At, Schedule
from cometbot.text import replace_surrogates

Missed = Literal["once", "skip"]

JOBS_CHANNEL = "jobs"
"""The channel of the conversations in which jobs run. No platform has it."""

MAX_ARGUMENT_BYTES = 64 * 1024
"""The bytes of JSON that the arguments of one job may have."""

MAX_JOB_NAME_LENGTH = 200

CODE_SCOPE = ""
"""The scope of the jobs that the bot's code schedules when it is imported."""

BOT_SCOPE = "bot"
"""The scope of the jobs that ``bot.at`` schedules while the bot runs."""

ACCOUNT = "cometbot"
_BOT_JOB_CONVERSATIONS = 16
_CONVERSATION_MARK = "cometbot:conversation"


@dataclass(frozen=True, slots=True)
class ScheduledJob:
    """A job that the bot's code schedules: its name, the handler's name, when it runs, and its encoded arguments."""

    name: str
    handler: str
    schedule: Schedule
    missed: Missed = "once"
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """A job that runs once, or a message that is sent later.

    ``conversation`` is where the job runs or the message goes. ``content`` is JSON: of a job what :func:`make_body`
    needs, of a message its requests (``payloads``) and quick replies (``offers``), with its ``text``. A message has no
    ``handler``. ``on_wall_clock``: see :class:`cometbot.schedules.DueTime`. ``key`` names the call that planned it, the
    same in every run of its handler; empty outside of handlers.
    """

    name: str
    handler: str
    conversation: Conversation
    due_at: float
    on_wall_clock: bool
    content: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""


@dataclass(frozen=True, slots=True)
class JobChange:
    """The job of ``scope``, a conversation's key, that is added, or removed if ``planned`` is None.

    ``operation`` is what sends a message that is planned, to be rendered when it is stored. With ``key``, only the job
    with this key is removed.
    """

    bot: str
    scope: str
    name: str
    planned: PlannedJob | None = None
    operation: Operation | None = None
    key: str = ""

    def with_payloads(self, payloads: Sequence[Mapping[str, Any]]) -> JobChange:
        """Return the change with the rendered requests of its message."""
        if self.planned is None:
            return self
        planned = replace(self.planned, content={**self.planned.content, "payloads": list(payloads)})
        return replace(self, planned=planned, operation=None)


class Job:
    """A job or message that is still to come. ``at`` is when, in UTC.

    ``job`` is the name of the function (``module.remind``), empty for a message. ``arguments`` are those of the
    function, ``text`` is that of a message.
    """

    def __init__(self, name: str, job: str, at: float, content: Mapping[str, Any], cancel: Callable[[], None]) -> None:
        self.name = name
        self.job = job
        self.at = datetime.fromtimestamp(at, timezone.utc)
        self.arguments: dict[str, Any] = decode_arguments(content.get("arguments", {}))
        self.text: str = content.get("text", "")
        self._cancel = cancel

    def __repr__(self) -> str:
        return f"<Job {self.name} at {self.at:%Y-%m-%d %H:%M:%S} UTC>"

    def cancel(self) -> None:
        """Cancel the job; nothing happens if it has begun or is over."""
        self._cancel()


def check_job_name(name: str) -> str:
    """Return ``name``. Raises :class:`BotError` if a job cannot have it."""
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= MAX_JOB_NAME_LENGTH:
        raise BotError(
            f"name: expected 1 to {MAX_JOB_NAME_LENGTH} printable characters without line breaks, got {name!r}"
        )
    if name.startswith("#"):
        raise BotError(f"name: expected a name that does not begin with #, got {name!r}")
    return name


def make_job_name(handler: str, schedule: Schedule, arguments: Mapping[str, Any]) -> str:
    """Return the name of a job that has none of its own; for one that runs once, it names the time and arguments."""
    name = handler.rpartition(".")[2]
    if not isinstance(schedule, At):
        return name
    at = datetime.fromtimestamp(schedule.time, timezone.utc).isoformat().replace("+00:00", "Z")
    text = json.dumps(arguments, sort_keys=True)
    digest = f" {hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}" if arguments else ""
    return f"{name} {at}{digest}"


def check_missed(missed: str) -> Missed:
    """Return ``missed``. Raises :class:`RegistrationError` unless it is ``once`` or ``skip``."""
    if missed not in ("once", "skip"):
        raise RegistrationError(f'missed: expected "once" or "skip", got {missed!r}')
    return "once" if missed == "once" else "skip"


def make_conversation(bot: str, id: str) -> Conversation:
    """Return the conversation in which a job of the bot's code runs, named by its ``id``."""
    return Conversation(JOBS_CHANNEL, ACCOUNT, bot, id, "")


def make_bot_job(bot: str, job: ScheduledJob) -> JobChange:
    """Return the change that adds a job of the bot, which runs once, from outside of handlers."""
    # Several conversations, so that many jobs of one function do not wait for each other.
    number = zlib.crc32(job.name.encode("utf-8", "replace")) % _BOT_JOB_CONVERSATIONS
    where = make_conversation(bot, f"{job.handler}#{number}")
    due_at = job.schedule.next_after(float("-inf"))
    assert due_at is not None
    content = make_content(job.arguments)
    return JobChange(bot, BOT_SCOPE, job.name, PlannedJob(job.name, job.handler, where, due_at, True, content))


def make_inner_conversation(bot: str, scope: str) -> Conversation:
    """Return the conversation in which the jobs run that handlers of the conversation ``scope`` schedule."""
    return make_conversation(bot, f"#{hashlib.blake2b(scope.encode('utf-8', 'replace'), digest_size=12).hexdigest()}")


def inspect_job(function: Callable[..., Any], name: str) -> Signature:
    """Return the signature of a job's function, with the parameters alone that the bot provides.

    Raises :class:`RegistrationError` for a function without a context, or with parameters that have no name.
    """
    parameters = list(get_python_signature(function, name).parameters.values())
    if not parameters or parameters[0].kind not in (parameters[0].POSITIONAL_ONLY, parameters[0].POSITIONAL_OR_KEYWORD):
        raise RegistrationError(f"{name} must take the context first: def {name.rpartition('.')[2]}(ctx, …)")
    provided = []
    for item in parameters[1:]:
        if item.kind in (item.POSITIONAL_ONLY, item.VAR_POSITIONAL):
            raise RegistrationError(f"{item.name} of {name}: the arguments of a job are named; remove the * or /")
        annotation = resolve_annotation(function, name, item)
        if annotation is not Conversation and can_be_provided(annotation):
            provided.append(ProvidedParameter(item.name, annotation, None))
    return Signature(provided=tuple(provided))


def check_arguments(
    function: Callable[..., Any], signature: Signature, name: str, arguments: Mapping[str, Any]
) -> None:
    """Raise :class:`BotError` unless ``arguments`` fill the parameters of a job's function."""
    provided = {item.name: None for item in signature.provided}
    try:
        inspect.signature(function).bind(None, **{**provided, **arguments})
    except TypeError as error:
        raise BotError(f"the arguments {sorted(arguments)} do not fit the job {name}: {error}") from None


def encode_arguments(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a job as JSON values.

    Raises :class:`BotError` for anything but JSON and conversations, and for more than :data:`MAX_ARGUMENT_BYTES`.
    """
    plain = {key: _encode(value) for key, value in arguments.items()}
    try:
        text = json.dumps(plain, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise BotError(f"the arguments of the job {name} must be JSON or a Conversation: {error}") from None
    if len(text) > MAX_ARGUMENT_BYTES:
        raise BotError(
            f"the arguments of the job {name} have {len(text)} bytes as JSON, and may have {MAX_ARGUMENT_BYTES}; pass "
            "an id and keep the rest in your database"
        )
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def decode_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that :func:`encode_arguments` has encoded."""
    return {key: _decode(value) for key, value in arguments.items()}


def _encode(value: Any) -> Any:
    return (
        {_CONVERSATION_MARK: conversation_to_json(value)}
        if isinstance(value, Conversation)
        else replace_surrogates(value)
    )


def _decode(value: Any) -> Any:
    is_marked = isinstance(value, Mapping) and list(value) == [_CONVERSATION_MARK]
    return Conversation(**value[_CONVERSATION_MARK]) if is_marked else value


def make_content(
    arguments: Mapping[str, Any], origin: Conversation | None = None, user: User | None = None
) -> dict[str, Any]:
    """Return the content of a job: its encoded arguments, and where and by whom it was scheduled."""
    content: dict[str, Any] = {"arguments": dict(arguments)}
    if origin is not None:
        content["origin"] = conversation_to_json(origin)
    if user is not None and user.uid:
        content["user"] = {"uid": user.uid, "name": user.name, "lasting_id": user.lasting_id}
    return content


def make_body(handler: str, name: str, due_at: float, content: Mapping[str, Any]) -> bytes:
    """Return the body of the event with which a job begins."""
    return json.dumps({**content, "handler": handler, "name": name, "due_at": due_at}).encode()


def parse_body(key: str, conversation: Conversation, body: bytes) -> JobEvent:
    """Return the event of a body that :func:`make_body` has made."""
    content = json.loads(body)
    origin = content.get("origin")
    return JobEvent(
        key=key,
        conversation=conversation,
        sender=User(**content.get("user", {"uid": ""})),
        sent_at=content["due_at"],
        handler=content["handler"],
        name=content["name"],
        due_at=content["due_at"],
        arguments=decode_arguments(content["arguments"]),
        origin=Conversation(**origin) if origin is not None else None,
    )


def find_duplicate(jobs: Sequence[ScheduledJob]) -> str:
    """Return a name that two of the jobs have, or ""."""
    names = [job.name for job in jobs]
    return next((name for name in names if names.count(name) > 1), "")
