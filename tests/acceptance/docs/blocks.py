"""The blocks of the pages, and the closed list of reasons for which a block of commands does not run in a test.

A comment such as ``<!-- not run: docker -->`` on the line before a block names its reason. Readers do not see it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]
SKIP_REASONS = ("docker", "systemd", "real CometChat", "real SimpleX CLI")
_BLOCK = re.compile(r"^(?:<!-- not run: ([^\n]*) -->\n)?[ \t]*```(\w+)\n(.*?)^[ \t]*```$", re.S | re.M)
_FILE = re.compile(r"# (\w+\.py)\n")


@dataclass(frozen=True)
class Block:
    """A block of a page: its language, its text, and why it does not run, if it does not."""

    page: str
    language: str
    text: str
    reason: str

    @property
    def file(self) -> str:
        """The name of the file that the block is, or an empty text."""
        match = _FILE.match(self.text) if self.language == "python" else None
        return match[1] if match else ""

    @property
    def lines(self) -> list[str]:
        """The command lines, each whole."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page that name their language."""
    name = str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else page.name
    return [Block(name, language, text, reason) for reason, language, text in _BLOCK.findall(page.read_text())]


def all_blocks(language: str) -> Iterator[Block]:
    """Yield the blocks of all pages in one language."""
    for page in PAGES:
        yield from (block for block in blocks_of(page) if block.language == language)
