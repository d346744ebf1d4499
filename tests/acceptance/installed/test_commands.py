"""Every command of an installed cometbot, once for real."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import requests
from mcp import Client, StdioServerParameters

from cometbot.channels.base import IncomingEvent
from cometbot.cli import main
from cometbot.delivery import Delivery
from cometbot.models import Conversation
from cometbot.simulator import Simulator
from cometbot.store.migrate import HEAD
from tests.acceptance.conftest import wait_for
from tests.acceptance.installed import test_installed
from tests.acceptance.installed.conftest import COMMAND_TIMEOUT, NOBODY, ROOT, Installation, as_nobody, terminate
from tests.acceptance.installed.test_installed import PLATFORM, PNG, start

FIRST_RELEASE = ROOT / "tests" / "data" / "schema_0008.sql"


def find_commands(found: click.Command, context: click.Context, *words: str) -> Iterator[str]:
    """Yield the commands that are no groups, with the words of their groups before them."""
    if not isinstance(found, click.Group):
        yield " ".join(words)
        return
    for name in found.list_commands(context):
        inner = found.get_command(context, name)
        assert inner is not None
        yield from find_commands(inner, context, *words, name)


def test_every_command_has_a_test() -> None:
    assert set(find_commands(main, click.Context(main))) == set(TESTS)


def test_dev_answers_the_lines_of_a_pipe(installation: Installation, project: Path) -> None:
    done = subprocess.run(
        installation.command("cometbot", "dev", "bot:bot", "--port", "0"),
        cwd=project,
        env=installation.environ(project),
        umask=0o022,
        text=True,
        input="hi\n",
        capture_output=True,
        timeout=COMMAND_TIMEOUT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"callback +200 .* POST ", done.stdout), done.stdout
    assert re.search(r"REST +200 .* POST +/v3/bots/\w+/messages", done.stdout), done.stdout
    assert list((project / "tmp").glob("cometbot-dev-*")) == []


def test_init_makes_an_assistant_that_answers_without_a_key(installation: Installation, project: Path) -> None:
    made = installation.run(project, "cometbot", "init", "helper", "--template", "assistant")
    assert made.returncode == 0, made.stdout
    code = "from bot import bot; from cometbot.testing import BotClient; print(BotClient(bot).send('order 4711').text)"
    said = installation.run(project / "helper", "python", "-c", code)
    assert (said.returncode, "sent on Monday" in said.stdout) == (0, True), said.stdout


def test_commands_for_cometchat_work(installation: Installation, project: Path) -> None:
    with Simulator() as simulator:
        variables = {
            "COMETCHAT_API_URL": simulator.api_url,
            "COMETCHAT_API_KEY": simulator.api_key,
            "COMETCHAT_APP_ID": simulator.app_id,
            "COMETBOT_BOT": "bot:bot",
            "COMETBOT_CALLBACK_USERNAME": "cometchat",
            "COMETBOT_CALLBACK_PASSWORD": "a-long-callback-password",
            "COMETBOT_DATABASE_URL": "sqlite:///commands.db",
            "COMETBOT_CHANNELS": "cometchat,agui",
            "AGUI_TOKEN": "0123456789abcdef" * 2,
        }

        def run(*words: str) -> str:
            made = installation.run(project, "cometbot", *words, **variables)
            assert made.returncode == 0, made.stdout
            return made.stdout

        run("users", "create", "maria", "--name", "Maria")
        run("bots", "create", "helper", "--url", "https://bots.example.com")
        run("bots", "update", "helper", "--disable")
        assert "helper" in run("bots", "list")
        run("bots", "sync", "--url", "https://bots.example.com", "--yes")
        run("bots", "delete", "helper", "--yes")
        assert "helper " not in run("bots", "list")
        run("agents", "sync", "--url", "https://bots.example.com", "--icon", "https://example.com/stock.png", "--yes")
        [agent] = [line for line in run("agents", "list").splitlines() if "https://bots.example.com/agui/" in line]
        run("agents", "delete", agent.split()[0], "--yes")
        run("send", "Hello", "--bot", "bot:bot", "--user", "maria", "--now")


def test_platform_lists_removes_and_replays(installation: Installation, project: Path) -> None:
    variables = {"COMETBOT_DATABASE_URL": "sqlite:///people.db", "COMETBOT_DATA": "people"}
    process, url = start(installation, project, "cometbot", "serve", "bot:bot", **variables)
    try:
        with requests.Session() as person:

            def call(method: str, path: str, **options: Any) -> Any:
                answer = person.request(method, f"{url}/v1/client-api/{path}", timeout=30, **options)
                assert answer.ok, answer.text
                return answer.json()

            user = call("POST", "user", json={"nickname": "Zoe"})["id"]
            bot = call("GET", "bots")[0]["id"]
            chat = call("POST", "chat", json={"botId": bot})["id"]
            [file] = call("POST", "files", files={"file": ("p.png", PNG)})
            call("POST", "chat/message", json={"chatId": chat, "body": "hello"})
            wait_for(lambda: "Hello Zoe!" in str(call("GET", f"chat/{chat}/messages")))
    finally:
        terminate(process)

    def run(*words: str) -> str:
        made = installation.run(project, "cometbot", *words, **PLATFORM, **variables)
        assert made.returncode == 0, made.stdout
        return made.stdout

    assert "Hello Zoe!" in run("replay", "m1", "bot:bot")
    run("replay", "m1", "bot:bot", "--as-test", "--output", "test_m1.py")
    tested = installation.run(project, "python", "-c", "import test_m1; test_m1.test_conversation_of_m1()")
    assert tested.returncode == 0, tested.stdout
    for what, id in (("files", file["id"]), ("chats", chat), ("users", user)):
        assert id in run("platform", what, "list")
        assert f"Removed the {what.removesuffix('s')} {id}." in run("platform", what, "remove", id)


def make_dead_letters(file: Path, count: int) -> list[str]:
    """Return the ids of messages that were given up, in a new database that the commands' user may write to."""
    conversation = Conversation("cometchat", "app1", "helpdesk", "maria_user_helpdesk", "maria")
    with closing(Delivery([], [], f"sqlite:///{file}")) as delivery:
        for number in range(count):
            delivery.enqueue(IncomingEvent(conversation, f"message:{number}", b"{}", "maria", 1_700_000_000.0))
            with delivery.database.write() as connection:
                mail = delivery.store.mailbox.get_oldest(connection, str(conversation.key))
                assert mail is not None
                delivery.store.mailbox.mark_running(connection, mail)
                delivery.store.mailbox.end(connection, mail, "dead", "helpdesk.track", "ValueError: no shoes")
        letters = delivery.dead_letters.list()
    give_to_nobody(*file.parent.glob(f"{file.name}*"))
    return [letter.id for letter in letters]


def give_to_nobody(*files: Path) -> None:
    """Make the user of the commands the owner of ``files``."""
    if as_nobody():
        for file in files:
            os.chown(file, NOBODY, NOBODY)


def test_dead_letters_are_shown_retried_and_discarded(installation: Installation, project: Path) -> None:
    first, second = make_dead_letters(project / "letters.db", 2)

    def run(*words: str) -> str:
        variables = {"COMETBOT_DATABASE_URL": "sqlite:///letters.db"}
        made = installation.run(project, "cometbot", "deadletters", *words, **PLATFORM, **variables)
        assert made.returncode == 0, made.stdout
        return made.stdout

    assert "ValueError: no shoes" in run("show", first)
    assert run("retry", first) == "Requeued 1 dead letter.\n"
    assert run("discard", second) == "Discarded 1 dead letter.\n"
    assert run("list") == "No dead letters.\n"


def test_dialogs_approvals_and_files_are_listed_and_ended(installation: Installation, project: Path) -> None:
    file = project / "dialogs.db"
    with closing(Delivery([], [], f"sqlite:///{file}")) as delivery:
        delivery.database.open()
    give_to_nobody(*project.glob("dialogs.db*"))

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return installation.run(project, "cometbot", *words, **PLATFORM, COMETBOT_DATABASE_URL="sqlite:///dialogs.db")

    assert run("dialogs", "list").stdout == "No dialogs.\n"
    assert run("approvals", "list").stdout == "No approvals.\n"
    for verb in ("show", "cancel"):
        assert "there is no dialog 'm1' (any more)" in run("dialogs", verb, "m1").stdout
    assert run("files", "list").stdout == "No files.\n"
    assert "no file at 7" in run("files", "revoke", "7").stdout


def test_jobs_and_broadcasts_are_listed_and_ended(installation: Installation, project: Path) -> None:
    shutil.copy(ROOT / "tests/acceptance/bots/news.py", project)
    variables = {**PLATFORM, "COMETBOT_DATABASE_URL": "sqlite:///news.db", "COMETBOT_BOT": "news:bot"}
    made = installation.run(project, "python", "news.py", **variables)
    assert made.returncode == 0, made.stdout

    def run(*words: str) -> str:
        made = installation.run(project, "cometbot", "jobs", *words, **variables)
        assert made.returncode == 0, made.stdout
        return made.stdout

    listed = run("list")
    assert "broadcast opening: 0 of 2 sent" in listed
    assert "report" in listed
    assert re.search(r"waiting +2", run("show", "opening"))
    run("pause", "opening")
    assert re.search(r"status +paused", run("show", "opening"))
    run("resume", "opening")
    run("cancel", "opening")
    assert re.search(r"status +cancelled", run("show", "opening"))
    run("run", "j1")
    run("cancel", "j2")
    assert "report" not in run("list")


_RUN_MIGRATIONS = """
import sqlalchemy as sa
from cometbot.store import migrate
with sa.create_engine("sqlite:///old.db").begin() as connection:
    migrate._run_migrations(connection)
"""


def test_database_of_the_first_release_is_upgraded(installation: Installation, project: Path) -> None:
    file = project / "old.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(FIRST_RELEASE.read_text())
    give_to_nobody(file)
    for command in (["cometbot", "db", "upgrade"], ["python", "-c", _RUN_MIGRATIONS]):
        made = installation.run(project, *command, COMETBOT_DATABASE_URL=f"sqlite:///{file}")
        assert made.returncode == 0, made.stdout
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]


def test_postgres_extra_is_imported(installation: Installation, project: Path) -> None:
    code = "import procrastinate, psycopg; from cometbot.store.postgresql import PostgreSQL; print(PostgreSQL)"
    made = installation.run(project, "python", "-c", code)
    assert (made.returncode, "PostgreSQL" in made.stdout) == (0, True), made.stdout


def test_mcp_serves_tools_to_the_official_client(installation: Installation, project: Path) -> None:
    source = "from cometbot import Bot\n\nbot = Bot('shop')\n\n\n@bot.tool\ndef add(a: int) -> int:\n    return a + 1\n"
    (project / "calculator.py").write_text(source)
    program, *arguments = installation.command("cometbot", "mcp", "calculator:bot")
    server = StdioServerParameters(command=program, args=arguments, env=installation.environ(project), cwd=project)

    async def call() -> str:
        async with Client(server) as client:
            [content] = (await client.call_tool("add", {"a": 1})).content
            return content.text

    assert asyncio.run(call()) == "2"


TESTS = {
    "init": test_init_makes_an_assistant_that_answers_without_a_key,
    "serve": test_installed.test_pages_uploads_and_downloads_work,
    "dev": test_dev_answers_the_lines_of_a_pipe,
    "mcp": test_mcp_serves_tools_to_the_official_client,
    "replay": test_platform_lists_removes_and_replays,
    **dict.fromkeys(("worker", "simplex", "doctor", "db upgrade"), test_installed.test_every_command_works_once),
    **dict.fromkeys(("send", "users create"), test_commands_for_cometchat_work),
    **{f"bots {verb}": test_commands_for_cometchat_work for verb in ("create", "delete", "list", "sync", "update")},
    **{f"agents {verb}": test_commands_for_cometchat_work for verb in ("delete", "list", "sync")},
    **{
        f"platform {what} {verb}": test_platform_lists_removes_and_replays
        for what in ("chats", "files", "users")
        for verb in ("list", "remove")
    },
    **{
        f"deadletters {verb}": test_dead_letters_are_shown_retried_and_discarded
        for verb in ("discard", "list", "retry", "show")
    },
    **{
        f"jobs {verb}": test_jobs_and_broadcasts_are_listed_and_ended
        for verb in ("cancel", "list", "pause", "resume", "run", "show")
    },
    **dict.fromkeys(
        ("approvals list", "dialogs cancel", "dialogs list", "dialogs show", "files list", "files revoke"),
        test_dialogs_approvals_and_files_are_listed_and_ended,
    ),
}
"""The test, or fixture, that runs each command for real."""
