"""Settings of several CometChat apps in one process: ``COMETCHAT_APP_ID__SHOP_EU`` beside ``COMETCHAT_APP_ID``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cometbot.errors import ConfigurationError
from cometbot.setting_values import parse_names

APPS_VARIABLE = "COMETCHAT_APPS"
_PREFIX = "COMETCHAT_"

Parsers = Mapping[str, Callable[[str], Any]]
"""The parsers of variables, by the variable's name."""


def variable_suffix(name: str) -> str:
    """Return the name of a bot or an app as the suffix of a variable: ``help-desk`` becomes ``HELP_DESK``."""
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def parse_app_names(text: str) -> tuple[str, ...]:
    """Return the names of apps in a comma-separated list."""
    names = parse_names(text)
    known: dict[str, str] = {}
    for name in names:
        if not re.fullmatch(r"[a-z0-9_-]{1,50}", name):
            raise ValueError(f"expected names such as shop_eu,shop_us, of a-z, 0-9, - and _, got {name!r}")
        other = known.setdefault(variable_suffix(name), name)
        if other != name:
            raise ValueError(f"the apps {other} and {name} would share the variables of one suffix; rename one of them")
    return names


def read_app_values(
    given: Mapping[str, str], apps: Iterable[str], parsers: Parsers, parse: Callable[..., Any]
) -> dict[str, dict[str, Any]]:
    """Return the values of the variables of single apps: of each app, by the variable's name without its suffix.

    ``parse`` is called with a variable's name, its text and its parser. Raises :class:`ConfigurationError` for a value
    that cannot be used, and if two apps have the same id.
    """
    values: dict[str, dict[str, Any]] = {}
    for app in apps:
        named = {base: f"{base}__{variable_suffix(app)}" for base in _app_variables(parsers)}
        values[app] = {base: parse(name, given[name], parsers[base]) for base, name in named.items() if name in given}
    _check_ids(values, str(given.get("COMETCHAT_APP_ID", "")).strip())
    return values


def _check_ids(values: Mapping[str, Mapping[str, Any]], default: str) -> None:
    known: dict[str, str] = {}
    for app, of_app in values.items():
        id = str(of_app.get("COMETCHAT_APP_ID", default))
        other = known.setdefault(id, app) if id else app
        if other != app:
            raise ConfigurationError(
                f"COMETCHAT_APP_ID__{variable_suffix(app)}: expected the id of another app than {other}'s, got {id!r}; "
                f"set it to that of {app}, or remove {app} from {APPS_VARIABLE}"
            )


def is_app_variable(name: str, apps: Iterable[str], parsers: Parsers) -> bool:
    """Return True if a variable sets something of one of the apps."""
    base, mark, suffix = name.partition("__")
    return bool(mark) and base in _app_variables(parsers) and suffix in map(variable_suffix, apps)


def list_stray_variables(given: Iterable[str], apps: Iterable[str], parsers: Parsers) -> list[str]:
    """Return the variables of apps that do not exist."""
    known = _app_variables(parsers)
    named = [name for name in sorted(given) if "__" in name and name.partition("__")[0] in known]
    return [name for name in named if not is_app_variable(name, apps, parsers)]


def describe_stray(name: str, apps: Iterable[str]) -> str:
    """Return the warning about a variable of :func:`list_stray_variables`."""
    return f"{name} belongs to no app of {APPS_VARIABLE}, which has {', '.join(apps) or 'none'}; it is ignored"


def _app_variables(parsers: Parsers) -> list[str]:
    return [name for name in parsers if name.startswith(_PREFIX) and name != APPS_VARIABLE]


def check_names(apps: Sequence[str], bots: Sequence[str]) -> list[str]:
    """Return the suffixes of all variables that belong to an app, a bot, or a bot in an app.

    Raises :class:`ConfigurationError` if two of them would have the same.
    """
    named = {f"the app {app!r}": variable_suffix(app) for app in apps}
    named |= {f"the bot {bot!r}": variable_suffix(bot) for bot in bots}
    named |= {
        f"the bot {bot!r} in the app {app!r}": f"{variable_suffix(app)}__{variable_suffix(bot)}"
        for app in apps
        for bot in bots
    }
    known: dict[str, str] = {}
    for owner, suffix in named.items():
        other = known.setdefault(suffix, owner)
        if other != owner:
            raise ConfigurationError(
                f"{other} and {owner} would share the variable COMETBOT_CALLBACK_USERNAME__{suffix}; rename one of them"
            )
    return list(known)
