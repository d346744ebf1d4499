"""What a handler may ask of the SimpleX CLI: ``ctx.client``."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from cometbot import private_files
from cometbot.channels.simplex.errors import CommandRejected, ConnectionLost, NotConnected
from cometbot.channels.simplex.files import Folder, NoFolder, Wanted
from cometbot.channels.simplex.groups import ask_for_groups
from cometbot.channels.simplex.protocol import Command, Record, commands
from cometbot.channels.simplex.schemas import read
from cometbot.channels.simplex.transfers import Ended, Transfers, ended_file
from cometbot.channels.simplex.views import ChatSummary, Contact, File, GroupInfo, Member
from cometbot.errors import BotError, ChannelError, PayloadError, Rejected, Uncertain
from cometbot.models import Attachment

_ON_ITS_WAY = ("fileAlreadyReceiving", "fileAlreadyExists")
_LOOK_EVERY = 1.0
_ASK_EVERY = 5.0
_PAGES, _ITEMS_A_PAGE = 20, 50
_PAUSE = 0.2
_READS = frozenset(
    {"/user", "/users", "/_show_address", "/_members", "/_contacts", "/_groups", "/_get", "/get", "/version"}
)
_HERE = (
    "this process has no connection to SimpleX: it is held by cometbot simplex. Let that process handle the bot's "
    "messages (start it without --no-handlers, and no worker with the channel simplex)"
)


class Commanding(Protocol):
    """What sends commands: a :class:`Connection`, or whatever stands for one."""

    def command(self, command: Command | str, *, timeout: float | None = None, wait: float = 0.0) -> Record:
        """The CLI's answer."""
        ...


class SimplexClient:
    """The SimpleX CLI, as the bot's own profile uses it.

    Contacts and groups are named by their numbers (``ctx.sender.uid``, ``ctx.event.group.guid``). The methods raise the
    errors of :mod:`cometbot.channels.simplex.errors`, with the CLI's own tags; in a process without the connection
    all of them raise :class:`BotError`.
    """

    def __init__(
        self,
        connection: Commanding | None,
        user_id: Callable[[], int],
        transfers: Transfers,
        folder: Folder | NoFolder,
        limit: int,
    ) -> None:
        self._connection = connection
        self._user_id = user_id
        self._transfers = transfers
        self._folder = folder
        self._limit = limit

    def command(self, command: Command | str, *, timeout: float | None = None) -> Mapping[str, Any]:
        """The CLI's raw answer to any command, as in its console (``/get subs``) or made by ``protocol.commands``.

        Keep what users wrote out of a command that you put together yourself: a text of theirs could end a parameter.
        """
        return self._ask(Command.raw(command) if isinstance(command, str) else command, timeout=timeout).raw

    def contacts(self) -> list[Contact]:
        """All contacts, with their pictures: many megabytes where there are thousands."""
        found: list[Contact] = read(self._ask(commands.list_contacts(self._user())), "contacts") or []
        return found

    def groups(self, search: str = "") -> list[GroupInfo]:
        """Return the groups that the bot is in, or those with a text in their name, in letters of any case."""
        answer, is_searched = ask_for_groups(self._ask_any, self._user(), search)
        found: list[GroupInfo] = read(answer, "groups") or []
        if is_searched:
            return found
        return [group for group in found if search.casefold() in group.name.casefold()]

    def members(self, group: str | int) -> list[Member]:
        """Who is in a group, besides the bot."""
        found: list[Member] = read(self._ask(commands.list_members(_number(group))), "group") or []
        return found

    def add_member(self, group: str | int, contact: str | int, role: str = "member") -> None:
        """Invite a contact to a group; the bot must be its admin or owner."""
        self._ask(commands.add_member(_number(group), _number(contact), role))

    def accept(self, request: str | int) -> None:
        """Let in who asked to be connected: ``ctx.sender.uid`` of the request's event, or its number."""
        self._ask(commands.accept_contact(_number(str(request).removeprefix("request-"))))

    def reject(self, request: str | int) -> None:
        """Do not let in who asked to be connected; they are not told."""
        self._ask(commands.reject_contact(_number(str(request).removeprefix("request-"))))

    def join(self, group: str | int) -> None:
        """Accept an invitation to a group."""
        self._ask(commands.join_group(_number(group)))

    def receive(self, file: Attachment | File | str | int, *, limit: int | None = None, timeout: float = 120.0) -> Path:
        """Where a file lies that a user sent, whole; it is loaded if it is not there yet.

        ``file`` is an attachment or its ``url``. The name is made safe and begins with the file's number, so that no
        two share one. Raises :class:`Rejected` for a file over ``limit`` bytes (``SIMPLEX_FILE_LIMIT``), one whose
        sender cancelled it, and one that the CLI keeps encrypted; :class:`Uncertain` if it is not there in time.
        """
        wanted, most = Wanted.of(file), self._limit if limit is None else limit
        if wanted.size > most:
            raise Rejected(f"the file has {wanted.size} bytes, and the limit is {most}", code="file_too_large")
        ends_at = time.monotonic() + timeout
        there, here = self._folder.target(wanted)
        if wanted.size and _size(here) == wanted.size:
            return here
        known = self._transfers.wait(wanted.file_id, 0)
        if known is None or known.file is None or not self._is_here(known.file):
            private_files.make_folder(here.parent)
            self._transfers.forget(wanted.file_id)
            self._begin(wanted, there, ends_at)
        path = self._wait(wanted, here, ends_at, timeout)
        if _size(path) > most:
            path.unlink()
            raise Rejected(f"the file is larger than it said: over {most} bytes", code="file_too_large")
        return path

    def download(
        self, url: str, to: str | Path | None = None, *, limit: int | None = None, timeout: float = 120.0
    ) -> bytes:
        """The bytes of a file that a user sent; with ``to`` they are written there and the result is empty.

        As on other platforms, so that a handler need not know on which it is. Raises as :meth:`receive`.
        """
        path = self.receive(url, limit=limit, timeout=timeout)
        if to is None:
            return path.read_bytes()
        with path.open("rb") as file, private_files.open_file(to, "wb") as copy:
            shutil.copyfileobj(file, copy)
        return b""

    def _begin(self, wanted: Wanted, there: str, ends_at: float) -> None:
        """Ask for the file, again if the connection broke; one that is on its way already, as for an earlier run of a
        handler, is waited for."""
        command = commands.receive_file(wanted.file_id, there, approved_relays=True, encrypt=False)
        while True:
            left = ends_at - time.monotonic()
            try:
                answer = self._ask(command, timeout=max(left, 0.1))
                break
            except CommandRejected as error:
                if error.tag not in _ON_ITS_WAY:
                    raise
                return
            except (ConnectionLost, NotConnected):
                if left < _LOOK_EVERY:
                    raise
                time.sleep(_PAUSE)
        if answer.type == "rcvFileAcceptedSndCancelled":
            raise Rejected("the sender cancelled the file", code="file_cancelled")

    def _wait(self, wanted: Wanted, here: Path, ends_at: float, timeout: float) -> Path:
        asked_at = time.monotonic() - _ASK_EVERY + _LOOK_EVERY
        while (left := ends_at - time.monotonic()) > 0:
            ended = self._transfers.wait(wanted.file_id, min(left, _LOOK_EVERY))
            if ended is None and time.monotonic() - asked_at >= _ASK_EVERY:
                ended, asked_at = self._ask_how_it_ended(wanted, left), time.monotonic()
            if ended is not None:
                return self._checked(ended)
            if wanted.size and _size(here) == wanted.size:
                return here
        raise Uncertain(f"the file did not arrive within {timeout:g} s; it may still come")

    def _ask_how_it_ended(self, wanted: Wanted, timeout: float) -> Ended | None:
        """What the CLI knows of a transfer whose end nobody here heard of: it ended before this process began, or was
        told to a connection that broke. None while it goes on, and where its message is too far back."""
        before: int | None = None
        for _ in range(_PAGES if wanted.chat is not None else 0):
            assert wanted.chat is not None
            try:
                answer = self._ask(commands.get_chat(wanted.chat, count=_ITEMS_A_PAGE, before=before), timeout=timeout)
                chat: ChatSummary | None = read(answer, "chat")
            except (ChannelError, PayloadError):
                return None
            items = chat.items if chat else ()
            for item in items:
                if item.file is not None and item.file.file_id == wanted.file_id:
                    return ended_file(item.file)
            before = min((item.item_id for item in items), default=0)
            if before <= wanted.item_id:
                return None
        return None

    def _is_here(self, file: File) -> bool:
        """Whether a file that came before still lies where it was put; one that is encrypted need not be asked for."""
        return file.is_encrypted or self._folder.find_here(file.path).is_file()

    def _checked(self, ended: Ended) -> Path:
        if ended.file is None:
            raise Rejected(ended.reason, code="file_failed")
        if ended.file.is_encrypted:
            raise Rejected(
                "the CLI keeps the file encrypted, and no command of it decrypts: turn the encryption of local files "
                "off in its settings",
                code="file_encrypted",
            )
        path = self._folder.find_here(ended.file.path)
        if not path.is_file():
            raise Rejected(
                f"the CLI says that the file is there, and there is no {path}: set SIMPLEX_FILES_HERE to where the "
                "CLI's folder is on this machine",
                code="file_missing",
            )
        return path

    def _user(self) -> int:
        """The number of the bot's profile. Raises :class:`NotConnected` before the first connection is ready."""
        if self._connection is None:
            raise BotError(_HERE)
        user_id = self._user_id()
        if user_id == 0:
            raise NotConnected("there was no connection to the SimpleX CLI yet; try again when it is ready")
        return user_id

    def _ask_any(self, command: Command | str) -> Record:
        return self._ask(Command.raw(command) if isinstance(command, str) else command)

    def _ask(self, command: Command, *, timeout: float | None = None) -> Record:
        if self._connection is None:
            raise BotError(_HERE)
        return self._connection.command(command, timeout=timeout, wait=2.0)


class MutedSimplexClient(SimplexClient):
    """For rehearsals: it only reads, and ``note`` is told the keyword of every other command."""

    def __init__(self, client: SimplexClient, note: Callable[[str], None]) -> None:
        super().__init__(client._connection, client._user_id, client._transfers, client._folder, client._limit)
        self._note = note

    def _ask(self, command: Command, *, timeout: float | None = None) -> Record:
        if command.keyword in _READS:
            return super()._ask(command, timeout=timeout)
        self._note(command.keyword)
        return Record("cmdOk", {"type": "cmdOk"})

    def receive(self, file: Attachment | File | str | int, *, limit: int | None = None, timeout: float = 120.0) -> Path:
        """Where the file lies if it was received before. Raises :class:`Rejected` if it was not."""
        _, here = self._folder.target(Wanted.of(file))
        if not here.is_file():
            self._note("/freceive")
            raise Rejected("the file was not received before, and a rehearsal receives none", code="file_missing")
        return here


def _number(value: str | int) -> int:
    """A number that may be written as a text. Raises :class:`BotError` for what is none."""
    text = str(value)
    if not text.isascii() or not text.isdigit():
        raise BotError(f"SimpleX knows contacts, groups and requests by number, not by {text[:60]!r}")
    return int(text)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else -1
    except OSError:
        return -1
