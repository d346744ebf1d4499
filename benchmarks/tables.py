"""Tables in Markdown, as the benchmarks print them and the README keeps them."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; numbers are rounded to what can be told apart."""
    lines = [head, ["---"] * len(head), *([_text(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:.0f}" if cell >= 100 else f"{cell:.1f}" if cell >= 10 else f"{cell:.2f}"
    return str(cell)


def machine() -> str:
    """What was measured on, in two lines, and how busy it was before."""
    packages = ("Flask", "Werkzeug", "gunicorn", "SQLAlchemy", "orjson", "marshmallow", "requests", "slack-bolt")
    versions = ", ".join(f"{name} {_version(name)}" for name in packages)
    busy = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores of {_processor()}, {platform.system()} {platform.release()}, load before {busy:.2f}\n"
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {versions}"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # one of the extra "bench"
        return "not installed"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()
