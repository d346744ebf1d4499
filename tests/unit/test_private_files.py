"""Files that the package writes have a mode of their own, which does not depend on the umask."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from cometbot import private_files
from cometbot.private_files import copy_access, create_file, make_folder
from tests.file_modes import get_mode

PACKAGE = Path(__file__).parents[2] / "cometbot"
CREATING_CALLS = {
    "write_text",
    "write_bytes",
    "touch",
    "mkdir",
    "makedirs",
    "mkfifo",
    "copyfile",
    "copytree",
    "ZipFile",
}

ALLOWED = {
    ("private_files.py", "open"): "opens with a mode",
    ("private_files.py", "mkdir"): "creates with a mode",
    ("store/sqlite.py", "connect"): "the file is created before, with a mode",
    ("store/probe.py", "connect"): "opens what exists",
    ("cli/init.py", "open"): "source code, which is meant to be shared",
    ("cli/init.py", "mkdir"): "a folder of source code or packages",
    ("cli/init.py", "ZipFile"): "a package, which is meant to be shared",
    ("testing/contract/files.py", "write_bytes"): "a file of a test, in its own folder",
}
"""Calls without a mode, and the reason for each. Temporary files and folders of `tempfile` have 0600 and 0700."""


def name_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def owner_of(call: ast.Call) -> str:
    return ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""


def mode_of(call: ast.Call) -> str:
    """Return the mode of a call of `open`, as a builtin or as a method of a path."""
    place = 0 if isinstance(call.func, ast.Attribute) else 1
    given = [word.value for word in call.keywords if word.arg == "mode"] + call.args[place : place + 1]
    return str(given[0].value) if given and isinstance(given[0], ast.Constant) else ""


def writes(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield what may create a file or a folder without a mode: the name of the call, and its line."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name, owner = name_of(node), owner_of(node)
        if owner == "os" and name == "open":
            may_create = "O_CREAT" in ast.unparse(node) and ast.literal_eval(node.args[2]) != 0o600
        elif name == "open":
            may_create = bool(set(mode_of(node)) & set("wxa+"))
        else:
            may_create = (owner == "sqlite3" and name == "connect") or (
                name in CREATING_CALLS and owner != "private_files"
            )
        if may_create:
            yield name, node.lineno


def test_every_file_that_the_package_writes_has_a_mode() -> None:
    found = {
        (str(file.relative_to(PACKAGE)), name, line)
        for file in sorted(PACKAGE.rglob("*.py"))
        for name, line in writes(ast.parse(file.read_text()))
    }
    assert [place for place in sorted(found) if place[:2] not in ALLOWED] == []


def test_a_new_folder_is_closed_with_those_above_it(tmp_path: Path, open_umask: None) -> None:
    make_folder(tmp_path / "a" / "b")
    assert [get_mode(tmp_path / name) for name in ("a", "a/b")] == [0o700, 0o700]


def test_a_folder_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o750)
    make_folder(tmp_path / "a" / "b")
    assert get_mode(tmp_path / "a") == 0o750


def test_a_file_in_the_place_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(OSError, match="a"):
        make_folder(tmp_path / "a" / "b")
    with pytest.raises(OSError, match="a"):
        make_folder(tmp_path / "a")


def test_a_new_file_is_closed_and_an_old_one_keeps_its_mode(tmp_path: Path, open_umask: None) -> None:
    old = tmp_path / "old"
    old.write_bytes(b"old")
    old.chmod(0o640)
    for name in ("old", "new"):
        private_files.write_bytes(tmp_path / name, b"text")
    assert (old.read_bytes(), get_mode(old), get_mode(tmp_path / "new")) == (b"text", 0o640, 0o600)


def test_a_link_to_nowhere_becomes_a_closed_file(tmp_path: Path, open_umask: None) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    create_file(str(tmp_path / "link"))
    create_file(str(tmp_path / "link"))
    assert get_mode(tmp_path / "file") == 0o600


def test_what_is_shared_has_the_access_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    tmp_path.chmod(0o770)
    for name in ("folder", "file"):
        copy_access(tmp_path / name, tmp_path)
    assert (get_mode(tmp_path / "folder"), get_mode(tmp_path / "file")) == (0o770, 0o660)
