"""The client for the SimpleX CLI that handlers use: ``ctx.client``."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from cometbot import private_files
from cometbot.channels.simplex.chats import fetch_groups, fetch_items_after
from cometbot.channels.simplex.download_tracker import DownloadResult, DownloadTracker, make_download_result
from cometbot.channels.simplex.errors import CommandRejected, ConnectionLost, NotConnected
from cometbot.channels.simplex.files import NO_FOLDER_TEXT, FileRef, SharedFolder
from cometbot.channels.simplex.models import Contact, File, GroupInfo, Member
from cometbot.channels.simplex.protocol import Command, Record, commands
from cometbot.channels.simplex.schemas import read_field, read_item_or_none
from cometbot.errors import BotError, ChannelError, OutcomeUnknown, PayloadError, Rejected
from cometbot.models import Attachment

_IN_PROGRESS_TAGS = ("fileAlreadyReceiving", "fileAlreadyExists")
_POLL_INTERVAL = 1.0
_STATUS_INTERVAL = 5.0
_RETRY_INTERVAL = 0.2
_READ_ONLY_KEYWORDS = frozenset(
    {"/user", "/users", "/_show_address", "/_members", "/_contacts", "/_groups", "/_get", "/get", "/version"}
)
_NO_CONNECTION_TEXT = (
    "this process has no connection to SimpleX: the process `cometbot simplex` has it. Let that process handle the "
    "bot's messages (start it without --no-handlers, and no worker with the channel simplex)"
)


class CommandSender(Protocol):
    """An object that sends commands, such as :class:`Connection`."""

    def command(self, command: Command | str, *, timeout: float | None = None, wait: float = 0.0) -> Record:
        """Send a command and return the CLI's answer."""
        ...


class SimplexClient:
    """A client for the SimpleX CLI that acts as the bot's own profile.

    Contacts and groups are identified by their ids (``ctx.sender.uid``, ``ctx.event.group.guid``). The methods raise
    the errors of :mod:`cometbot.channels.simplex.errors`, with the CLI's own tags. In a process without the connection
    all of them raise :class:`BotError`.
    """

    def __init__(
        self,
        connection: CommandSender | None,
        user_id: Callable[[], int],
        downloads: DownloadTracker,
        folder: SharedFolder | None,
        limit: int,
    ) -> None:
        self._connection, self._user_id, self._downloads = connection, user_id, downloads
        self._shared_folder, self._limit = folder, limit

    def command(self, command: Command | str, *, timeout: float | None = None) -> Mapping[str, Any]:
        """Send any command and return the CLI's raw answer.

        ``command`` is written as in the CLI's console (``/get subs``) or made by ``protocol.commands``. Do not insert
        users' text into a command string of your own: it could end a parameter and begin another.
        """
        return self._run_command(command, timeout=timeout).raw

    def contacts(self) -> list[Contact]:
        """Return all contacts with their pictures. With thousands of contacts that is many megabytes."""
        answer = self._run_command(commands.list_contacts(self._get_user_id()))
        return read_field(answer, "contacts") or []

    def groups(self, search: str = "") -> list[GroupInfo]:
        """Return the groups that the bot is in.

        With ``search``, only those whose name contains it, case-insensitively.
        """
        answer, is_searched = fetch_groups(self._run_command, self._get_user_id(), search)
        found: list[GroupInfo] = read_field(answer, "groups") or []
        if is_searched:
            return found
        return [group for group in found if search.casefold() in group.name.casefold()]

    def members(self, group: str | int) -> list[Member]:
        """Return the members of a group, without the bot."""
        return read_field(self._run_command(commands.list_members(_parse_number(group))), "group") or []

    def add_member(self, group: str | int, contact: str | int, role: str = "member") -> None:
        """Invite a contact to a group. The bot must be an admin or owner of the group."""
        self._run_command(commands.add_member(_parse_number(group), _parse_number(contact), role))

    def accept(self, request: str | int) -> None:
        """Accept a contact request, given as ``ctx.sender.uid`` of its event or as its id."""
        self._run_command(commands.accept_contact(_parse_number(str(request).removeprefix("request-"))))

    def reject(self, request: str | int) -> None:
        """Reject a contact request. The sender is not notified."""
        self._run_command(commands.reject_contact(_parse_number(str(request).removeprefix("request-"))))

    def join(self, group: str | int) -> None:
        """Accept an invitation to a group."""
        self._run_command(commands.join_group(_parse_number(group)))

    def receive(self, file: Attachment | File | str | int, *, limit: int | None = None, timeout: float = 120.0) -> Path:
        """Return the path of a complete file that a user sent; download the file if it is not there yet.

        ``file`` is an attachment or its ``url``. The file name is sanitised and begins with the file's id, so it is
        unique. Raises :class:`Rejected` if the file is larger than ``limit`` bytes (default: ``SIMPLEX_FILE_LIMIT``),
        if its sender cancelled it, or if the CLI stores it encrypted. Raises :class:`OutcomeUnknown` if it does not
        arrive within ``timeout`` seconds.
        """
        file_ref, max_bytes = FileRef.from_value(file), self._limit if limit is None else limit
        if file_ref.size > max_bytes:
            raise Rejected(f"the file has {file_ref.size} bytes, and the limit is {max_bytes}", code="file_too_large")
        ends_at = time.monotonic() + timeout
        cli_path, local_path = self._folder.get_download_paths(file_ref)
        if file_ref.size and _size(local_path) == file_ref.size:
            return local_path
        known = self._downloads.wait(file_ref.file_id, 0)
        if known is None or known.file is None or not self._is_on_disk(known.file):
            private_files.make_folder(local_path.parent)
            self._downloads.discard(file_ref.file_id)
            self._start_download(file_ref, cli_path, ends_at)
        path = self._wait_for_download(file_ref, local_path, ends_at, timeout)
        if _size(path) > max_bytes:
            path.unlink()
            raise Rejected(f"the file is larger than announced: over {max_bytes} bytes", code="file_too_large")
        return path

    def download(
        self, url: str, to: str | Path | None = None, *, limit: int | None = None, timeout: float = 120.0
    ) -> bytes:
        """Return the bytes of a file that a user sent. With ``to``, write them to that path and return ``b""``.

        Other channels' clients have the same method, so a handler need not know its channel. Raises the errors of
        :meth:`receive`.
        """
        path = self.receive(url, limit=limit, timeout=timeout)
        if to is None:
            return path.read_bytes()
        with path.open("rb") as file, private_files.open_file(to, "wb") as copy:
            shutil.copyfileobj(file, copy)
        return b""

    def _start_download(self, file_ref: FileRef, cli_path: str, ends_at: float) -> None:
        """Request a file, and request it again if the connection broke.

        A download in progress is not an error: an earlier run of the handler may have started it.
        """
        command = commands.receive_file(file_ref.file_id, cli_path, approved_relays=True, encrypt=False)
        while True:
            left = ends_at - time.monotonic()
            try:
                answer = self._run_command(command, timeout=max(left, 0.1))
                break
            except CommandRejected as error:
                if error.tag not in _IN_PROGRESS_TAGS:
                    raise
                return
            except (ConnectionLost, NotConnected):
                if left < _POLL_INTERVAL:
                    raise
                time.sleep(_RETRY_INTERVAL)
        if answer.type == "rcvFileAcceptedSndCancelled":
            raise Rejected("the sender cancelled the file", code="file_cancelled")

    def _wait_for_download(self, file_ref: FileRef, local_path: Path, ends_at: float, timeout: float) -> Path:
        status_checked_at = time.monotonic() - _STATUS_INTERVAL + _POLL_INTERVAL
        while (left := ends_at - time.monotonic()) > 0:
            result = self._downloads.wait(file_ref.file_id, min(left, _POLL_INTERVAL))
            if result is None and time.monotonic() - status_checked_at >= _STATUS_INTERVAL:
                result, status_checked_at = self._fetch_result(file_ref, left), time.monotonic()
            if result is not None:
                return self._check_result(result)
            if file_ref.size and _size(local_path) == file_ref.size:
                return local_path
        raise OutcomeUnknown(f"the file did not arrive within {timeout:g} s; it may still arrive")

    def _fetch_result(self, file_ref: FileRef, timeout: float) -> DownloadResult | None:
        """Return how a transfer ended according to the chat's history.

        This covers a transfer that ended before this process started, or whose event went to a connection that broke.
        Returns None while the transfer goes on, and if its message is too far back in the history.
        """
        if file_ref.chat is None:
            return None
        try:
            items = fetch_items_after(partial(self._run_command, timeout=timeout), file_ref.chat, file_ref.item_id - 1)
        except (ChannelError, PayloadError):
            return None
        files = [item.file for item in map(read_item_or_none, items) if item is not None and item.file is not None]
        return next((make_download_result(file) for file in files if file.file_id == file_ref.file_id), None)

    def _is_on_disk(self, file: File) -> bool:
        """Return True if a file received earlier is still on disk. An encrypted file need not be requested again."""
        return file.is_encrypted or self._folder.to_local_path(file.path).is_file()

    def _check_result(self, result: DownloadResult) -> Path:
        if result.file is None:
            raise Rejected(result.reason, code="file_failed")
        if result.file.is_encrypted:
            raise Rejected(
                "the SimpleX CLI stores the file encrypted, and has no command to decrypt it: turn the encryption of "
                "local files off in its settings",
                code="file_encrypted",
            )
        path = self._folder.to_local_path(result.file.path)
        if not path.is_file():
            raise Rejected(
                f"the SimpleX CLI reports a complete file, but {path} does not exist: set SIMPLEX_FILES_HERE to the "
                "path of the CLI's folder on this machine",
                code="file_missing",
            )
        return path

    @property
    def _folder(self) -> SharedFolder:
        if self._shared_folder is None:
            raise BotError(NO_FOLDER_TEXT)
        return self._shared_folder

    def _get_user_id(self) -> int:
        """Return the id of the bot's profile. Raises :class:`NotConnected` before the first connection is ready."""
        if self._connection is None:
            raise BotError(_NO_CONNECTION_TEXT)
        user_id = self._user_id()
        if user_id == 0:
            raise NotConnected("there was no connection to the SimpleX CLI yet; try again once it is ready")
        return user_id

    def _run_command(self, command: Command | str, *, timeout: float | None = None) -> Record:
        command = Command.from_value(command)
        if self._connection is None:
            raise BotError(_NO_CONNECTION_TEXT)
        return self._connection.command(command, timeout=timeout, wait=2.0)


class ReadOnlySimplexClient(SimplexClient):
    """A client for dry runs. It only reads, and calls ``on_write`` with the keyword of every other command."""

    def __init__(self, client: SimplexClient, on_write: Callable[[str], None]) -> None:
        super().__init__(client._connection, client._user_id, client._downloads, client._shared_folder, client._limit)
        self._on_write = on_write

    def _run_command(self, command: Command | str, *, timeout: float | None = None) -> Record:
        command = Command.from_value(command)
        if command.keyword in _READ_ONLY_KEYWORDS:
            return super()._run_command(command, timeout=timeout)
        self._on_write(command.keyword)
        return Record("cmdOk", {"type": "cmdOk"})

    def receive(self, file: Attachment | File | str | int, *, limit: int | None = None, timeout: float = 120.0) -> Path:
        """Return the path of a file that was received earlier. Raises :class:`Rejected` if it was not."""
        _, local_path = self._folder.get_download_paths(FileRef.from_value(file))
        if not local_path.is_file():
            self._on_write("/freceive")
            raise Rejected("the file was not received before, and a dry run downloads none", code="file_missing")
        return local_path


def _parse_number(value: str | int) -> int:
    """Return an id that may be given as text. Raises :class:`BotError` if it is not a number."""
    text = str(value)
    if not text.isascii() or not text.isdigit():
        raise BotError(f"id of a contact, group or request: expected a number, got {text[:60]!r}")
    return int(text)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else -1
    except OSError:
        return -1
