"""Databases that are full, replaced, read-only or behind a pooler, and what a server says of them."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing, suppress

import sqlalchemy as sa

from tests.cases.case import Case, Finding, check
from tests.cases.server import ROOT, Server, message, wait_for
from tests.ports import HOST, free_port
from tests.postgres_server import PostgresServer


def postgres(case: Case) -> PostgresServer:
    """A PostgreSQL of this case's own."""
    server = PostgresServer()
    case.stack.callback(server.stop)
    server.start()
    server.execute("CREATE DATABASE shop")
    return server


def upgrade(url: str) -> None:
    """Make the tables, as an operator does."""
    from cometbot.store.factory import database_from_url

    opened = database_from_url(url)
    opened.upgrade()
    opened.close()


def describe(server: Server) -> str:
    """Return the answers of a callback and of ``/readyz``, and how many errors the log has."""
    answer = server.callback(message("hello", number=time.time_ns()))
    errors = len(re.findall(r"\bERROR\b", server.log))
    retry = answer.headers.get("Retry-After", "none")
    return f"callback {answer.status_code} (Retry-After: {retry}), readyz {server.readyz()}, {errors} ERROR lines"


@check("callback/idle-log-of-workers")
def idle_log(case: Case) -> Finding:
    database = postgres(case)
    upgrade(database.url("shop"))
    server = Server(case, COMETBOT_DATABASE_URL=database.url("shop")).start()
    time.sleep(5)
    before = len(server.log)
    time.sleep(10)
    grown = len(server.log) - before
    return Finding("at most 500 bytes in 10 s", f"{grown} bytes in 10 s", grown <= 500)


@check("callback/postgres-read-only-500")
def read_only(case: Case) -> Finding:
    database = postgres(case)
    upgrade(database.url("shop"))
    server = Server(case, COMETBOT_DATABASE_URL=database.url("shop")).start()
    first = server.callback(message("hello")).status_code
    database.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    database.execute("SELECT pg_reload_conf()")
    time.sleep(2)
    answers = [server.callback(message("hello", number=number)) for number in (2, 3)]
    ready = server.readyz()
    database.execute("ALTER SYSTEM RESET default_transaction_read_only")
    database.execute("SELECT pg_reload_conf()")
    recovers = wait_for(lambda: server.callback(message("hello", number=4)).status_code == 200)
    statuses = [answer.status_code for answer in answers]
    retries = ["Retry-After" in answer.headers for answer in answers]
    seen = f"{first}, then {statuses} (Retry-After: {retries}, readyz {ready}), 200 again: {bool(recovers)}"
    is_well = first == 200 and statuses == [503, 503] and all(retries) and bool(recovers)
    return Finding("200, then 503 with Retry-After, then 200", seen, is_well)


@check("callback/pgbouncer-session-mode")
def pgbouncer(case: Case) -> Finding:
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    if not os.path.exists(program):
        return Finding("pgbouncer", "not installed: apt-get install pgbouncer", False)
    pooler, database = free_port(), postgres(case)
    upgrade(database.url("shop"))
    sockets = sa.make_url(database.url("shop")).query["host"]
    folder = case.work / "pgbouncer"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    case.work.chmod(0o755)
    given = case.read("pgbouncer.ini").decode()
    text = re.sub(r"(?m)^cb2 = .*$", f"shop = host={sockets} dbname=shop user=postgres", given)
    text = re.sub(r"(?m)^listen_port=.*$", f"listen_port={pooler}", text)
    text = re.sub(r"(?m)^(logfile|pidfile)=\./", rf"\1={folder}/", text)
    text = re.sub(r"(?m)^ignore_startup_parameters=.*\n?", "", text)  # as Debian ships it
    (folder / "ini").write_text(text)
    command = [program, str(folder / "ini")]
    if os.geteuid() == 0:
        command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *command]
    process = subprocess.Popen(command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    case.stack.callback(process.wait, 30)
    case.stack.callback(process.terminate)
    server = Server(case, COMETBOT_DATABASE_URL=f"postgresql://postgres@{HOST}:{pooler}/shop")
    expected = "it serves, or ends with one line that names the setting, which docs/scaling.md names too"
    with suppress(RuntimeError):
        server.start()
    if server.process.poll() is None:
        status = server.callback(message("hello")).status_code
        return Finding(expected, f"it serves: callback {status}, readyz {server.readyz()}", status == 200)
    lines = server.log.strip().splitlines()
    is_named = "ignore_startup_parameters" in server.log
    in_docs = "ignore_startup_parameters" in (ROOT / "docs" / "scaling.md").read_text()
    seen = f"it ended with {len(lines)} lines, the last {lines[-1][:120]!r}; named: {is_named}, in the docs: {in_docs}"
    return Finding(expected, seen, is_named and in_docs and "Traceback" not in server.log)


@check("callback/sqlite-disk-full-unseen")
def disk_full(case: Case) -> Finding:
    mounted = case.work / "disk"
    mounted.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", mounted], capture_output=True, text=True)
    if done.returncode:
        return Finding("a small file system", f"cannot mount one: {done.stderr.strip()}", False)
    case.stack.callback(subprocess.run, ["umount", "-l", mounted], check=False)
    server = Server(case, COMETBOT_DATABASE_URL=f"sqlite:///{mounted}/bot.db").start()
    server.database = mounted / "bot.db"
    text, stored = "x" * 60_000, 0
    for number in range(1, 120):
        answer = server.callback(message(text, number=number))
        stored += answer.status_code == 200
        if answer.status_code != 200:
            break
    is_unready = bool(wait_for(lambda: server.readyz() == 503, 15))
    for number in range(200, 220):
        server.callback(message(text, number=number))
    errors = [line for line in server.log.splitlines() if "ERROR" in line and "full" in line]
    subprocess.run(["mount", "-o", "remount,size=60m", mounted], check=True)
    recovers = wait_for(lambda: server.callback(message("hello", number=500)).status_code == 200)
    kept = len(server.rows())
    seen = (
        f"{answer.status_code} {answer.text[:90]!r}, readyz 503: {is_unready}, {len(errors)} ERROR lines with 'full', "
        f"200 again: {bool(recovers)}, {stored} acknowledged and {kept - 1} stored"
    )
    says_busy = "busy" in answer.text.lower()
    is_well = answer.status_code == 503 and not says_busy and is_unready and len(errors) in (1, 2, 3)
    expected = "503 that does not say busy, readyz 503, one ERROR a minute (and process) that says full, then 200"
    return Finding(expected, seen, is_well and bool(recovers) and stored <= kept)


@check("callback/sqlite-file-replaced-while-serving")
def file_replaced(case: Case) -> Finding:
    findings = []
    for way in ("replaced", "removed"):
        server = Server(case, name=way).start()
        backup = case.work / f"{way}.backup"
        with closing(sqlite3.connect(server.database)) as source, closing(sqlite3.connect(backup)) as target:
            source.backup(target)
        first = server.callback(message("hello")).status_code
        if way == "replaced":
            os.replace(backup, server.database)
        else:
            server.database.unlink()
        time.sleep(2)
        findings.append((way, first, describe(server)))
    seen = "; ".join(f"{way}: {first}, then {what}" for way, first, what in findings)
    is_well = all(
        first == 200 and what.startswith("callback 503") and "readyz 503" in what and ", 0 ERROR" not in what
        for _, first, what in findings
    )
    return Finding("within 2 s: callback 503, readyz 503, an ERROR line", seen, is_well)
