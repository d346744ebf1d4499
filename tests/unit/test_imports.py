"""Which library is used where, and no modules import each other; layers are import-linter's business."""

from __future__ import annotations

import ast
import functools
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "cometbot").rglob("*.py"))

ALLOWED_FILES = {
    "flask": ["web/", "http/", "callback.py", "views.py", "wsgi.py", "channels/platform/views/", "simulator/"],
    "gunicorn": ["web/"],
    "marshmallow": ["schemas.py", "report_schemas.py"],
    "requests": ["client.py", "http_client.py", "wsgi.py"],
    "alembic": ["store/"],
    "sqlalchemy": ["store/", "delivery/", "inspection/", "chat/"],
    "prometheus_client": ["web/"],
    "click": ["cli/"],
    "rich": ["cli/"],
    "watchfiles": ["cli/"],
    "dotenv": ["settings.py"],
    "websockets": ["socket_session.py", "testing/simplex/"],
    "mcp": ["mcp/"],
    "pydantic": ["pydantic_steps.py"],
    "pydantic_ai": ["pydantic_ai.py", "pydantic_steps.py"],
    "uvicorn": ["mcp/"],
    "markdown_it": ["markdown.py"],
    "nh3": ["markdown.py"],
    "PIL": ["media.py", "testing/simplex/"],
    "tinytag": ["media.py"],
}
"""For each library the only folders of cometbot, and names of files, that may import it."""


@functools.cache
def imported(file: Path) -> set[str]:
    """The top-level packages that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def is_allowed(file: Path, home: str) -> bool:
    if home.endswith("/"):
        return file.is_relative_to(ROOT / "cometbot" / home)
    return file.name == home


@pytest.mark.parametrize("library", ALLOWED_FILES)
def test_a_library_is_imported_only_where_it_is_at_home(library: str) -> None:
    strangers = [
        str(file.relative_to(ROOT))
        for file in FILES
        if library in imported(file) and not any(is_allowed(file, home) for home in ALLOWED_FILES[library])
    ]
    assert not strangers


def test_imports_are_seen_where_they_are_known_to_be() -> None:
    assert len(FILES) > 30
    assert "marshmallow" in imported(ROOT / "cometbot/channels/cometchat/schemas.py")
    assert "orjson" in imported(ROOT / "cometbot/web/health.py")


def inner_imports(file: Path, modules: set[str]) -> set[str]:
    """The modules of cometbot that a file imports, in functions and for types alone too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                names.add(inner if inner in modules else node.module)
    return names & modules


def test_no_modules_import_each_other() -> None:
    files = {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in FILES}
    graph = {module: inner_imports(file, set(files)) - {module} for module, file in files.items()}
    assert "cometbot.matchers" in graph["cometbot.handlers"]
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"circle: {' -> '.join(error.args[1])}")
