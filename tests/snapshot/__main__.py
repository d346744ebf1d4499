"""Record what is visible of cometbot as text: ``python -m tests.snapshot [FOLDER] [--check] [--only PART]``.

With ``--check`` nothing is written: the differences from the recorded files are printed, and the exit status is 1 if
there are any.
"""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.snapshot import answers, code, served, statements, turns

FOLDER = Path(__file__).parent / "recorded"
PARTS: Mapping[str, Callable[[], str]] = {
    "settings.txt": code.settings,
    "routes.txt": served.routes,
    "cli.txt": code.cli,
    "openapi.json": served.openapi,
    "metrics.txt": served.metrics,
    "api.txt": code.api,
    "answers.txt": answers.answers,
    "statements.txt": statements.statements,
    "faults.txt": code.faults,
    "turns.json": turns.turns,
}


def diff(name: str, recorded: str, now: str) -> str:
    """Return a unified diff from the recorded text to the one of now; empty if they are equal."""
    lines = difflib.unified_diff(
        recorded.splitlines(), now.splitlines(), f"recorded/{name}", f"now/{name}", lineterm=""
    )
    return "".join(f"{line}\n" for line in lines)


def main(arguments: Sequence[str] | None = None, parts: Mapping[str, Callable[[], str]] = PARTS) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.snapshot", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="the folder of the recorded files")
    parser.add_argument("--check", action="store_true", help="write nothing, print what differs")
    parser.add_argument("--only", default="", help="only parts whose names hold this text")
    given = parser.parse_args(arguments)
    status = 0
    if not any(given.only in name for name in parts):
        parser.error(f"--only: no part has {given.only!r} in its name; there is: {', '.join(parts)}")
    if not given.check:
        given.folder.mkdir(parents=True, exist_ok=True)
    for name, make in parts.items():
        if given.only not in name:
            continue
        file, text = given.folder / name, make()
        if not given.check:
            file.write_text(text, encoding="utf-8")
        elif difference := diff(name, file.read_text(encoding="utf-8") if file.is_file() else "", text):
            print(difference, end="")
            status = 1
    return status


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    sys.exit(main())
