"""The command menu that SimpleX shows, made from the commands of a bot."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from cometbot.bot import Bot
from cometbot.commands import Command

log = logging.getLogger(__name__)

MENU_LIMIT = 8_000
"""Maximum bytes of a menu as JSON, so that a profile with the menu fits into one message to each contact."""

LABEL_LIMIT = 100

_ENTRY_FIELDS = ("type", "keyword", "label", "params")
_KEYWORD = re.compile(r"\w+")


def make_menu(bot: Bot) -> list[dict[str, Any]]:
    """Return the visible commands of ``bot`` as ``ChatBotCommand`` objects, with ``/help`` at the end.

    Commands that share the word before an underscore (``order_track``, ``order_list``) form a submenu, and so do those
    of a router included with a prefix. SimpleX accepts letters, digits and ``_`` in names: a command is shown under the
    first of its names that fits, and left out if none does. If the menu exceeds :data:`MENU_LIMIT`, the last commands
    are left out as well. Left-out commands are logged.
    """
    listed = [(keyword, command) for command in bot.commands if (keyword := _find_keyword(command))]
    unlisted = sorted({command.name for command in bot.commands} - {command.name for _, command in listed})
    if unlisted:
        log.warning("commands left out of the SimpleX menu, which allows only letters, digits and _: %s", unlisted)
    commands = [(keyword.split("_"), _make_entry(keyword, command)) for keyword, command in listed]
    if commands and "help" not in {name for command in bot.commands for name in command.names}:
        commands.append((["help"], {"type": "command", "keyword": "help", "label": "Help"}))
    count = len(commands)
    menu = _nest_entries(commands)
    while len(orjson.dumps(menu)) > MENU_LIMIT:
        count -= 1
        menu = _nest_entries(commands[:count])
    if count < len(commands):
        log.warning("the menu of SimpleX has room for %d of %d commands", count, len(commands))
    return menu


def is_same_menu(given: object, menu: Sequence[Any]) -> bool:
    """Return True if the menu ``given`` by the CLI equals ``menu``. Unknown fields and nulls are ignored."""
    return _known_entries(given) == _known_entries(menu)


def _known_entries(menu: object) -> list[Any]:
    return [_known_entry(entry) for entry in menu] if isinstance(menu, list) else []


def _known_entry(entry: object) -> object:
    if not isinstance(entry, dict):
        return entry
    known: dict[str, Any] = {name: entry[name] for name in _ENTRY_FIELDS if entry.get(name) is not None}
    if known.get("type") == "menu":
        known["commands"] = _known_entries(entry.get("commands"))
    return known


def _find_keyword(command: Command) -> str:
    return next((name for name in command.names if _KEYWORD.fullmatch(name)), "")


def _make_entry(keyword: str, command: Command) -> dict[str, Any]:
    label = command.description or keyword.replace("_", " ").capitalize()
    entry = {"type": "command", "keyword": keyword, "label": label[:LABEL_LIMIT]}
    required = [parameter for parameter in command.parameters if parameter.is_required]
    if required:
        entry["params"] = " ".join(f"<{parameter.label.removesuffix(' …')}>" for parameter in required)
    return entry


def _nest_entries(commands: Iterable[tuple[Sequence[str], dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the entries in order. Entries that share their first word form a submenu at the position of the first."""
    entries_by_word: dict[str, list[tuple[Sequence[str], dict[str, Any]]]] = {}
    for words, entry in commands:
        entries_by_word.setdefault(words[0], []).append((words, entry))
    menu: list[dict[str, Any]] = []
    for word, entries in entries_by_word.items():
        if len(entries) == 1 or not word:
            menu += [entry for _, entry in entries]
            continue
        inner = _nest_entries([(words[1:] or [""], entry) for words, entry in entries])
        menu.append({"type": "menu", "label": word.capitalize(), "commands": inner})
    return menu
