"""The written-out pages of the reference are complete: they name every public name, option, setting and metric."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
from prometheus_client.parser import text_string_to_metric_families

import cometbot
from cometbot import Bot, Context
from cometbot.channels.cometchat import CometChatClient
from cometbot.channels.platform.config import config_variables
from cometbot.cli import main
from cometbot.delivery.delivery import Backlog
from cometbot.sent import Sent
from cometbot.settings import Settings, variable_name
from cometbot.state import State
from cometbot.store.jobs import JobCounts
from cometbot.testing import BotClient
from cometbot.web.metrics import Metrics

DOCS = Path(__file__).parents[2] / "docs"
WITHOUT_VARIABLE = {
    "app_values",
    "bot_credentials",
    "chat_api_encryption_keys",
    "cometchat_app",
    "platform_fields",
    "previous_passwords",
    "warnings",
}
"""Attributes of the settings that are made from other variables."""
ONLY_IN_MODULE = {
    "cometbot.matchers": ("Match", "Matcher"),
    "cometbot.messages": ("Capabilities", "ClientCall"),
    "cometbot.models": ("Mention", "Quote"),
}
"""Classes whose objects an author gets and has no need to import."""
WITH_FIELDS = ("cometbot.messages", "cometbot.fields", "cometbot.events", "cometbot.models")


def read_page(name: str) -> str:
    """Return what a reader of the page sees without Sphinx: the directives are left out."""
    return re.sub(r"^```\{.*?^```", "", (DOCS / name).read_text(), flags=re.S | re.M)


def read_section(page: str, title: str) -> str:
    """Return the text below a heading, up to the next heading of any level."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", page, re.S | re.M)
    assert found, f"there is no section {title!r}"
    return found[1]


def public_names(module: str) -> list[str]:
    """Return the names of ``cometbot`` that are defined in a module, and those that are read but not imported."""
    names = [name for name in cometbot.__all__ if getattr(getattr(cometbot, name), "__module__", "") == module]
    return [*names, *ONLY_IN_MODULE.get(module, ())]


def public_attributes(owner: object) -> list[str]:
    return [name for name in dir(owner) if not name.startswith("_")]


def leaves(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield name, command
        return
    context = click.Context(command)
    for part in command.list_commands(context):
        inner = command.get_command(context, part)
        assert inner is not None
        yield from leaves(inner, f"{name} {part}")


def make_context() -> Context:
    bot, contexts = Bot("shop"), []

    @bot.message()
    def keep(ctx: Context) -> None:
        contexts.append(ctx)

    BotClient(bot).send("hi")
    return contexts[0]


def test_context_page_has_every_attribute() -> None:
    page = read_page("reference/context.md")
    assert [name for name in public_attributes(make_context()) if not re.search(rf"`ctx\.{name}\b", page)] == []


@pytest.mark.parametrize(
    ("owner", "prefix", "names"),
    [
        (Sent, "sent", public_attributes(Sent)),
        (State, "state", [name for name in vars(State) if not name.startswith("_")]),
    ],
)
def test_context_page_has_members_of_sent_and_state(owner: type, prefix: str, names: list[str]) -> None:
    page = read_page("reference/context.md")
    assert len(names) >= 3
    assert [name for name in names if not re.search(rf"`{prefix}\.{name}\b", page)] == []


def test_matchers_page_has_every_matcher() -> None:
    page = read_page("reference/matchers.md")
    names = public_names("cometbot.matchers")
    assert len(names) >= 14
    assert [name for name in names if not re.search(rf"`{name}\b", page)] == []


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module in WITH_FIELDS for name in public_names(module)]
)
def test_class_has_a_section_with_its_fields(module: str, name: str) -> None:
    cls: Any = getattr(import_module(module), name)
    page = "messages.md" if cls.__module__ in ("cometbot.messages", "cometbot.fields") else "events.md"
    section = read_section(read_page(f"reference/{page}"), name)
    inherited = {field.name for base in cls.__mro__[1:] if is_dataclass(base) for field in fields(base)}
    own = {field.name for field in fields(cls)} - inherited
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.M)) == own


def test_errors_page_has_every_error() -> None:
    page = read_page("reference/errors.md")
    module = import_module("cometbot.errors")
    errors = [
        *(name for name, item in vars(module).items() if getattr(item, "__module__", "") == module.__name__),
        "UsageError",
    ]
    tree = read_section(page, "The tree")
    assert len(errors) >= 20
    assert [name for name in errors if not re.search(rf"^ *- `{name}`$", tree, re.M)] == []
    assert [name for name in errors if f"`{name}`" not in page] == []


@pytest.mark.parametrize(("name", "command"), list(leaves(main, "cometbot")))
def test_command_has_a_section_with_its_options(name: str, command: click.Command) -> None:
    section = read_section(read_page("reference/commands.md"), name)
    options = {
        option
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    rows = "\n".join(re.findall(r"^\| (`--.*?) \|", section, re.M))
    assert set(re.findall(r"`(--[\w-]+)", rows)) == options
    assert f"\nExample: `{name}" in section, "there is no example"


def test_options_of_all_commands_are_listed() -> None:
    section = read_section(read_page("reference/commands.md"), "Options of all commands")
    assert [option for item in main.params for option in item.opts if f"`{option}`" not in section] == []


def test_cometchat_page_has_every_operation() -> None:
    page = read_page("reference/cometchat.md")
    names = {name for name in dir(CometChatClient) if not name.startswith("_")} - {"send_request"}
    assert len(names) >= 60
    assert sorted(name for name in names if not re.search(rf"`(CometChatClient\.)?{name}\b", page)) == []


def test_settings_page_has_every_setting() -> None:
    page = read_page("settings.md")
    names = [variable_name(item.name) for item in fields(Settings) if item.name not in WITHOUT_VARIABLE]
    assert [name for name in names if not re.search(rf"^\| .*`{name}`.* \|", page, re.M)] == []


def test_platform_config_fields_are_listed() -> None:
    page = read_page("reference/settings.md")
    assert [name for name in config_variables() if not re.search(rf"^\| `{name}` \|", page, re.M)] == []


def test_monitoring_page_has_every_metric() -> None:
    metrics = Metrics(["shop"])
    metrics.handled("shop", 1.0, "done")
    metrics.sent("shop", 1.0, "sent")
    metrics.moderated("shop", 1.0, "match")
    metrics.recovered("shop")
    metrics.question_answered("shop", 1.0)
    metrics.model_called("shop", "gpt-5", input=1, output=1, cached=1)
    backlog = Backlog(0, 0.0, 0, jobs=JobCounts(next_seconds=1.0))
    exported = metrics.to_text(lambda: {"shop": backlog}).decode()
    expected = {}
    for family in text_string_to_metric_families(exported):
        if not family.name.endswith("_created"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            expected[name] = (family.type, labels)
    rows = re.findall(
        r"^\| `(cometbot_\w+)` \| (counter|gauge|histogram) \| (.*?) ?\| ", read_page("monitoring.md"), re.M
    )
    assert {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows} == expected
    assert len(expected) >= 16
