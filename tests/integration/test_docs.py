"""What the pages show is true: their code runs, their commands and options exist, and so does what they name.

The Python of a page runs from top to bottom, in one namespace. A block that begins with ``# name.py`` becomes that
file, which later blocks import; functions named ``test_…`` are called. A comment such as ``<!-- says: hi => Hello -->``
after a block talks to the page's ``bot`` and looks for what is behind the arrow in its answer.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

import cometbot
from cometbot import Bot, Context, UsageError
from cometbot.channels.platform.config import config_variables
from cometbot.cli import main
from cometbot.events import CustomEvent, UnknownEvent
from cometbot.handlers import Handler
from cometbot.http.sse import PING_INTERVAL
from cometbot.loading import load_bots
from cometbot.routing import HandlerMatch, HandlerTable
from cometbot.settings import Settings, variable_name
from cometbot.testing import BotClient
from cometbot.web.app import stop_all

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```|^<!-- says: (.*?) -->", re.S | re.M)
VARIABLE = re.compile(r"(?<![A-Z_])(?:COMETBOT|COMETCHAT|SIMPLEX|CHAT_API|PLATFORM|AGUI)_[A-Z0-9_]+\b")
OF_ONE_BOT = r"(?:COMETBOT_CALLBACK_(?:USERNAME|PASSWORD)|CHAT_API_ENCRYPTION_KEY|COMETCHAT_[A-Z_]+)__[A-Z0-9_]+"
NO_VARIABLES = {"app_values", "bot_credentials", "cometchat_app", "previous_passwords", "warnings"}
SETTINGS = {variable_name(field.name) for field in fields(Settings) if field.name not in NO_VARIABLES}


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> list[str]:
    return [code for language, code, _ in FENCE.findall(page.read_text()) if language in languages]


def pages_with(*languages: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, *languages)]


@pytest.fixture(autouse=True)
def no_application_goes_on() -> Iterator[None]:
    yield
    stop_all()


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to run in, from which modules can be imported; they are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, text in {
        "COMETCHAT_APP_ID": "5150a0b1c2d3e4f6",
        "COMETCHAT_REGION": "eu",
        "COMETCHAT_API_KEY": "a-key-for-tests",
        "COMETBOT_CALLBACK_USERNAME": "cometchat",
        "COMETBOT_CALLBACK_PASSWORD": "a-password-for-tests",
        "COMETBOT_DATABASE_URL": f"sqlite:///{tmp_path}/cometbot.db",
    }.items():
        monkeypatch.setenv(name, text)
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def run(code: str, namespace: dict[str, Any], folder: Path, page: str) -> None:
    """Run a block, as a file of its own where it names one."""
    if match := re.match(r"# (\w+)\.py\n", code):
        (folder / f"{match[1]}.py").write_text(code)
        importlib.invalidate_caches()
        namespace.update(vars(importlib.import_module(match[1])))
    else:
        exec(compile(code, page, "exec", dont_inherit=True), namespace)


def call_tests(namespace: dict[str, Any], request: pytest.FixtureRequest) -> None:
    for name in [name for name in namespace if name.startswith("test_")]:
        function: Callable[..., None] = namespace.pop(name)
        function(**{fixture: request.getfixturevalue(fixture) for fixture in inspect.signature(function).parameters})


def use_handlers_page(bot: Bot) -> None:
    client = BotClient(bot)
    assert "Thank you for the file." in client.send_file(b"x", name="order.txt").text
    assert "Yes?" in client.in_group("team").send("hi", mention=True).text
    assert "Could you say that in fewer words?" in client.send("x" * 501).text


def use_groups_page(bot: Bot) -> None:
    client = BotClient(bot, group="ops")
    client.send("hi")
    client.send("/members")


def use_chat_api_page(bot: Bot) -> None:
    assert BotClient(bot).event(CustomEvent, id="1", data={})


def use_simplex_page(bot: Bot) -> None:
    with BotClient(bot, channel="simplex") as client:
        assert "1 bytes" in client.send_file(b"x", name="order.txt").text
        assert client.send("/logo")
        assert client.send("/news")
    BotClient(bot).event(UnknownEvent, kind="receivedGroupInvitation", raw={})


def use_cometchat_reference(bot: Bot) -> None:
    with BotClient(bot, channel="cometchat") as client:
        assert client.send("/vip").text == "Done."


OTHER_INPUT: dict[str, Callable[[Bot], None]] = {
    "docs/chat-api.md": use_chat_api_page,
    "docs/groups.md": use_groups_page,
    "docs/handlers.md": use_handlers_page,
    "docs/reference/cometchat.md": use_cometchat_reference,
    "docs/simplex.md": use_simplex_page,
}
"""Calls the handlers of a page that a line of text does not reach."""

NOT_CALLED = {"docs/simplex.md": ["report", "servers"], "docs/webhooks.md": ["ask_moderators"]}
"""Handlers of a page that need a file of the reader's, a group with a link, or a message that was blocked."""


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> set[Callable[..., Any]]:
    """The functions of all handlers that got an event, with arguments that they take."""
    functions: set[Callable[..., Any]] = set()

    def record(
        find: Callable[[HandlerTable, Context], HandlerMatch | None],
    ) -> Callable[[HandlerTable, Context], HandlerMatch | None]:
        def find_and_record(routes: HandlerTable, ctx: Context) -> HandlerMatch | None:
            found = find(routes, ctx)
            if found is not None and (found.handler.command is None or does_take(found.handler, found.line)):
                functions.add(found.handler.function)
            return found

        return find_and_record

    for name in ("find_handler", "find_action_handler"):
        monkeypatch.setattr(HandlerTable, name, record(getattr(HandlerTable, name)))
    return functions


@pytest.mark.parametrize("page", pages_with("python"), ids=named)
def test_the_python_of_a_page_runs_and_answers_as_it_says(
    page: Path, workplace: Path, request: pytest.FixtureRequest, called: set[Callable[..., Any]]
) -> None:
    if page.name == "pydantic-ai.md":
        pytest.importorskip("pydantic_ai", reason="needs Python 3.11")
    namespace: dict[str, Any] = {"__name__": "docs"}
    clients: dict[int, BotClient] = {}
    for language, code, dialogue in FENCE.findall(page.read_text()):
        if language == "python":
            run(code, namespace, workplace, named(page))
            call_tests(namespace, request)
        elif dialogue:
            said, _, expected = dialogue.partition(" => ")
            bot = namespace["bot"]
            client = clients.setdefault(id(bot), BotClient(bot))
            answer = client.send(said.removeprefix("@bot "), mention=said.startswith("@bot ")).text
            assert expected
            assert expected in answer, f"{bot} answered {said!r} with {answer!r}"
    for bot in {id(item): item for item in namespace.values() if isinstance(item, Bot)}.values():
        BotClient(bot, raise_errors=False).send("Is anybody there?")
        check_wrong_arguments(bot)
        OTHER_INPUT.get(named(page), lambda _: None)(bot)
        missed = [handler.name.rpartition(".")[2] for handler in bot.handlers if handler.function not in called]
        assert missed == NOT_CALLED.get(named(page), []), "add a dialogue that calls the handler"


WRONG_LINES = ("", "x", "x y z", "1 2 3 4 5 6 7 8 9 10", "9" * 400, "½ “", "-1 \N{PILE OF POO}")


def check_wrong_arguments(bot: Bot) -> int:
    """Send wrong arguments to each command of the bot, and return how many lines its handlers do not take.

    Fails if a line has no answer, or none that a person can use. The client raises what a handler raises.
    """
    has_own_answer = any(issubclass(UsageError, handler.classes) for handler in bot.error_handlers)
    refused = [
        (handler.command, line)
        for handler in bot.handlers
        for line in WRONG_LINES
        if handler.command and not does_take(handler, line)
    ]
    client = BotClient(bot)
    for command, line in refused:
        answer = client.send(f"/{command.name} {line}").text
        assert answer, f"/{command.name} {line!r} has no answer"
        assert has_own_answer or f"/{command.name}" in answer, f"/{command.name} {line!r} got {answer!r}"
        assert client.dead_letters == []
    return len(refused)


def does_take(handler: Handler, line: str) -> bool:
    """Return whether the handler takes a line of arguments."""
    try:
        handler.signature.parse(line)
    except ValueError:
        return False
    return True


def test_a_usage_error_handler_that_fails_would_be_noticed() -> None:
    bot = Bot("shop")

    @bot.command("buy")
    def buy(ctx: Context, number: int) -> str:
        return str(number)

    assert check_wrong_arguments(bot) > 0

    @bot.error(UsageError)
    def usage(ctx: Context, error: UsageError) -> str:
        raise RuntimeError("no answer")

    with pytest.raises(RuntimeError):
        check_wrong_arguments(bot)


def commands(text: str) -> Iterator[list[str]]:
    """What stands behind each ``cometbot`` that shell code calls, as its arguments."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and (words[0] == "sudo" or "=" in words[0]):
            words = words[3:] if words[:2] == ["sudo", "-u"] else words[1:]
        if words and Path(words[0]).name == "cometbot":
            yield words[1:]


def check_command(arguments: list[str]) -> None:
    """Fail unless the command line is one that the real one would take."""
    command: click.Command = main
    context = main.make_context("cometbot", [], resilient_parsing=True)
    while isinstance(command, click.Group):
        if not arguments or arguments[0].startswith("-"):
            command.make_context("cometbot", list(arguments), resilient_parsing=True)
            return
        found = command.get_command(context, arguments[0])
        assert found is not None, f"there is no command {arguments[0]}"
        command, arguments = found, arguments[1:]
        context = command.make_context(command.name, [], parent=context, resilient_parsing=True)
    command.make_context(command.name, list(arguments), parent=context)


@pytest.mark.parametrize("page", pages_with("sh"), ids=named)
def test_the_shell_code_of_a_page_parses(page: Path) -> None:
    for code in blocks(page, "sh"):
        found = subprocess.run(["bash", "-n"], input=code, text=True, capture_output=True, check=False)
        assert found.returncode == 0, f"{found.stderr}\n{code}"


def test_the_commands_of_all_pages_exist_with_their_options() -> None:
    called = [(page, words) for page in PAGES for code in blocks(page, "sh") for words in commands(code)]
    mentioned = [
        (page, words)
        for page in PAGES
        for code in re.findall(r"`(cometbot [^`\n]+)`", page.read_text())
        for words in commands(code)
    ]
    for page, words in [*called, *mentioned]:
        try:
            check_command(words)
        except click.ClickException as error:
            # A sentence may speak of a command without all that it takes.
            if not (isinstance(error, click.MissingParameter) and (page, words) in mentioned):
                pytest.fail(f"{named(page)}: cometbot {shlex.join(words)}: {error.format_message()}")
    assert len(called) > 25


@pytest.mark.parametrize(
    "line", ["cometbot nothing", "cometbot serve --bind", "cometbot bots sync --force", "cometbot send"]
)
def test_a_command_that_does_not_exist_would_be_noticed(line: str) -> None:
    [arguments] = commands(line)
    with pytest.raises((click.ClickException, AssertionError)):
        check_command(arguments)


def test_every_command_is_on_the_commands_page() -> None:
    def leaves(command: click.Command, name: str) -> Iterator[str]:
        if not isinstance(command, click.Group):
            yield name
            return
        context = click.Context(command)
        for part in command.list_commands(context):
            inner = command.get_command(context, part)
            assert inner is not None
            yield from leaves(inner, f"{name} {part}")

    text = (ROOT / "docs" / "commands.md").read_text()
    assert [name for name in leaves(main, "cometbot") if f"`{name}" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_variables_that_a_page_names_are_settings(page: Path) -> None:
    names = {name.rstrip("_") for name in VARIABLE.findall(page.read_text())}
    own = {name for name in names if re.fullmatch(OF_ONE_BOT, name)}
    config = {*config_variables(), "PLATFORM_SERVICE", "PLATFORM_LIMITS"}
    assert names - own - SETTINGS - config == set()


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    links = re.findall(r"\]\((?!https?://|mailto:|#)([^)#\s]+)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_stands_in_a_table_of_contents() -> None:
    docs = ROOT / "docs"
    contents = {
        (page.parent / name).relative_to(docs)
        for page in (docs / "index.md", docs / "reference" / "index.md")
        for tree in re.findall(r"^```\{toctree\}\n(.*?)^```", page.read_text(), re.S | re.M)
        for name in re.findall(r"^[\w/-]+$", tree, re.M)
    }
    pages = {page.relative_to(docs).with_suffix("") for page in docs.rglob("*.md")}
    assert pages - contents == {Path("index")}
    assert contents - pages == set()


def test_the_tests_that_pages_name_exist() -> None:
    named_tests = [
        (page, file, test)
        for page in PAGES
        for file, test in re.findall(r"\b((?:tests|examples|cometbot)/[\w/]+\.py)::(test_\w+)", page.read_text())
    ]
    missing = [
        f"{named(page)}: {file}::{test}"
        for page, file, test in named_tests
        if not (ROOT / file).is_file() or f"def {test}(" not in (ROOT / file).read_text()
    ]
    assert len(named_tests) > 30
    assert missing == []


def test_every_promise_names_at_least_one_test() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text()
    sections = re.split(r"^## ", text, flags=re.M)[1:]
    promises = [section for section in sections if re.match(r"P\d+\b", section)]
    assert [promise.partition(" ")[0].rstrip(".:") for promise in promises] == [f"P{number}" for number in range(1, 11)]
    assert [promise.splitlines()[0] for promise in promises if "::test_" not in promise] == []


@pytest.mark.parametrize("page", pages_with("ini"), ids=named)
def test_the_units_of_a_page_are_readable_and_start_what_exists(page: Path) -> None:
    for code in blocks(page, "ini"):
        unit = ConfigParser(strict=False, interpolation=None)
        unit.read_string(code)
        for arguments in commands(unit.get("Service", "ExecStart", fallback="")):
            check_command(arguments)


@pytest.mark.parametrize("page", pages_with("nginx"), ids=named)
def test_the_proxy_configurations_of_a_page_are_balanced_and_pass_on_the_callback(page: Path) -> None:
    for code in blocks(page, "nginx"):
        assert code.count("{") == code.count("}") > 0
        assert re.search(r"location /(cometchat)? ", code)
        assert not re.search(r"^\s*[^\s{}#][^{};]*$", code, re.M), "a line without its semicolon"


def test_blocks_are_in_a_language_that_is_checked() -> None:
    known = {"python", "sh", "ini", "nginx", "text", "console", "yaml", ""}
    languages = {(named(page), language) for page in PAGES for language, *_ in FENCE.findall(page.read_text())}
    assert {item for item in languages if item[1] not in known} == set()


def test_the_comparison_shows_its_bots() -> None:
    shown = re.findall(r"^~~~python\n(.*?)^~~~$", (ROOT / "docs" / "comparison.md").read_text(), re.S | re.M)
    names = ("order_cometbot", "order_aiogram", "order_telegram", "assistant_cometbot", "assistant_bolt")
    assert shown == [(ROOT / "docs" / "comparison" / f"{name}.py").read_text() for name in names]


@pytest.mark.parametrize("bot", ["order", "assistant"])
def test_the_bots_of_the_comparison_pass_their_tests(bot: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", ".", "-p", "no:cacheprovider"]
    folder = ROOT / "docs" / "comparison"
    environ = {**os.environ, "PYTHONPATH": "."}
    done = subprocess.run(
        [*command, f"test_{bot}_cometbot.py"], cwd=folder, env=environ, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout


LONGER = {"feedback.py": 82, "trading.py": 92}
"""Examples that need more lines: files, retries and a table of their own."""


def test_every_example_is_listed_short_and_tested() -> None:
    text = (ROOT / "docs" / "examples.md").read_text()
    examples = [file for file in (ROOT / "examples").glob("*.py") if not file.name.startswith("test_")]
    assert len(examples) >= 9
    for file in examples:
        assert f"../examples/{file.name}" in text
        assert len(file.read_text().splitlines()) < LONGER.get(file.name, 80)
        assert (file.parent / f"test_{file.name}").is_file()


def test_every_example_runs_with_its_own_command_or_with_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    for row in re.findall(r"^\| \[.*", (ROOT / "docs" / "examples.md").read_text(), re.M):
        file = re.findall(r"\((?:\.\./)(examples/\w+\.py)\)", row)[0]
        own = re.findall(r"`(?:[A-Z_]+=\S+ )*(python|cometbot dev) (examples/[^\s`]+)", row)
        assert len(own) <= 1, row
        program, spec = own[0] if own else ("cometbot dev", f"{file}:bot")
        assert all(part.startswith(file) for part in spec.split(",")), row
        if program == "cometbot dev":
            monkeypatch.delitem(sys.modules, Path(file).stem, raising=False)
            assert load_bots(",".join(f"{ROOT}/{part}" for part in spec.split(",")))
            del sys.modules[Path(file).stem]


def test_every_public_name_is_in_the_reference() -> None:
    listed: set[str] = set()
    for page in (ROOT / "docs" / "reference").glob("*.md"):
        listed.update(re.findall(r"autoclass:: \S+\.(\w+)$", page.read_text(), re.M))
        for module, members in re.findall(r"automodule:: (\S+)\n   :members:([^\n]*)", page.read_text()):
            own = importlib.import_module(module)
            names = members.replace(",", " ").split() or [name for name in vars(own) if not name.startswith("_")]
            assert [name for name in names if not hasattr(own, name)] == []
            listed.update(names)
    assert set(cometbot.__all__) - listed == set()


def yaml_documents() -> list[dict[str, Any]]:
    """Return every YAML document of the page on proxies."""
    text = "---\n".join(blocks(ROOT / "docs" / "proxies.md", "yaml"))
    return [document for document in yaml.safe_load_all(text) if document]


def test_the_traefik_recipe_names_only_parts_that_it_defines() -> None:
    static, dynamic = yaml_documents()[:2]
    parts = dynamic["http"]
    for router in parts["routers"].values():
        assert set(router["entryPoints"]) <= set(static["entryPoints"])
        assert set(router.get("middlewares", [])) <= set(parts["middlewares"])
        assert router["service"] in parts["services"]


def test_the_ingress_recipe_lets_streams_and_bodies_through() -> None:
    ingresses = {document["metadata"]["name"]: document for document in yaml_documents() if "kind" in document}
    sizes = {}
    for name, ingress in ingresses.items():
        notes = {key.rpartition("/")[2]: text for key, text in ingress["metadata"]["annotations"].items()}
        assert float(notes["proxy-read-timeout"]) > PING_INTERVAL
        assert notes["proxy-buffering"] == "off"
        sizes[name] = notes["proxy-body-size"]
    assert sizes == {"bots": "2m", "chat": "30m"}
