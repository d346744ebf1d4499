"""Where files lie: as the CLI names the place, and as this process does."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, urlsplit

from cometbot.channels.simplex.models import File
from cometbot.channels.simplex.parsing import FILE_SCHEME
from cometbot.channels.simplex.protocol.contents import check_path
from cometbot.channels.simplex.protocol.refs import ChatRef
from cometbot.errors import BotError, MessageError, Rejected
from cometbot.models import Attachment
from cometbot.text import clean_file_name

_MAX_NAME_BYTES = 100
_UNSAFE_CHARACTERS = re.compile(r"[\x00-\x1f!-,/:-@\[-^`{-\x9f]+")
"""Misread by shells or systems: control characters, and all of ASCII but letters, digits and ``._- ``."""
_RESERVED_NAMES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file that was offered: its number, the name that its sender chose, and its size, 0 where nobody said.

    ``chat`` and ``item_id`` say in which message, None and 0 where nobody said.
    """

    file_id: int
    name: str = ""
    size: int = 0
    chat: ChatRef | None = None
    item_id: int = 0

    @classmethod
    def from_value(cls, file: Attachment | File | str | int) -> FileRef:
        """What an attachment, its URL, or the CLI's own word for a file names. Raises :class:`MessageError`."""
        if isinstance(file, File):
            return cls(file.file_id, file.name, file.size)
        if isinstance(file, Attachment):
            found = cls.from_value(file.url)
            return replace(found, name=file.name or found.name, size=file.size or found.size)
        if isinstance(file, int) and not isinstance(file, bool):
            return cls(file)
        parts = urlsplit(file) if isinstance(file, str) and file.startswith(FILE_SCHEME) else None
        if parts is None or not re.fullmatch(r"[1-9]\d{0,18}", parts.path, re.ASCII):
            raise MessageError(
                f"a file of SimpleX is named by the url of its attachment ({FILE_SCHEME}5), not {file!r:.80}"
            )
        parameters = {name: values[0] for name, values in parse_qs(parts.query).items()}
        return cls(
            int(parts.path),
            parameters.get("name", ""),
            _parse_number(parameters.get("size")),
            _parse_chat(parameters.get("chat")),
            _parse_number(parameters.get("item")),
        )  # fmt: skip


def _parse_number(text: str | None) -> int:
    return int(text) if text and re.fullmatch(r"\d{1,18}", text, re.ASCII) else 0


def _parse_chat(text: str | None) -> ChatRef | None:
    try:
        return ChatRef.from_text(text) if text else None
    except (MessageError, ValueError):
        return None


def make_safe_name(name: str) -> str:
    """Return a name for a file on this machine, made of what a sender called it.

    It has no folders, is no hidden file, holds nothing that a shell or a system takes amiss, and has at most a hundred
    bytes; ``file`` where nothing is left.
    """
    last = clean_file_name(_UNSAFE_CHARACTERS.sub("_", re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]))
    stem, _, extension = last.rpartition(".")
    if not stem or not re.fullmatch(r"\w{1,10}", extension, re.ASCII):
        stem, extension = last, ""
    room = _MAX_NAME_BYTES - len(extension) - 2
    clean = stem.strip(" .-_").encode()[:room].decode("utf-8", "ignore").strip(" .-_") or "file"
    if not extension and clean.encode().endswith(b"\xa0"):
        # The CLI takes this byte at a command's end for a blank.
        clean += "_"
    whole = f"{clean}.{extension}" if extension else clean
    return f"_{whole}" if _RESERVED_NAMES.fullmatch(whole) else whole


@dataclass(frozen=True, slots=True)
class SharedFolder:
    """The folder that the CLI and this process share: ``there`` is what the CLI calls it, ``here`` what we do."""

    cli_path: PurePosixPath
    local_path: Path

    def get_download_paths(self, file_ref: FileRef) -> tuple[str, Path]:
        """Where a file is to be put, as the CLI names it and as we do. The same file always gets the same place."""
        name = f"{file_ref.file_id}-{make_safe_name(file_ref.name)}"
        return str(self.cli_path / name), self.local_path / name

    def to_local_path(self, path: str) -> Path:
        """Where we find what the CLI calls ``path``. Raises :class:`Rejected` for a place outside of the folder."""
        named = PurePosixPath(path)
        inside = named if not named.is_absolute() else _relative_to(named, self.cli_path)
        if inside is None or ".." in inside.parts:
            raise Rejected(
                f"the CLI put the file outside of {self.cli_path}; set SIMPLEX_FILES to the folder it was started with",
                code="file_outside",
            )
        return self.local_path / inside

    def to_cli_path(self, path: str) -> str:
        """What the CLI calls our file ``path``. Raises :class:`Rejected` for one that it cannot see, or is none."""
        local_path = Path(path).expanduser().absolute()
        if not local_path.is_file():
            raise Rejected(f"there is no file {local_path}", code="file_missing")
        if PurePosixPath(self.local_path.absolute()) == self.cli_path:
            return check_path(str(local_path))
        inside = _relative_to(PurePosixPath(local_path.resolve()), PurePosixPath(self.local_path.resolve()))
        if inside is None:
            raise Rejected(
                f"the CLI cannot see {local_path}: put it into {self.local_path}, the folder of SIMPLEX_FILES_HERE",
                code="file_outside",
            )
        return check_path(str(self.cli_path / inside))


class NoSharedFolder:
    """Where the CLI is on another machine and no folder is shared."""

    @property
    def missing_settings_error(self) -> BotError:
        """What is missing, and which settings bring it."""
        return BotError(
            "files need a folder that the SimpleX CLI and this process both see: set SIMPLEX_FILES to what the CLI "
            "calls it and SIMPLEX_FILES_HERE to what it is called here"
        )

    def get_download_paths(self, file_ref: FileRef) -> tuple[str, Path]:
        """Nowhere. Raises :class:`BotError`."""
        raise self.missing_settings_error

    def to_local_path(self, path: str) -> Path:
        """Nowhere. Raises :class:`BotError`."""
        raise self.missing_settings_error

    def to_cli_path(self, path: str) -> str:
        """Nowhere. Raises :class:`Rejected`."""
        raise Rejected(str(self.missing_settings_error), code="no_folder")


def _relative_to(path: PurePosixPath, folder: PurePosixPath) -> PurePosixPath | None:
    return path.relative_to(folder) if path.is_relative_to(folder) else None
