"""Measure cometbot's code without running it: chains of imports in each package, and lines by language."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import cometbot
from benchmarks.tables import table

PACKAGE = Path(cometbot.__file__).parent
_WEB_FILES = {"JavaScript": ".js", "CSS": ".css", "HTML": ".html"}
_COMMENT = re.compile(r"^\s*(/\*.*?\*/|<!--.*?-->|//[^\n]*)", re.DOTALL | re.MULTILINE)


def module_name(path: Path) -> str:
    """Return the dotted name of the module in a file of cometbot."""
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def chains() -> str:
    """Return a table of cometbot's packages, each with the longest chain of imports between its own modules."""
    modules = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
    imports = {name: _imports(path, modules) for name, path in modules.items()}
    packages = [name for name, path in modules.items() if path.name == "__init__.py" and name.count(".") in (1, 2)]
    rows = []
    for package in packages:
        inside = {name for name in modules if f"{name}.".startswith(f"{package}.")}
        chain = _longest_chain({name: imports[name] & inside for name in inside})
        rows.append([package, len(inside), len(chain), " → ".join(_relative(name, package) for name in chain)])
    return table(("package", "modules", "longest chain", "modules of the chain"), rows)


def _relative(name: str, package: str) -> str:
    return name.removeprefix(f"{package}.") if name != package else "__init__"


def _imports(path: Path, modules: dict[str, Path]) -> set[str]:
    """Return the modules that a module imports, also under TYPE_CHECKING and in functions. All imports are absolute."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(submodules & modules.keys() or {node.module})
    return found & modules.keys() - {module_name(path)}


def _longest_chain(imports: dict[str, set[str]]) -> list[str]:
    """Return the longest path that enters no module twice, also where modules import each other."""
    reached = {name: _reach(name, imports) for name in imports}

    @cache
    def longest(name: str, entered: frozenset[str]) -> list[str]:
        others = sorted(imports[name] - entered)
        entered |= {name}
        return [name, *max((longest(other, entered & reached[other]) for other in others), key=len, default=[])]

    return max((longest(name, frozenset()) for name in sorted(imports)), key=len)


def _reach(name: str, imports: dict[str, set[str]]) -> set[str]:
    reached, ahead = set[str](), [name]
    while ahead:
        new = imports[ahead.pop()] - reached
        reached |= new
        ahead.extend(new)
    return reached


def sizes() -> str:
    """Return a table of lines by language: no blank lines, comments, docstrings of modules, classes or functions."""
    counts = Counter({"Python": sum(_python_lines(path.read_text()) for path in PACKAGE.rglob("*.py"))})
    for language, suffix in _WEB_FILES.items():
        for path in PACKAGE.rglob(f"*{suffix}"):
            counts[language] += sum(bool(line.strip()) for line in _COMMENT.sub("", path.read_text()).splitlines())
    return table(("language", "code lines"), counts.items())


def _python_lines(source: str) -> int:
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
            ast.get_docstring(node) is not None
        ):
            docstrings.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return sum(
        bool(line.strip()) and not line.lstrip().startswith("#") and number not in docstrings
        for number, line in enumerate(source.splitlines(), 1)
    )
