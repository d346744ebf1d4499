"""Checks of the database: its location, its durability, and the processes that work on it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cometbot.cli.checks.result import CheckResult, failed, passed, skip_all, skipped
from cometbot.delivery import Delivery
from cometbot.errors import CometbotError, ConfigurationError
from cometbot.settings import Settings
from cometbot.store.database import Database
from cometbot.store.jobs import JobCounts
from cometbot.store.migrate import HEAD
from cometbot.store.probe import (
    LOCK_TIMEOUT,
    ConnectionCount,
    DatabaseLocation,
    ProbeResult,
    locate_database,
    probe_database,
)

MOUNTS = Path("/proc/self/mountinfo")
MIN_FREE_BYTES = 200 * 1024 * 1024
"""Minimum free disk space in bytes: enough for a day of a busy bot and for SQLite's own files."""

_NETWORK_KINDS = "nfs nfs4 cifs smb3 smbfs ncpfs 9p afs ceph glusterfs lustre beegfs gpfs ocfs2 gfs2 davfs virtiofs"
_NETWORK_FUSE = "sshfs glusterfs ceph s3fs rclone gcsfuse davfs2 blobfuse2"
_NETWORK_FILE_SYSTEMS = frozenset([*_NETWORK_KINDS.split(), *(f"fuse.{kind}" for kind in _NETWORK_FUSE.split())])
_CONTAINER_LAYERS = frozenset({"overlay", "aufs", "fuse.fuse-overlayfs"})
_MEMORY_FILE_SYSTEMS = frozenset({"tmpfs", "ramfs", "rootfs"})
_CHECK_NAMES = (
    "database",
    "database is writable",
    "database file system",
    "free space",
    "schema",
    "worker",
    "dead letters",
    "jobs",
)
_SET_URL_REMEDY = "set COMETBOT_DATABASE_URL"
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount point and its file system type."""

    point: str
    kind: str


def check_database(
    settings: Settings, *, mounts: Path | None = None, min_free: int = MIN_FREE_BYTES
) -> list[CheckResult]:
    """Check the database of the settings. Nothing is created, changed or upgraded."""
    place = locate_database(settings.database_url)
    if place.kind != "SQLite":
        return _check_existing(settings, place, skip_all(_CHECK_NAMES[2:4], "not for a PostgreSQL server"))
    if place.path is None:
        cause = "in memory: its content is lost when the process ends, and each process has its own"
        return [
            failed("database", cause, f"{_SET_URL_REMEDY}=sqlite:///cometbot.db"),
            *skip_all(_CHECK_NAMES[1:], "see above"),
        ]
    return _check_file(settings, place, place.path, mounts or MOUNTS, min_free)


def _check_file(
    settings: Settings, place: DatabaseLocation, path: Path, mounts: Path, min_free: int
) -> list[CheckResult]:
    if not path.parent.is_dir():
        remedy = f"mkdir -p {path.parent}, or {_SET_URL_REMEDY}"
        return [
            failed("database", f"SQLite, {path}: the folder does not exist", remedy),
            *skip_all(_CHECK_NAMES[1:], "no folder"),
        ]
    file_system_results = [_check_file_system(path, mounts), _check_space(settings, path.parent, min_free)]
    if path.is_file():
        return _check_existing(settings, place, file_system_results)
    return [
        passed("database", f"SQLite, {path}: does not exist yet; the bot creates it when it starts"),
        _check_creatable(path),
        *file_system_results,
        skipped("schema", "no database yet"),
        _describe_workers(0, 0, 0.0, "cometbot serve"),
        *skip_all(_CHECK_NAMES[6:], "no database yet"),
    ]


def _check_existing(
    settings: Settings, place: DatabaseLocation, file_system_results: list[CheckResult]
) -> list[CheckResult]:
    shown = f"{place.kind}, {place.name}"
    try:
        found = probe_database(settings.database_url)
    except ConfigurationError as error:
        remedy = "restore or remove the file" if place.path else "start the server"
        cause = f"{shown}: {error}"
        return [
            failed("database", cause, f"{remedy}, or {_SET_URL_REMEDY}"),
            *skip_all(_CHECK_NAMES[1:], "the database cannot be used"),
        ]
    writable, schema = _check_writable(found, place), _check_schema(found)
    return [passed("database", shown), writable, *file_system_results, schema, *_check_workers(settings, found)]


def _check_writable(found: ProbeResult, place: DatabaseLocation) -> CheckResult:
    name = "database is writable"
    if place.path and not (os.access(place.path, os.W_OK) and os.access(place.path.parent, os.W_OK | os.X_OK)):
        return _failed_unwritable(place.path)
    if found.is_locked:
        cause = f"another program has locked it for {LOCK_TIMEOUT:g} s; messages are rejected meanwhile"
        return failed(name, cause, f"find the program with: fuser {place.name}")
    if found.write_problem:
        remedy = (
            "give this user write permission"
            if place.path
            else f"{_SET_URL_REMEDY} to the primary server, with a user with write permission"
        )
        return failed(name, f"cannot write: {found.write_problem}", remedy)
    return passed(name, "yes")


def _check_creatable(path: Path) -> CheckResult:
    if os.access(path.parent, os.W_OK | os.X_OK):
        return passed("database is writable", f"it can be created in {path.parent}")
    return _failed_unwritable(path)


def _failed_unwritable(path: Path) -> CheckResult:
    cause = f"this user cannot write to {path} or to its folder, where SQLite creates more files"
    return failed("database is writable", cause, f"chown -R {os.getuid()} {path.parent}")


def _check_file_system(path: Path, mounts: Path) -> CheckResult:
    name = "database file system"
    try:
        mount = _mount_of(path.parent, mounts.read_text())
    except OSError:
        return skipped(name, "the mounts of this system are unknown")
    where = f"{mount.kind} at {mount.point}"
    if mount.kind in _NETWORK_FILE_SYSTEMS:
        cause = f"a network file system ({where}), where SQLite can lose acknowledged messages"
        return failed(name, cause, f"{_SET_URL_REMEDY} to a file on a local disk, or use postgresql://…")
    if mount.kind in _CONTAINER_LAYERS:
        cause = f"the container's own layer ({where}), which is removed with the container"
        return failed(name, cause, f"mount a volume (docker run -v cometbot:{path.parent}), or use postgresql://…")
    if mount.kind in _MEMORY_FILE_SYSTEMS:
        cause = f"in memory ({where}): lost when the machine restarts"
        return failed(name, cause, f"{_SET_URL_REMEDY} to a file on a disk")
    return passed(name, f"a local file system ({where})")


def _mount_of(folder: Path, table: str) -> Mount:
    """Return the mount of ``folder``.

    ``table`` has the format of ``/proc/self/mountinfo``, where later mounts hide earlier ones.
    """
    real = folder.resolve()
    best = Mount("/", "unknown")
    for line in table.splitlines():
        left, _, right = line.partition(" - ")
        fields, rest = left.split(), right.split()
        if len(fields) < 5 or not rest:
            continue
        point = _OCTAL.sub(lambda found: chr(int(found[1], 8)), fields[4])
        if real.is_relative_to(point) and len(point) >= len(best.point):
            best = Mount(point, rest[0])
    return best


def _check_space(settings: Settings, folder: Path, min_free: int) -> CheckResult:
    free = shutil.disk_usage(folder).free
    text = f"{free / 1024**3:.1f} GB are free at {folder}"
    remedy = f"free space: du -xh {folder} | sort -h"
    if free < min_free:
        return failed("free space", f"only {text}: with a full disk, messages are rejected", remedy)
    if settings.has_chat_channel and free < settings.free_space:
        cause = f"only {text}, so users can store nothing"
        return failed("free space", cause, f"{remedy}, or lower COMETBOT_FREE_SPACE={settings.free_space}")
    return passed("free space", text)


def _check_schema(found: ProbeResult) -> CheckResult:
    if found.schema_problem:
        cause, _, remedy = found.schema_problem.partition(": ")
        return failed("schema", cause, remedy.removeprefix("run ") or "cometbot db upgrade")
    return passed("schema", f"revision {HEAD}")


def _check_workers(settings: Settings, found: ProbeResult) -> list[CheckResult]:
    if found.is_locked:
        return skip_all(_CHECK_NAMES[5:], "the database is locked")
    if found.schema_problem:
        return skip_all(_CHECK_NAMES[5:], "the schema does not fit this version, see above")
    delivery = Delivery([], [], settings.database_url)
    try:
        alive, backlog = delivery.count_handling_processes(), delivery.backlog()
        sizes = [_check_size(settings, delivery.database)] if settings.has_chat_channel else []
    except CometbotError as error:
        unreadable = failed("worker", f"cannot read the database: {error}", "try again in a moment")
        return [unreadable, *skip_all(_CHECK_NAMES[6:], "see above")]
    finally:
        delivery.close()
    waiting = sum(item.waiting for item in backlog.values())
    oldest = max((item.oldest_seconds for item in backlog.values()), default=0.0)
    dead = {bot: item.dead for bot, item in sorted(backlog.items()) if item.dead}
    is_file = locate_database(settings.database_url).kind == "SQLite"
    remedy = "cometbot serve" if is_file else "cometbot serve, or cometbot worker"
    connections = [_check_connections(settings, found.connections)] if found.connections else []
    jobs = _describe_jobs([item.jobs for item in backlog.values()], remedy)
    return [_describe_workers(alive, waiting, oldest, remedy), _describe_dead(dead), jobs, *sizes, *connections]


def _describe_workers(alive: int, waiting: int, oldest: float, remedy: str) -> CheckResult:
    queue = f"{waiting} waiting message{'s' * (waiting != 1)}"
    queue += f", the oldest for {oldest:.0f} s" if waiting else ""
    if not alive:
        return failed("worker", f"no process handles messages; {queue}", remedy)
    return passed("worker", f"{alive} running process{'es' * (alive != 1)}; {queue}")


def _describe_dead(dead: dict[str, int]) -> CheckResult:
    if dead:
        counts = ", ".join(f"{count} of {bot}" for bot, count in dead.items())
        return failed("dead letters", counts, "cometbot deadletters list")
    return passed("dead letters", "none")


def _describe_jobs(counts: Sequence[JobCounts], remedy: str) -> CheckResult:
    total = {
        name: sum(getattr(item, name) for item in counts) for name in ("scheduled", "overdue", "running", "failed")
    }
    left = min((item.next_seconds for item in counts if item.next_seconds is not None), default=None)
    text = f"{total['scheduled']} to come"
    if left is not None:
        text += f", the next in {left:.0f} s" if left > 0 else f", the next is due since {-left:.0f} s"
    text += f"; {total['running']} running, {total['failed']} failed"
    if total["overdue"]:
        return failed("jobs", f"{total['overdue']} overdue; {text}", f"{remedy}; see cometbot jobs list")
    return passed("jobs", text)


def _check_size(settings: Settings, database: Database) -> CheckResult:
    name, limit = "database size", settings.database_size
    with database.read() as connection:
        size = database.size(connection)
    text = f"{size / 1024**3:.1f} GB"
    if not limit:
        return passed(name, f"{text}, without a limit for users")
    text += f", and the limit for users is {limit / 1024**3:.1f} GB"
    if size >= limit:
        remedy = "delete users or chats, or raise COMETBOT_DATABASE_SIZE"
        return failed(name, f"{text}: users can store nothing", remedy)
    return passed(name, text)


def _check_connections(settings: Settings, found: ConnectionCount) -> CheckResult:
    from cometbot.delivery.procrastinate_engine import max_connections

    name, needed = "connections", max_connections(settings.processes)
    text = f"{found.total} of {found.limit} are in use, and one cometbot serve opens up to {needed}"
    if found.limit - (found.total - found.own) < needed:
        remedy = "raise max_connections of the server, or lower COMETBOT_PROCESSES; docs/scaling.md has the numbers"
        return failed(name, text, remedy)
    return passed(name, text)
