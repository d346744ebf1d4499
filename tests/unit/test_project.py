"""The project as others meet it: what is installed, what the README shows, what can be imported."""

from __future__ import annotations

import ast
import configparser
import functools
import importlib
import re
import sys
from pathlib import Path

import pytest

import cometbot

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for file in (ROOT / "cometbot").rglob("*.py")
    if "migrations" not in file.parts and file.name not in ("__init__.py", "__main__.py")
)


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def requirements(text: str) -> set[str]:
    """The names in a list of requirements."""
    return {match[0].lower() for line in text.split("\n") if (match := re.match(r"[A-Za-z0-9_.-]+", line.strip()))}


@pytest.mark.parametrize("module", MODULES)
def test_every_module_can_be_imported(module: str) -> None:
    if module in ("cometbot.pydantic_ai", "cometbot.pydantic_steps") and sys.version_info < (3, 11):
        pytest.skip("needs Python 3.11")
    importlib.import_module(module)


def test_every_folder_with_modules_is_installed() -> None:
    folders = {folder for module in MODULES for folder in Path(*module.split(".")).parents} - {Path()}
    assert Path("cometbot/store") in folders
    assert [str(folder) for folder in folders if not (ROOT / folder / "__init__.py").is_file()] == []


def test_public_names_exist_and_have_docstrings() -> None:
    assert {"Bot", "Router", "Context", "Text", "Card"} <= set(cometbot.__all__)
    assert len(set(cometbot.__all__)) == len(cometbot.__all__)
    for name in cometbot.__all__:
        assert getattr(cometbot, name).__doc__, name


@functools.cache
def imported_packages() -> set[str]:
    """The top-level packages that cometbot imports and that are neither its own nor Python's."""
    known_to_type_checkers = {"_typeshed", "typing_extensions"}
    names: set[str] = set()
    for file in (ROOT / "cometbot").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module or "")
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"cometbot", *known_to_type_checkers}


def test_every_library_that_is_imported_is_required(setup: configparser.ConfigParser) -> None:
    extras = setup["options.extras_require"]
    optional = [extras[name] for name in ("postgres", "simplex", "mcp", "ai", "chat")]
    lists = [setup["options"]["install_requires"], *optional]
    required = set().union(*map(requirements, lists))
    spelled = {
        "dotenv": "python-dotenv",
        "jwt": "pyjwt",
        "markdown_it": "markdown-it-py",
        "PIL": "pillow",
        "pydantic_ai": "pydantic-ai-slim",
        "pythonjsonlogger": "python-json-logger",
        "ulid": "python-ulid",
    }
    # They come with Flask, requests and pydantic-ai-slim, whose interfaces they are part of; pytest runs the plugin
    # that it finds here.
    brought = {"werkzeug", "urllib3", "pydantic", "pytest"}
    assert "flask" in imported_packages()
    assert {spelled.get(name, name.replace("_", "-")) for name in imported_packages() - brought} <= required


def test_every_requirement_is_in_architecture_page(setup: configparser.ConfigParser) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text().lower()
    lists = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    names = set().union(*map(requirements, lists)) - {"cometbot"}
    assert {name for name in names if f"| {name} |" not in page} == set()


def test_requirements_have_lower_and_upper_bounds(setup: configparser.ConfigParser) -> None:
    lines = [line for line in setup["options"]["install_requires"].split("\n") if line]
    assert len(lines) >= 12
    assert [line for line in lines if not re.search(r">=[\d.]+,<\d+$", line)] == []


def test_the_readmes_python_compiles() -> None:
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.S | re.M)
    assert blocks
    for block in blocks:
        compile(block, "README.md", "exec")


def test_the_readmes_links_lead_to_files_that_exist() -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", (ROOT / "README.md").read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readmes_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert (
        set(re.findall(r"make (run|test|check|bench|clean|[a-z]+ing)\b", (ROOT / "README.md").read_text())) <= targets
    )


@pytest.mark.parametrize("folder", ["tests", "examples"])
def test_tests_leave_the_clock_of_other_threads_alone(folder: str) -> None:
    # A patched time.sleep or time.monotonic reaches every thread of the process, and ends those that it surprises.
    pattern = re.compile(r"""setattr\(\s*(?:[\w.]*\btime\s*,\s*"|"time\.)(?:sleep|time|monotonic|perf_counter)""")
    found = [str(file) for file in (ROOT / folder).rglob("*.py") if pattern.search(file.read_text())]
    assert found == []
