"""What the bot's process tells its parent: JSON lines through a pipe."""

from __future__ import annotations

import json
import logging
import os
import sys
import sysconfig
import threading
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parents[2]
_LIBRARIES = tuple({Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")})


@dataclass(frozen=True)
class Fault:
    """An exception, in few words: what it says, where in the author's code it arose (``shop.py, line 12``), the line of
    code there, and the whole traceback."""

    text: str
    place: str = ""
    code: str = ""
    trace: str = ""

    @classmethod
    def from_exception(cls, error: BaseException) -> Fault:
        """The fault behind ``error``, where the author's own code comes last in its traceback."""
        trace = "".join(traceback.format_exception(error))
        if isinstance(error, SyntaxError) and error.filename:
            text = f"{type(error).__name__}: {error.msg}"
            return cls(text, _place(error.filename, error.lineno), (error.text or "").strip(), trace)
        text = "".join(traceback.format_exception_only(error)).strip()
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_own(frame.filename)]
        if not frames:
            return cls(text, trace=trace)
        return cls(text, _place(frames[-1].filename, frames[-1].lineno), frames[-1].line or "", trace)


@dataclass(frozen=True)
class BotInfo:
    """A bot that the process serves: its name, its CometChat UID, and the commands it knows, with their slashes."""

    name: str
    uid: str
    commands: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ready:
    """The process serves these bots. ``files`` are those of the author's code."""

    bots: tuple[BotInfo, ...]
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failed:
    """The process could not begin. ``is_setting``: the fault's text is a sentence about what was asked for."""

    fault: Fault
    is_setting: bool = False
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Logged:
    """A log record."""

    level: int
    logger: str
    text: str
    fault: Fault | None = None


@dataclass(frozen=True)
class Printed:
    """A line of the process's output."""

    text: str


Report = Ready | Failed | Logged | Printed


class Reporter(logging.Handler):
    """Writes reports to a file descriptor, from any thread; each log record that it gets is one."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._file = os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace")
        self._writing = threading.Lock()

    def report(self, report: Report) -> None:
        """Tell the parent, if it is still there."""
        line = json.dumps({"kind": type(report).__name__, **asdict(report)})
        try:
            with self._writing:
                self._file.write(line + "\n")
                self._file.flush()
        except (OSError, ValueError):
            return

    def emit(self, record: logging.LogRecord) -> None:
        """Tell the parent of a record."""
        try:
            error = record.exc_info[1] if record.exc_info else None
            fault = Fault.from_exception(error) if error else None
            self.report(Logged(record.levelno, record.name, record.getMessage(), fault))
        except Exception:
            self.handleError(record)


def read_report(line: str) -> Report:
    """The report that a :class:`Reporter` wrote as ``line``."""
    values: dict[str, Any] = json.loads(line)
    kind = values.pop("kind")
    if kind == "Ready":
        bots = tuple(BotInfo(**{**bot, "commands": tuple(bot["commands"])}) for bot in values["bots"])
        return Ready(bots, tuple(values["files"]))
    if kind == "Failed":
        return Failed(_read_fault(values["fault"]), values["is_setting"], tuple(values["files"]))
    if kind == "Logged":
        return Logged(**{**values, "fault": _read_fault(values["fault"]) if values["fault"] else None})
    return Printed(**values)


def own_files() -> tuple[str, ...]:
    """The files of all modules that belong to the author: neither cometbot's nor a library's."""
    found = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return tuple(sorted({file for file in found if file and is_own(file)}))


def is_own(file: str) -> bool:
    """Whether a file of Python code is the author's own."""
    path = Path(file)
    if file.startswith("<") or path.suffix != ".py":
        return False
    resolved = path.resolve()
    return not any(resolved.is_relative_to(folder) for folder in (_PACKAGE, *_LIBRARIES))


def _read_fault(values: Mapping[str, str]) -> Fault:
    return Fault(**values)


def _place(file: str, line: int | None) -> str:
    path = Path(file)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{shown}, line {line}" if line else str(shown)
