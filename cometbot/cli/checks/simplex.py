"""The way of a message over SimpleX: the URL, the CLI behind it, its profile, address and servers, and the files."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

from cometbot.channels.simplex.connection import Connection
from cometbot.channels.simplex.endpoint import Endpoint
from cometbot.channels.simplex.errors import CommandFailed
from cometbot.channels.simplex.files import Folder
from cometbot.channels.simplex.protocol import Command, Record, commands
from cometbot.channels.simplex.schemas import read
from cometbot.channels.simplex.setup import folder_of
from cometbot.channels.simplex.views import Address, User
from cometbot.cli.checks.code import check_bots, check_settings
from cometbot.cli.checks.files import check_files
from cometbot.cli.checks.result import Result, failed, passed, skipped
from cometbot.cli.checks.store import check_store
from cometbot.errors import ChannelError, ConfigurationError, PayloadError
from cometbot.settings import Settings
from cometbot.store.glance import place_of as database_place

PATIENCE = 10.0
"""Seconds that the CLI gets to let us in, and for each answer."""

_WAY = "way to SimpleX"
_CLI = "SimpleX CLI"
_ASKED = ("profile", "address", "messaging servers")
_NAMES = (_CLI, "version", *_ASKED, "files")
_START = "start it: simplex-chat -p 5225; or set SIMPLEX_URL to where it is"
_PROXY = "see to the proxy before the CLI, and to the CLI behind it: docs/simplex.md, “A CLI on another machine”"


def examine_simplex(spec: str = "", patience: float = PATIENCE) -> list[Result]:
    """One line a check, none of them with a secret in it. Nothing is changed or sent.

    While it is connected, the CLI may tell it of an event that was the running bot's; that one finds it later.
    """
    settings, first = check_settings()
    if settings is None:
        return [first, *(skipped(name, "the settings are wrong") for name in ("bots", "database", _WAY, *_NAMES))]
    _, second = check_bots(settings, spec or settings.named_bot)
    store = [_with_our_remedy(line) for line in check_store(settings)]
    lines = [first, second, *store, check_files(settings), *_check_cli(settings, patience)]
    hidden = [database_place(settings.database_url).password, settings.secret_key.reveal(), *_secrets(settings)]
    return [line.masked(hidden) for line in lines]


def _with_our_remedy(line: Result) -> Result:
    """Who handles messages of SimpleX is started by another command."""
    return replace(line, remedy="cometbot simplex") if line.name == "worker" and line.ok is False else line


def _check_cli(settings: Settings, patience: float) -> Iterator[Result]:
    try:
        endpoint = Endpoint.from_settings(settings)
    except ConfigurationError as error:
        yield failed(_WAY, str(error), "set SIMPLEX_URL")
        yield from (skipped(name, "the URL is wrong") for name in _NAMES)
        return
    yield _check_way(endpoint)
    connection = Connection(endpoint, on_event=_ignore, lasts=False)
    connection.start()
    try:
        yield from _check_connected(settings, connection, patience)
    finally:
        connection.close()
    yield _check_files(settings)


def _check_way(endpoint: Endpoint) -> Result:
    if endpoint.warnings:
        return failed(_WAY, "; ".join(endpoint.warnings), "see docs/simplex.md, “A CLI on another machine”")
    kind = "on this machine" if endpoint.is_near else "encrypted, with credentials"
    return passed(_WAY, f"{endpoint.place}: {kind}")


def _check_connected(settings: Settings, connection: Connection, patience: float) -> Iterator[Result]:
    # The CLI itself speaks no TLS.
    remedy = _PROXY if connection.endpoint.is_encrypted else _START
    if not _is_let_in(connection, patience):
        cause = connection.status.error or f"it did not let us in within {patience:g} s"
        yield failed(_CLI, cause, remedy)
        yield from (skipped(name, "the CLI is not reached") for name in ("version", *_ASKED))
        return
    asking = Asking(connection, patience)
    problem = asking.problem_with(commands.list_users())
    if problem:
        yield failed(_CLI, f"what answers is no SimpleX CLI: {problem}", remedy)
        yield from (skipped(name, "there is no SimpleX CLI") for name in ("version", *_ASKED))
        return
    yield passed(_CLI, "answers")
    yield _check_version(asking)
    yield from _check_profile(settings, asking)


def _is_let_in(connection: Connection, patience: float) -> bool:
    """Whether the connection is ready; waits for that no longer than until it failed for the first time."""
    ends_at = time.monotonic() + patience
    while time.monotonic() < ends_at and connection.status.state != "waiting":
        if connection.wait_ready(0.05):
            return True
    return False


def _check_version(asking: Asking) -> Result:
    answer = asking.ask(Command.raw("/version"))
    info = answer.raw.get("versionInfo") if isinstance(answer, Record) else None
    version = info.get("version") if isinstance(info, dict) else None
    return passed("version", str(version)) if version else skipped("version", "the CLI does not tell")


def _check_profile(settings: Settings, asking: Asking) -> Iterator[Result]:
    user = asking.find_user(settings.simplex_profile)
    if user is None:
        yield skipped("profile", "there is none yet; cometbot simplex makes it")
        yield from (skipped(name, "there is no profile yet") for name in _ASKED[1:])
        return
    name = user.profile.display_name or user.name
    is_bot = "" if user.profile.is_bot else " (becomes a bot's when cometbot simplex starts)"
    yield passed("profile", f"{name}{is_bot}")
    address = asking.read(commands.show_my_address(user.user_id), "contactLink")
    yield _check_address(settings, address)
    yield _check_servers(asking, has_address=isinstance(address, Address))


def _check_address(settings: Settings, address: object) -> Result:
    if not isinstance(address, Address):
        if settings.simplex_address:
            return skipped("address", "there is none yet; cometbot simplex makes it")
        return failed("address", "there is none, and none is to be made: nobody finds the bot", "set SIMPLEX_ADDRESS=1")
    if settings.simplex_auto_accept or address.auto_accept:
        return passed("address", address.link)
    return passed("address", f"{address.link} (requests wait for the bot to accept them)")


def _check_servers(asking: Asking, *, has_address: bool) -> Result:
    name = "messaging servers"
    answer = asking.ask(Command.raw("/get subs"))
    active = answer.raw.get("activeSubs") if isinstance(answer, Record) else None
    if not isinstance(active, dict):
        return skipped(name, "the CLI does not tell")
    if active:
        return passed(name, f"{len(active)} connected")
    if not has_address:
        return skipped(name, "without an address and contacts there is none to connect to")
    remedy = "look at the network of the CLI's machine: it needs ways out to port 5223 or 443"
    return failed(name, "the CLI is connected to none, so no message comes or goes", remedy)


def _check_files(settings: Settings) -> Result:
    folder = folder_of(settings)
    if not isinstance(folder, Folder):
        return skipped("files", "the CLI is elsewhere; for files set SIMPLEX_FILES and SIMPLEX_FILES_HERE")
    existing = next((place for place in (folder.here, *folder.here.parents) if place.is_dir()), Path("/"))
    if settings.simplex_files and existing != folder.here:
        return failed(
            "files", f"there is no folder {folder.here}", f"mkdir -p {folder.here}, or set SIMPLEX_FILES_HERE"
        )
    if not os.access(existing, os.R_OK | os.W_OK | os.X_OK):
        return failed("files", f"{existing} cannot be written to", f"chown {os.getuid()} {existing}")
    return passed("files", str(folder.here))


class Asking:
    """Questions to a CLI, whose failures are no exceptions."""

    def __init__(self, connection: Connection, patience: float) -> None:
        self._connection = connection
        self._patience = patience

    def ask(self, command: Command) -> Record | ChannelError:
        """The answer, or what went wrong."""
        try:
            return self._connection.command(command, timeout=self._patience)
        except ChannelError as error:
            return error

    def read(self, command: Command, name: str) -> object:
        """A field of the answer as a value, None where there is none."""
        answer = self.ask(command)
        try:
            return read(answer, name) if isinstance(answer, Record) else None
        except PayloadError:
            return None

    def problem_with(self, command: Command) -> str:
        """Why no usable answer came, empty if one did."""
        answer = self.ask(command)
        if isinstance(answer, CommandFailed):
            return ""
        if isinstance(answer, ChannelError):
            return str(answer)
        return "" if answer.type in command.answers else f"it answered with {answer.type}"

    def find_user(self, name: str) -> User | None:
        """The profile of that name, or the active one."""
        if not name:
            user = self.read(commands.show_active_user(), "user")
            return user if isinstance(user, User) else None
        users = self.read(commands.list_users(), "users")
        found = users if isinstance(users, list) else []
        return next((user for user in found if name in (user.profile.display_name, user.name)), None)


def _ignore(record: Record) -> None:
    """Events are not ours to handle."""


def _secrets(settings: Settings) -> Iterator[str]:
    password = settings.simplex_url.rpartition("@")[0].rpartition(":")[2]
    yield password
    yield unquote(password)
