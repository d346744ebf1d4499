"""Whoever calls something public can read what they get."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = sorted(file for file in (ROOT / "cometbot").rglob("*.py") if "migrations" not in file.parts)

Function = ast.FunctionDef | ast.AsyncFunctionDef
CLASSES: dict[str, list[ast.ClassDef]] = {}
for tree in (ast.parse(file.read_text()) for file in FILES):
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            CLASSES.setdefault(node.name, []).append(node)


def name_of(base: ast.expr) -> str:
    """The last word of a base class, ``Channel`` of ``base.Channel``."""
    base = base.value if isinstance(base, ast.Subscript) else base
    return base.attr if isinstance(base, ast.Attribute) else base.id if isinstance(base, ast.Name) else ""


def ancestors(cls: ast.ClassDef) -> Iterator[ast.ClassDef]:
    """The class, and all of cometbot's that it comes from."""
    yield cls
    for base in cls.bases:
        for found in CLASSES.get(name_of(base), ()):
            if found is not cls:
                yield from ancestors(found)


def is_documented(cls: ast.ClassDef, name: str) -> bool:
    """Whether the class or one that it comes from says what a method is for."""
    return any(
        isinstance(item, Function) and item.name == name and ast.get_docstring(item)
        for one in ancestors(cls)
        for item in one.body
    )


def undocumented(tree: ast.Module, *, has_shapes: bool = False) -> Iterator[str]:
    """What is public in a module and says nothing of itself; ``has_shapes``: classes are described by their fields."""
    if not ast.get_docstring(tree):
        yield "the module"
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        if isinstance(node, ast.ClassDef):
            if has_shapes:
                continue
            yield from (f"{node.name}.{name}" for name in undocumented_methods(node))
        if not ast.get_docstring(node):
            yield node.name


def undocumented_methods(cls: ast.ClassDef) -> Iterator[str]:
    for item in cls.body:
        if (
            isinstance(item, Function)
            and not item.name.startswith(("_", "test_"))
            and not is_documented(cls, item.name)
        ):
            yield item.name


def test_everything_public_has_a_docstring() -> None:
    found = [
        f"{file.relative_to(ROOT)}: {name}"
        for file in FILES
        for name in undocumented(ast.parse(file.read_text()), has_shapes=file.name == "schemas.py")
    ]
    assert not found, "\n".join(found)


def test_missing_docstrings_are_found() -> None:
    code = 'class A:\n    """One."""\n    def f(self): ...\n    def _g(self): ...\ndef b(): ...\n'
    assert list(undocumented(ast.parse(code))) == ["the module", "A.f", "b"]
