"""What the code offers: settings, commands, the public interface, and the tests of faults."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import click
from click.testing import CliRunner

from cometbot.cli import main
from cometbot.errors import ConfigurationError
from cometbot.settings import Secret, Settings, variable_name
from tests.snapshot.served import to_text

ROOT = Path(__file__).parents[2]
FAULTS = ROOT / "tests" / "acceptance" / "faults"
REFERENCE = ROOT / "docs" / "reference"
_DIRECTIVE = re.compile(r"^\.\. auto(module|class|function):: ([\w.]+)((?:\n   :.*)*)", re.MULTILINE)
_MEMBERS = re.compile(r":members: (.+)")
_WRONG = ("a:b\x01@#'", "-1", "1")


def settings() -> str:
    """Return each variable with type, default, description, what it does not take; then the channels' settings."""
    rows = re.findall(r"^\| (`[A-Z_]+`.*?) \|(.*)\|$", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE)
    described = {name: text.strip() for names, text in rows for name in re.findall(r"`([A-Z_]+)`", names)}
    lines = []
    hints = get_type_hints(Settings)
    for field in dataclasses.fields(Settings):
        if not str(field.type).startswith("Annotated"):
            lines.append(f"Settings.{field.name}: {field.type}")
            continue
        name = variable_name(field.name)
        lines.append(f"{name} type: {describe(hints[field.name])}")
        lines.append(f"{name} default: {_default(field)}")
        lines.append(f"{name} docs: {described.get(name, '-')}")
        lines += [f"{name} {problem}" for problem in _problems(name)]
    lines += [f"{name} docs: {text}" for name, text in described.items() if f"{name} docs: {text}" not in lines]
    template = re.findall(r"^(?:# )?[A-Z_]+=.*", (ROOT / ".env.example").read_text(), re.MULTILINE)
    lines += [f".env.example {line}" for line in template]
    for path in sorted((ROOT / "cometbot" / "channels").rglob("*.py")):
        if path.name == "config.py" or "Settings:" in path.read_text():
            lines += _fields(".".join(path.relative_to(ROOT).with_suffix("").parts))
    return to_text(sorted(lines))


def _problems(name: str) -> Iterator[str]:
    for text in _WRONG:
        try:
            for warning in Settings.from_environment({name: text}, None).warnings:
                yield f"warning for {text!r}: {warning}"
        except ConfigurationError as error:
            yield f"error for {text!r}: {error}"


def _fields(module: str) -> Iterator[str]:
    for kind in vars(importlib.import_module(module)).values():
        if not (inspect.isclass(kind) and dataclasses.is_dataclass(kind) and kind.__module__ == module):
            continue
        if kind.__name__.endswith("Settings") or module.endswith(".config"):
            for field in dataclasses.fields(kind):
                yield f"{kind.__name__}.{field.name}: {field.type}, default {_default(field)}"


def _default(field: Any) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return describe(field.default_factory())
    return "required" if field.default is dataclasses.MISSING else describe(field.default)


def cli() -> str:
    """Return the help of every command."""
    return "".join(_help(main, []))


def _help(command: click.Command, path: list[str]) -> Iterator[str]:
    shown = CliRunner().invoke(main, [*path, "--help"], prog_name="cometbot", env={"COLUMNS": "80"})
    yield f"$ {' '.join(['cometbot', *path])} --help\n{shown.output}\n"
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _help(found, [*path, name])


def faults() -> str:
    """Return the tests of faults with their marks, and the ledgers that they check."""
    lines = []
    for file in sorted(FAULTS.glob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                marks = " ".join(sorted(ast.unparse(mark) for mark in node.decorator_list))
                lines.append(f"{file.name} {node.name} {marks}".rstrip())
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("check"):
                lines.append(f"{file.name} ledger {', '.join(ast.unparse(item) for item in node.args[1:])}")
            if isinstance(node, ast.Assert):
                lines.append(f"{file.name} {ast.unparse(node)}")
    return to_text(sorted(lines))


def api() -> str:
    """Return every public name with its kind, signature and members."""
    lines: set[str] = set()
    for path in _public_modules():
        module = importlib.import_module(path)
        for name in getattr(module, "__all__", ()):
            lines.update(_public(f"{path}.{name}", getattr(module, name)))
    for page in sorted(REFERENCE.glob("*.md")):
        for kind, path, options in _DIRECTIVE.findall(page.read_text()):
            lines.update(_documented(kind, path, options))
    return to_text(sorted(lines))


def _public_modules() -> Iterator[str]:
    yield from ("cometbot", "cometbot.simulator")
    for package in ("cometbot.testing", "cometbot.channels"):
        yield package
        found = pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}.")
        yield from (module.name for module in found if module.ispkg)


def _documented(kind: str, path: str, options: str) -> Iterator[str]:
    if kind != "module":
        module, _, name = path.rpartition(".")
        yield from _public(path, getattr(importlib.import_module(module), name))
    elif ":members:" in options:
        module = importlib.import_module(path)
        named = _MEMBERS.search(options)
        own = [name for name, one in vars(module).items() if getattr(one, "__module__", "") == path]
        names = named[1].split(", ") if named else getattr(module, "__all__", own)
        for name in names:
            if not name.startswith("_"):
                yield from _public(f"{path}.{name}", getattr(module, name))


def _public(path: str, value: Any) -> Iterator[str]:
    if not inspect.isclass(value):
        yield f"{path}{_signature(value)}"
        return
    yield f"{path}: class of {', '.join(base.__name__ for base in value.__mro__[1:-1]) or 'object'}"
    if not issubclass(value, BaseException) or "__init__" in vars(value):
        yield f"{path}{_signature(value)}"
    hints = {name: hint for base in value.__mro__ for name, hint in vars(base).get("__annotations__", {}).items()}
    for name, hint in hints.items():
        if not name.startswith("_"):
            yield f"{path}.{name}: {hint}"
    for base in filter(_is_own, value.__mro__):
        yield from (f"{path}.{name}: attribute" for name in _set_at_start(base) - hints.keys())
    for name in {name for base in value.__mro__ if _is_own(base) for name in vars(base)}:
        if not name.startswith("_") and not (name in hints and not callable(getattr(value, name))):
            yield f"{path}.{name}{_signature(inspect.getattr_static(value, name))}"


def _set_at_start(kind: type) -> set[str]:
    start = vars(kind).get("__init__")
    is_written = inspect.isfunction(start) and start.__code__.co_filename.startswith(str(ROOT))
    return set(re.findall(r"self\.([a-z]\w*)(?:: .+?)? = ", inspect.getsource(start))) if is_written else set()


def _is_own(kind: type) -> bool:
    return kind.__module__.startswith("cometbot")


def _signature(value: Any) -> str:
    if isinstance(value, property):
        return f": property, {inspect.signature(value.fget).return_annotation}" if value.fget else ": property"
    prefix = f": {type(value).__name__} " if isinstance(value, classmethod | staticmethod) else ""
    value = getattr(value, "__func__", value)
    if not callable(value):
        return f": {type(value).__name__} {describe(value)}"
    try:
        signature = inspect.signature(value)
    except ValueError:
        return ": callable"
    changed = [
        one if one.default is inspect.Parameter.empty else one.replace(default=_Shown(one.default))
        for one in signature.parameters.values()
    ]
    return prefix + str(signature.replace(parameters=changed))


class _Shown:
    def __init__(self, value: object) -> None:
        self._value = value

    def __repr__(self) -> str:
        return describe(self._value)


def describe(value: object) -> str:
    """Return a repr that is the same in every run and folder."""
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(describe, value)))}}}"
    if isinstance(value, Secret):
        return "a secret" if value else "no secret"
    if isinstance(value, type):
        return value.__name__
    if dataclasses.is_dataclass(value):
        fields = (f"{field.name}={describe(getattr(value, field.name))}" for field in dataclasses.fields(value))
        return f"{type(value).__name__}({', '.join(fields)})"
    text = repr(value).replace(str(ROOT), "").replace(json.dumps(str(Path.cwd()))[1:-1], "")
    return re.sub(r" at 0x[0-9a-f]+", "", text)
