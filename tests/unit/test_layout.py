"""The size and place of things: a file that is looked into is understood in two minutes."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import LONG_FILES

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "cometbot").rglob("*.py"))
TOP_LEVEL = {
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "benchmarks",
    "cometbot",
    "docs",
    "examples",
    "gunicorn.conf.py",
    "setup.cfg",
    "setup.py",
    "tests",
    "wsgi.py",
}
MAX_FILE_LINES = 600
MAX_BODY_LINES = 40
MAX_DEPTH = 3
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "services", "misc"}

Function = ast.FunctionDef | ast.AsyncFunctionDef
_NESTING = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)


@dataclass(frozen=True)
class Measured:
    """A function with its place, the number of lines of its body, and how deep blocks stand in each other."""

    name: str
    length: int
    depth: int


@functools.cache
def measure(file: Path) -> tuple[bool, list[Measured]]:
    """Return whether a module has a docstring, and its functions."""
    tree = ast.parse(file.read_text())
    name = file.relative_to(ROOT)
    functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
    measured = [Measured(f"{name}:{node.lineno} {node.name}", body_length(node), depth(node)) for node in functions]
    return bool(ast.get_docstring(tree)), measured


def functions() -> list[Measured]:
    """Return all functions but those of migrations, which are lists of steps that nobody changes again."""
    return [function for file in FILES if "versions" not in file.parts for function in measure(file)[1]]


def body_length(function: Function) -> int:
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return ((body[-1].end_lineno or 0) - body[0].lineno + 1) if body else 0


def depth(node: ast.AST) -> int:
    """How deep blocks stand in each other; ``elif`` is not deeper than ``if``, and an inner function begins anew."""
    deepest = 0
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, Function | ast.ClassDef | ast.Lambda):
                continue
            is_elif = isinstance(node, ast.If) and name == "orelse" and isinstance(child, ast.If)
            deepest = max(deepest, depth(child) + (isinstance(child, _NESTING) and not is_elif))
    return deepest


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    return listed.stdout.splitlines()


def test_files_are_at_most_600_lines_long() -> None:
    lengths = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in FILES}
    assert {name: length for name, length in lengths.items() if length > MAX_FILE_LINES} == {}


def test_function_bodies_are_at_most_40_lines_long() -> None:
    assert [function.name for function in functions() if function.length > MAX_BODY_LINES] == []


def test_functions_are_at_most_three_levels_deep() -> None:
    assert [function.name for function in functions() if function.depth > MAX_DEPTH] == []


def test_no_module_has_a_meaningless_name() -> None:
    assert [str(file) for file in FILES if file.stem in FORBIDDEN_NAMES or file.parent.name in FORBIDDEN_NAMES] == []


def test_every_module_begins_with_what_it_is_for() -> None:
    assert [str(file) for file in FILES if file.stat().st_size and not measure(file)[0]] == []


def test_the_top_level_holds_only_what_every_python_project_has() -> None:
    names = {name.partition("/")[0] for name in tracked()}
    assert {name for name in names - TOP_LEVEL if not name.startswith(".")} == set()


def test_tests_create_folders_that_a_later_run_removes() -> None:
    """A killed run leaves the folders of ``tempfile`` for good, those of ``TemporaryFolder`` until the next start."""
    calls = re.compile(r"\bmkdtemp\(|\bTemporaryDirectory\((?!dir=)")
    files = [file for file in (ROOT / "tests").rglob("*.py") if file != Path(__file__)]
    assert [str(file.relative_to(ROOT)) for file in files if calls.search(file.read_text())] == []


def test_files_that_tests_begin_with_exist() -> None:
    assert [name for name in LONG_FILES if not (ROOT / "tests" / name).exists()] == []


def test_tests_stand_in_folders_without_packages() -> None:
    assert [str(file) for file in (ROOT / "tests").rglob("__init__.py")] == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f():\n if a:\n  for b in c:\n   with d:\n    e()", 3),
        ("def f():\n if a:\n  b()\n elif c:\n  d()\n elif e:\n  g()", 1),
        ("def f():\n try:\n  a()\n except B:\n  while c:\n   d()", 2),
        ("def f():\n if a:\n  def g():\n   if b:\n    c()", 1),
    ],
)
def test_depth_counts_blocks_that_stand_in_each_other(source: str, expected: int) -> None:
    assert depth(ast.parse(source).body[0]) == expected
