"""Where files lie: as the CLI names the place, and as this process does."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, urlsplit

from cometbot.channels.simplex.parsing import FILE_SCHEME
from cometbot.channels.simplex.protocol.contents import check_path
from cometbot.channels.simplex.protocol.refs import ChatRef
from cometbot.channels.simplex.views import File
from cometbot.errors import BotError, MessageError, Rejected
from cometbot.models import Attachment
from cometbot.text import clean_file_name

_LONGEST_NAME = 100
_UNSAFE = re.compile(r"[\x00-\x1f!-,/:-@\[-^`{-\x9f]+")
"""Misread by shells or systems: control characters, and all of ASCII but letters, digits and ``._- ``."""
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that was offered: its number, the name that its sender chose, and its size, 0 where nobody said.

    ``chat`` and ``item_id`` say in which message, None and 0 where nobody said.
    """

    file_id: int
    name: str = ""
    size: int = 0
    chat: ChatRef | None = None
    item_id: int = 0

    @classmethod
    def of(cls, file: Attachment | File | str | int) -> Wanted:
        """What an attachment, its URL, or the CLI's own word for a file names. Raises :class:`MessageError`."""
        if isinstance(file, File):
            return cls(file.file_id, file.name, file.size)
        if isinstance(file, Attachment):
            found = cls.of(file.url)
            return replace(found, name=file.name or found.name, size=file.size or found.size)
        if isinstance(file, int) and not isinstance(file, bool):
            return cls(file)
        parts = urlsplit(file) if isinstance(file, str) and file.startswith(FILE_SCHEME) else None
        if parts is None or not re.fullmatch(r"[1-9]\d{0,18}", parts.path, re.ASCII):
            raise MessageError(
                f"a file of SimpleX is named by the url of its attachment ({FILE_SCHEME}5), not {file!r:.80}"
            )
        said = {name: values[0] for name, values in parse_qs(parts.query).items()}
        return cls(
            int(parts.path), said.get("name", ""), _number(said.get("size")), _chat(said.get("chat")),
            _number(said.get("item")),
        )  # fmt: skip


def _number(text: str | None) -> int:
    return int(text) if text and re.fullmatch(r"\d{1,18}", text, re.ASCII) else 0


def _chat(text: str | None) -> ChatRef | None:
    try:
        return ChatRef.from_text(text) if text else None
    except (MessageError, ValueError):
        return None


def safe_name(name: str) -> str:
    """Return a name for a file on this machine, made of what a sender called it.

    It has no folders, is no hidden file, holds nothing that a shell or a system takes amiss, and has at most a hundred
    bytes; ``file`` where nothing is left.
    """
    last = clean_file_name(_UNSAFE.sub("_", re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]))
    stem, _, extension = last.rpartition(".")
    if not stem or not re.fullmatch(r"\w{1,10}", extension, re.ASCII):
        stem, extension = last, ""
    room = _LONGEST_NAME - len(extension) - 2
    clean = stem.strip(" .-_").encode()[:room].decode("utf-8", "ignore").strip(" .-_") or "file"
    if not extension and clean.encode().endswith(b"\xa0"):
        # The CLI takes this byte at a command's end for a blank.
        clean += "_"
    whole = f"{clean}.{extension}" if extension else clean
    return f"_{whole}" if _RESERVED.fullmatch(whole) else whole


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder that the CLI and this process share: ``there`` is what the CLI calls it, ``here`` what we do."""

    there: PurePosixPath
    here: Path

    def target(self, wanted: Wanted) -> tuple[str, Path]:
        """Where a file is to be put, as the CLI names it and as we do. The same file always gets the same place."""
        name = f"{wanted.file_id}-{safe_name(wanted.name)}"
        return str(self.there / name), self.here / name

    def find_here(self, path: str) -> Path:
        """Where we find what the CLI calls ``path``. Raises :class:`Rejected` for a place outside of the folder."""
        named = PurePosixPath(path)
        inside = named if not named.is_absolute() else _relative(named, self.there)
        if inside is None or ".." in inside.parts:
            raise Rejected(
                f"the CLI put the file outside of {self.there}; set SIMPLEX_FILES to the folder it was started with",
                code="file_outside",
            )
        return self.here / inside

    def find_there(self, path: str) -> str:
        """What the CLI calls our file ``path``. Raises :class:`Rejected` for one that it cannot see, or is none."""
        here = Path(path).expanduser().absolute()
        if not here.is_file():
            raise Rejected(f"there is no file {here}", code="file_missing")
        if PurePosixPath(self.here.absolute()) == self.there:
            return check_path(str(here))
        inside = _relative(PurePosixPath(here.resolve()), PurePosixPath(self.here.resolve()))
        if inside is None:
            raise Rejected(
                f"the CLI cannot see {here}: put it into {self.here}, the folder of SIMPLEX_FILES_HERE",
                code="file_outside",
            )
        return check_path(str(self.there / inside))


class NoFolder:
    """Where the CLI is on another machine and no folder is shared."""

    @property
    def problem(self) -> BotError:
        """What is missing, and which settings bring it."""
        return BotError(
            "files need a folder that the SimpleX CLI and this process both see: set SIMPLEX_FILES to what the CLI "
            "calls it and SIMPLEX_FILES_HERE to what it is called here"
        )

    def target(self, wanted: Wanted) -> tuple[str, Path]:
        """Nowhere. Raises :class:`BotError`."""
        raise self.problem

    def find_here(self, path: str) -> Path:
        """Nowhere. Raises :class:`BotError`."""
        raise self.problem

    def find_there(self, path: str) -> str:
        """Nowhere. Raises :class:`Rejected`."""
        raise Rejected(str(self.problem), code="no_folder")


def _relative(path: PurePosixPath, folder: PurePosixPath) -> PurePosixPath | None:
    return path.relative_to(folder) if path.is_relative_to(folder) else None
