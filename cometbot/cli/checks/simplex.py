"""Checks of SimpleX: the URL, the CLI behind it, its profile, address and servers, and the files."""

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
from cometbot.channels.simplex.files import get_shared_folder
from cometbot.channels.simplex.models import Address, User
from cometbot.channels.simplex.protocol import Command, Record, commands
from cometbot.channels.simplex.schemas import read_field
from cometbot.cli.checks.configuration import check_bots, check_settings
from cometbot.cli.checks.database import check_database
from cometbot.cli.checks.files import check_file_permissions
from cometbot.cli.checks.result import CheckResult, failed, passed, skip_all, skipped
from cometbot.errors import ChannelError, ConfigurationError, PayloadError
from cometbot.settings import Settings
from cometbot.store.probe import locate_database as locate_database

CLI_TIMEOUT = 10.0
"""Timeout in seconds for the connection to the CLI, and for each of its responses."""

_URL_CHECK = "SimpleX URL"
_CLI_CHECK = "SimpleX CLI"
_QUERY_CHECKS = ("profile", "address", "messaging servers")
_NAMES = (_CLI_CHECK, "version", *_QUERY_CHECKS, "files")
_START_REMEDY = "start it: simplex-chat -p 5225; or set SIMPLEX_URL to its address"
_PROXY_REMEDY = "check the proxy and the CLI behind it: docs/simplex.md, “A CLI on another machine”"


def check_simplex(spec: str = "", timeout: float = CLI_TIMEOUT) -> list[CheckResult]:
    """Run all checks of SimpleX. No result contains a secret, and nothing is changed or sent.

    While the check is connected, the CLI may send it an event meant for the running bot. The bot recovers such an event
    later.
    """
    settings, first = check_settings()
    if settings is None:
        return [first, *skip_all(("bots", "database", _URL_CHECK, *_NAMES), "the settings are invalid")]
    _, second = check_bots(settings, spec or settings.default_bot_spec)
    store = [_with_simplex_remedy(line) for line in check_database(settings)]
    lines = [first, second, *store, check_file_permissions(settings), *_check_cli(settings, timeout)]
    hidden = [locate_database(settings.database_url).password, settings.secret_key.reveal(), *_secrets(settings)]
    return [line.masked(hidden) for line in lines]


def _with_simplex_remedy(line: CheckResult) -> CheckResult:
    """Replace the remedy of a missing worker: another command starts the process that handles SimpleX messages."""
    return replace(line, remedy="cometbot simplex") if line.name == "worker" and line.ok is False else line


def _check_cli(settings: Settings, timeout: float) -> Iterator[CheckResult]:
    try:
        endpoint = Endpoint.from_settings(settings)
    except ConfigurationError as error:
        yield failed(_URL_CHECK, str(error), "set SIMPLEX_URL")
        yield from skip_all(_NAMES, "the URL is invalid")
        return
    yield _check_url(endpoint)
    connection = Connection(endpoint, on_event=_ignore_event, should_reconnect=False)
    connection.start()
    try:
        yield from _check_connected(settings, connection, timeout)
    finally:
        connection.close()
    yield _check_files(settings)


def _check_url(endpoint: Endpoint) -> CheckResult:
    if endpoint.warnings:
        return failed(_URL_CHECK, "; ".join(endpoint.warnings), "see docs/simplex.md, “A CLI on another machine”")
    kind = "on this machine" if endpoint.is_local else "encrypted, with credentials"
    return passed(_URL_CHECK, f"{endpoint.display_url}: {kind}")


def _check_connected(settings: Settings, connection: Connection, timeout: float) -> Iterator[CheckResult]:
    # The CLI itself does not support TLS.
    remedy = _PROXY_REMEDY if connection.endpoint.is_encrypted else _START_REMEDY
    if not _wait_ready(connection, timeout):
        cause = connection.status.error or f"no connection within {timeout:g} s"
        yield failed(_CLI_CHECK, cause, remedy)
        yield from skip_all(("version", *_QUERY_CHECKS), "the CLI was not reached")
        return
    queries = CliQueries(connection, timeout)
    problem = queries.find_problem(commands.list_users())
    if problem:
        yield failed(_CLI_CHECK, f"not a SimpleX CLI: {problem}", remedy)
        yield from skip_all(("version", *_QUERY_CHECKS), "no SimpleX CLI")
        return
    yield passed(_CLI_CHECK, "responds")
    yield _check_version(queries)
    yield from _check_profile(settings, queries)


def _wait_ready(connection: Connection, timeout: float) -> bool:
    """Wait until the connection is ready, or until its first failure or the timeout. Return True if it is ready."""
    ends_at = time.monotonic() + timeout
    while time.monotonic() < ends_at and connection.status.state != "waiting":
        if connection.wait_ready(0.05):
            return True
    return False


def _check_version(queries: CliQueries) -> CheckResult:
    answer = queries.run(Command.raw("/version"))
    info = answer.raw.get("versionInfo") if isinstance(answer, Record) else None
    version = info.get("version") if isinstance(info, dict) else None
    return passed("version", str(version)) if version else skipped("version", "not in the CLI's response")


def _check_profile(settings: Settings, queries: CliQueries) -> Iterator[CheckResult]:
    user = queries.find_user(settings.simplex_profile)
    if user is None:
        yield skipped("profile", "none yet; cometbot simplex creates it")
        yield from skip_all(_QUERY_CHECKS[1:], "no profile yet")
        return
    name = user.profile.display_name or user.name
    is_bot = "" if user.profile.is_bot else " (becomes a bot profile when cometbot simplex starts)"
    yield passed("profile", f"{name}{is_bot}")
    address = queries.get_field(commands.show_my_address(user.user_id), "contactLink")
    yield _check_address(settings, address)
    yield _check_servers(queries, has_address=isinstance(address, Address))


def _check_address(settings: Settings, address: object) -> CheckResult:
    if not isinstance(address, Address):
        if settings.simplex_address:
            return skipped("address", "none yet; cometbot simplex creates it")
        return failed("address", "none, and SIMPLEX_ADDRESS=0: nobody can find the bot", "set SIMPLEX_ADDRESS=1")
    if settings.simplex_auto_accept or address.auto_accept:
        return passed("address", address.link)
    return passed("address", f"{address.link} (requests wait for the bot to accept them)")


def _check_servers(queries: CliQueries, *, has_address: bool) -> CheckResult:
    name = "messaging servers"
    answer = queries.run(Command.raw("/get subs"))
    active = answer.raw.get("activeSubs") if isinstance(answer, Record) else None
    if not isinstance(active, dict):
        return skipped(name, "not in the CLI's response")
    if active:
        return passed(name, f"{len(active)} connected")
    if not has_address:
        return skipped(name, "none needed without an address and contacts")
    remedy = "check the network of the CLI's machine: it needs outgoing connections to port 5223 or 443"
    return failed(name, "the CLI is connected to none, so no messages arrive or leave", remedy)


def _check_files(settings: Settings) -> CheckResult:
    folder = get_shared_folder(settings)
    if folder is None:
        return skipped("files", "the CLI is on another machine; for files set SIMPLEX_FILES and SIMPLEX_FILES_HERE")
    existing = next((place for place in (folder.local_path, *folder.local_path.parents) if place.is_dir()), Path("/"))
    if settings.simplex_files and existing != folder.local_path:
        remedy = f"mkdir -p {folder.local_path}, or set SIMPLEX_FILES_HERE"
        return failed("files", f"folder not found: {folder.local_path}", remedy)
    if not os.access(existing, os.R_OK | os.W_OK | os.X_OK):
        return failed("files", f"cannot write to {existing}", f"chown {os.getuid()} {existing}")
    return passed("files", str(folder.local_path))


class CliQueries:
    """Queries to a CLI that return errors instead of raising them."""

    def __init__(self, connection: Connection, timeout: float) -> None:
        self._connection = connection
        self._timeout = timeout

    def run(self, command: Command) -> Record | ChannelError:
        """Return the response, or the error."""
        try:
            return self._connection.command(command, timeout=self._timeout)
        except ChannelError as error:
            return error

    def get_field(self, command: Command, name: str) -> object:
        """Return a field of the response as a value, or None if there is none."""
        answer = self.run(command)
        try:
            return read_field(answer, name) if isinstance(answer, Record) else None
        except PayloadError:
            return None

    def find_problem(self, command: Command) -> str:
        """Return why there was no usable response, or "" if there was one."""
        answer = self.run(command)
        if isinstance(answer, CommandFailed):
            return ""
        if isinstance(answer, ChannelError):
            return str(answer)
        return "" if answer.type in command.answers else f"unexpected response {answer.type}"

    def find_user(self, name: str) -> User | None:
        """Return the profile with that name, or the active one if ``name`` is empty."""
        if not name:
            user = self.get_field(commands.show_active_user(), "user")
            return user if isinstance(user, User) else None
        users = self.get_field(commands.list_users(), "users")
        found = users if isinstance(users, list) else []
        return next((user for user in found if name in (user.profile.display_name, user.name)), None)


def _ignore_event(record: Record) -> None:
    """Ignore an event, because the running bot handles it."""


def _secrets(settings: Settings) -> Iterator[str]:
    password = settings.simplex_url.rpartition("@")[0].rpartition(":")[2]
    yield password
    yield unquote(password)
