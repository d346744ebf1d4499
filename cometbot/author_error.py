"""Short reports of errors in the bot author's own code, with their location there."""

from __future__ import annotations

import sys
import sysconfig
import traceback
from dataclasses import dataclass
from pathlib import Path

_PACKAGE_FOLDER = Path(__file__).resolve().parent
_LIBRARY_FOLDERS = tuple({Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")})


@dataclass(frozen=True)
class ErrorReport:
    """A short report of an exception.

    ``text`` is its message, ``place`` its location in the author's code (``shop.py, line 12``), ``code`` the line of
    code there, and ``trace`` the whole traceback.
    """

    text: str
    place: str = ""
    code: str = ""
    trace: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.text}" if self.place else self.text

    @classmethod
    def from_exception(cls, error: BaseException) -> ErrorReport:
        """Return the report of ``error``, located at the last frame of its traceback in the author's own code."""
        trace = "".join(traceback.format_exception(error))
        if isinstance(error, SyntaxError) and error.filename:
            text = f"{type(error).__name__}: {error.msg}"
            return cls(text, _format_location(error.filename, error.lineno), (error.text or "").strip(), trace)
        text = "".join(traceback.format_exception_only(error)).strip()
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_author_file(frame.filename)]
        if not frames:
            return cls(text, trace=trace)
        return cls(text, _format_location(frames[-1].filename, frames[-1].lineno), frames[-1].line or "", trace)


def author_files() -> tuple[str, ...]:
    """Return the files of all loaded modules that belong to neither cometbot nor a library."""
    found = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return tuple(sorted({file for file in found if file and is_author_file(file)}))


def is_author_file(file: str) -> bool:
    """Return True if a file of Python code is the author's own."""
    path = Path(file)
    if file.startswith("<") or path.suffix != ".py":
        return False
    resolved = path.resolve()
    return not any(resolved.is_relative_to(folder) for folder in (_PACKAGE_FOLDER, *_LIBRARY_FOLDERS))


def display_path(file: Path) -> str:
    """Return the path, relative to the current folder if it is below that."""
    return str(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)


def _format_location(file: str, line: int | None) -> str:
    shown = display_path(Path(file))
    return f"{shown}, line {line}" if line else shown
