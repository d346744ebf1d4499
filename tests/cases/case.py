"""A case: a folder with a README and inputs, and the check that says what was expected and what was seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

README_NAME = "README"


@dataclass(frozen=True)
class Finding:
    """Expected and seen values of a check; ``ok`` if that is the same for all that matters."""

    expected: str
    seen: str
    ok: bool


class Case:
    """A folder of inputs, with a place for servers, files and browsers that end with the check."""

    def __init__(self, name: str, folder: Path, work: Path, stack: ExitStack) -> None:
        self.name = name
        self.folder = folder
        self.work = work
        self.stack = stack

    def read(self, name: str) -> bytes:
        """The content of an input."""
        return (self.folder / name).read_bytes()


Check = Callable[[Case], Finding]

CHECKS: dict[str, Check] = {}
"""The check of each case, by the name of its folder (``callback/text-null``)."""


def check(name: str) -> Callable[[Check], Check]:
    """Register the check of the case ``name``."""

    def register(function: Check) -> Check:
        assert name not in CHECKS, f"two checks for {name}"
        CHECKS[name] = function
        return function

    return register


def find_folders(folder: Path) -> Mapping[str, Path]:
    """The folders of all cases below ``folder``, by name."""
    return {str(file.parent.relative_to(folder)): file.parent for file in sorted(folder.rglob(README_NAME))}


def pair(folders: Mapping[str, Path], checks: Mapping[str, Check]) -> Iterator[tuple[str, Path | None, Check | None]]:
    """Each case with its folder and its check; one of the two is None where it is missing."""
    for name in sorted({*folders, *checks}):
        yield name, folders.get(name), checks.get(name)
