"""Load bots by name: ``shop:bot`` is the attribute ``bot`` of the module ``shop``."""

from __future__ import annotations

import difflib
import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

from cometbot.author_error import ErrorReport
from cometbot.bot import Bot
from cometbot.errors import CometbotError, ConfigurationError
from cometbot.settings import DEFAULT_BOT_FILE, Settings

_BOT_PATTERN = re.compile(r"^(\w+)\s*(?::[^=\n]+)?=\s*(?:\w+\.)?Bot\(", re.MULTILINE)
_MAX_FILES_READ = 50
_MAX_BOTS_SHOWN = 5
_HINT = "set COMETBOT_BOT to module:attribute, for example shop:bot for the Bot named bot in shop.py"


def choose_bot(given: str, settings: Settings) -> str:
    """Return ``given``, or else the bot named by ``settings``. Raises :class:`ConfigurationError` if there is none."""
    if spec := given or settings.default_bot_spec:
        return spec
    raise ConfigurationError(f"no bot is named and there is no {DEFAULT_BOT_FILE} here in {Path.cwd()}; {_HINT}")


def check_files(spec: str) -> None:
    """Raise :class:`ConfigurationError` if a file in ``spec`` does not exist. Nothing is imported."""
    for name in spec.split(","):
        module = name.strip().partition(":")[0]
        if module.endswith(".py"):
            _check_file(Path(module))


def load_bots(spec: str) -> list[Bot]:
    """Return the bots in ``spec``, in its order, each once.

    ``shop:bot`` and ``bots/shop.py:bot`` name one bot, ``shop`` and ``bots/shop.py`` the only bot of a module. Commas
    separate several. Modules are also searched for in the current folder, and a file's module in the file's own folder.
    Raises :class:`ConfigurationError` with the bots that exist instead, and :class:`RegistrationError` for a bot with a
    handler that nothing can call. Errors that an author's module raises during its import are not caught.
    """
    names = [name for part in spec.split(",") if (name := part.strip())]
    if not names:
        raise ConfigurationError(f"no bot is named; {_HINT}")
    bots: list[Bot] = []
    for name in names:
        bot = _load_bot(name)
        bot.check()
        if all(bot is not other for other in bots):
            bots.append(bot)
    return bots


def load_bots_or_explain(spec: str) -> list[Bot]:
    """Like :meth:`load_bots`, but convert errors of an author's module to :class:`ConfigurationError`.

    Their text has the location in the author's code.
    """
    try:
        return load_bots(spec)
    except ConfigurationError:
        raise
    except (Exception, SystemExit) as error:
        fault = ErrorReport.from_exception(error)
        text = str(error) if isinstance(error, CometbotError) else fault.text
        where = f"{fault.place}: " if fault.place else ""
        raise ConfigurationError(f"the bot {spec} cannot be loaded; {where}{text}") from error


def locate_bot(spec: str, bot: Bot) -> tuple[str, str]:
    """Return the module of ``bot`` and its name there. It is one of the bots that :func:`load_bots` loads."""
    for name in filter(None, map(str.strip, spec.split(","))):
        if _load_bot(name) is bot:
            place, _, path = name.rpartition(":") if ":" in name else (name, "", "")
            module = _import_module(place)
            return module.__name__, path or next(key for key, value in vars(module).items() if value is bot)
    raise ConfigurationError(f"{spec} does not name the bot {bot.name!r}; {_HINT}")


def _load_bot(name: str) -> Bot:
    module, _, path = name.rpartition(":") if ":" in name else (name, "", "")
    if not module or (":" in name and not path):
        raise ConfigurationError(f"{name!r} names no bot; {_HINT}")
    found: object = _import_module(module)
    if not path:
        return _only_bot(module, found)
    for part in path.split("."):
        if not hasattr(found, part):
            raise ConfigurationError(_describe_missing(found, part))
        found = getattr(found, part)
    if not isinstance(found, Bot):
        raise ConfigurationError(f"{name} is of the type {type(found).__name__} and no Bot; {_HINT}")
    return found


def _only_bot(module_name: str, module: object) -> Bot:
    bots = {id(value): (name, value) for name, value in vars(module).items() if isinstance(value, Bot)}
    if len(bots) == 1:
        return next(bot for _, bot in bots.values())
    names = ", ".join(f"{module_name}:{name}" for name, _ in bots.values())
    there = f"has several bots; name one of {names}" if bots else f"has no Bot; {_HINT}"
    raise ConfigurationError(f"{module_name} {there}")


def _import_module(place: str) -> ModuleType:
    module = _module_name_of(Path(place)) if place.endswith(".py") else place
    _add_to_import_path(Path.cwd())
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise ConfigurationError(f"there is no module {error.name!r} here in {_describe_folder()}; {_HINT}") from error


def _module_name_of(file: Path) -> str:
    """Return the dotted name of a file's module, and make it importable."""
    _check_file(file)
    folder, parts = file.resolve().parent, [file.stem]
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    _add_to_import_path(folder)
    return ".".join(parts)


def _check_file(file: Path) -> None:
    if not file.is_file():
        raise ConfigurationError(f"there is no file {file} here in {_describe_folder()}; {_HINT}")


def _describe_folder() -> str:
    """Return the current folder and the bots that its files seem to define."""
    here = Path.cwd()
    found = [
        f"{file.name}:{name}"
        for file in sorted(here.glob("*.py"))[:_MAX_FILES_READ]
        if not file.name.startswith("test_")
        for name in _BOT_PATTERN.findall(_read(file))
    ]
    shown = ", ".join(found[:_MAX_BOTS_SHOWN]) + (", …" if len(found) > _MAX_BOTS_SHOWN else "")
    return f"{here}, where there {'is' if len(found) == 1 else 'are'} {shown}" if found else str(here)


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8", errors="replace")
    except OSError:
        return ""


def _add_to_import_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _describe_missing(holder: object, name: str) -> str:
    where = f"the module {holder.__name__}" if isinstance(holder, ModuleType) else f"a {type(holder).__name__}"
    bots = [key for key, value in sorted(getattr(holder, "__dict__", {}).items()) if isinstance(value, Bot)]
    close = difflib.get_close_matches(name, bots, n=1)
    there = f"; it has: {', '.join(bots)}" if bots else "; it has no Bot at all"
    return f"{where} has no {name!r}{there}" + (f" (did you mean {close[0]}?)" if close and len(bots) > 1 else "")
