"""File references, and the paths of files as the CLI and as this process see them."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, urlsplit

from cometbot.channels.simplex.endpoint import Endpoint
from cometbot.channels.simplex.models import File
from cometbot.channels.simplex.parsing import FILE_SCHEME
from cometbot.channels.simplex.protocol.contents import check_path
from cometbot.channels.simplex.protocol.refs import ChatRef
from cometbot.errors import MessageError, Rejected
from cometbot.models import Attachment
from cometbot.settings import Settings
from cometbot.text import clean_file_name

_MAX_NAME_BYTES = 100
_UNSAFE_CHARACTERS = re.compile(r"[\x00-\x1f!-,/:-@\[-^`{-\x9f]+")
"""Characters misread by shells or systems: control characters, and all of ASCII but letters, digits and ``._- ``."""
_RESERVED_NAMES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)

NO_FOLDER_TEXT = (
    "files need a folder that the SimpleX CLI and this process share: set SIMPLEX_FILES to its path for the CLI and "
    "SIMPLEX_FILES_HERE to its path for this process"
)


@dataclass(frozen=True, slots=True)
class FileRef:
    """A reference to an offered file: its id, the sender's name for it, and its size (0 if unknown).

    ``chat`` and ``item_id`` identify its message; they are None and 0 if unknown.
    """

    file_id: int
    name: str = ""
    size: int = 0
    chat: ChatRef | None = None
    item_id: int = 0

    @classmethod
    def from_value(cls, file: Attachment | File | str | int) -> FileRef:
        """Return the reference for an attachment, its URL, a :class:`File` or a file id.

        Raises :class:`MessageError`.
        """
        if isinstance(file, File):
            return cls(file.file_id, file.name, file.size)
        if isinstance(file, Attachment):
            found = cls.from_value(file.url)
            return replace(found, name=file.name or found.name, size=file.size or found.size)
        if isinstance(file, int) and not isinstance(file, bool):
            return cls(file)
        parts = urlsplit(file) if isinstance(file, str) and file.startswith(FILE_SCHEME) else None
        if parts is None or not re.fullmatch(r"[1-9]\d{0,18}", parts.path, re.ASCII):
            raise MessageError(f"file: expected the url of an attachment ({FILE_SCHEME}5), got {file!r:.80}")
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
    """Return a safe local file name for the name that a sender chose.

    It contains no folders, does not begin with a dot, has no characters that are special to a shell or a system, and
    has at most a hundred bytes. It is ``file`` if nothing else is left.
    """
    last = clean_file_name(_UNSAFE_CHARACTERS.sub("_", re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]))
    stem, _, extension = last.rpartition(".")
    if not stem or not re.fullmatch(r"\w{1,10}", extension, re.ASCII):
        stem, extension = last, ""
    room = _MAX_NAME_BYTES - len(extension) - 2
    clean = stem.strip(" .-_").encode()[:room].decode("utf-8", "ignore").strip(" .-_") or "file"
    if not extension and clean.encode().endswith(b"\xa0"):
        # The CLI trims this byte from the end of a command as whitespace.
        clean += "_"
    whole = f"{clean}.{extension}" if extension else clean
    return f"_{whole}" if _RESERVED_NAMES.fullmatch(whole) else whole


@dataclass(frozen=True, slots=True)
class SharedFolder:
    """A folder shared by the CLI and this process: at ``cli_path`` for the CLI, at ``local_path`` for this process."""

    cli_path: PurePosixPath
    local_path: Path

    def get_download_paths(self, file_ref: FileRef) -> tuple[str, Path]:
        """Return the download path of a file for the CLI and for this process.

        It is always the same for the same file.
        """
        name = f"{file_ref.file_id}-{make_safe_name(file_ref.name)}"
        return str(self.cli_path / name), self.local_path / name

    def to_local_path(self, path: str) -> Path:
        """Return the local path of the CLI's ``path``. Raises :class:`Rejected` if it is outside the folder."""
        named = PurePosixPath(path)
        inside = named if not named.is_absolute() else _relative_to(named, self.cli_path)
        if inside is None or ".." in inside.parts:
            raise Rejected(
                f"the CLI put the file outside of {self.cli_path}; set SIMPLEX_FILES to the folder it was started with",
                code="file_outside",
            )
        return self.local_path / inside

    def to_cli_path(self, path: str) -> str:
        """Return the CLI's path of the local file ``path``.

        Raises :class:`Rejected` if it is missing or not in the folder.
        """
        local_path = Path(path).expanduser().absolute()
        if not local_path.is_file():
            raise Rejected(f"the file {local_path} does not exist", code="file_missing")
        if PurePosixPath(self.local_path.absolute()) == self.cli_path:
            return check_path(str(local_path))
        inside = _relative_to(PurePosixPath(local_path.resolve()), PurePosixPath(self.local_path.resolve()))
        if inside is None:
            raise Rejected(
                f"the CLI cannot see {local_path}: put it into {self.local_path}, the folder of SIMPLEX_FILES_HERE",
                code="file_outside",
            )
        return check_path(str(self.cli_path / inside))


def get_shared_folder(settings: Settings) -> SharedFolder | None:
    """Return the folder for exchanging files with the CLI.

    It is the one of the settings, or else ``simplex`` in the data folder if the CLI is on this machine, or else None.
    """
    if settings.simplex_files:
        cli_path = PurePosixPath(settings.simplex_files)
        return SharedFolder(cli_path, Path(settings.simplex_files_here or settings.simplex_files))
    if not Endpoint.from_settings(settings).is_local:
        return None
    local_path = settings.data / "simplex"
    return SharedFolder(PurePosixPath(local_path), local_path)


def _relative_to(path: PurePosixPath, folder: PurePosixPath) -> PurePosixPath | None:
    return path.relative_to(folder) if path.is_relative_to(folder) else None
