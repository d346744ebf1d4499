"""Run every case of a folder against a fresh server: ``python -m tests.cases [FOLDER] [--only TEXT]``.

The exit status is 1 if a case fails, has no check, or a check has no case.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from cometbot.temporary_folders import TemporaryFolder
from tests.cases import callbacks, chat_servers, commands, databases, pages, replies
from tests.cases.case import CHECKS, Case, Check, Finding, find_folders, pair

ROOT = Path(__file__).parents[2]
FOLDER = ROOT.parent / "shared" / "cases"
MODULES = (callbacks, chat_servers, commands, databases, pages, replies)
"""Each of them registers its checks."""


def run(name: str, folder: Path | None, check: Check | None) -> Finding:
    """Return the outcome of one case. An error of its check is a failure."""
    if folder is None:
        return Finding("a folder for this check", "no folder", False)
    if check is None:
        return Finding("a check for this folder", "no check", False)
    with TemporaryFolder("case") as work:
        try:
            with ExitStack() as stack:
                return check(Case(name, folder, work, stack))
        except Exception as error:
            return Finding("a check that ends", f"{type(error).__name__}: {error}", False)


def run_all(folder: Path, checks: Mapping[str, Check], only: str = "") -> int:
    """Print a line for each case, and return how many failed."""
    failed = total = 0
    for name, place, check in pair(find_folders(folder), checks):
        if only not in name:
            continue
        began = time.monotonic()
        finding = run(name, place, check)
        total += 1
        failed += not finding.ok
        print(f"{'ok  ' if finding.ok else 'FAIL'} {name} ({time.monotonic() - began:.1f} s)")
        print(f"     expected: {finding.expected}\n     seen:     {finding.seen}", flush=True)
    print(f"{total} cases, {failed} failed")
    return failed


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cases", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="the folder with the cases")
    parser.add_argument("--only", default="", help="only cases whose names hold this text")
    given = parser.parse_args(arguments)
    if not given.folder.is_dir():
        parser.error(f"{given.folder} is no folder; name the one with the cases")
    return 1 if run_all(given.folder, CHECKS, given.only) else 0


if __name__ == "__main__":
    # An exit, so that the servers of the running case end with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
