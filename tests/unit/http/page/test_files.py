"""A page's files come from its own folder first and then from the shared one, and change their address with content."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from werkzeug.exceptions import NotFound

from cometbot.http.page import PageFiles


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "index.html").write_text(
        '<head><link href="/page/own.css" /><script type="module" src="/page/main.js"></script></head><a href="/page/">'
    )
    (tmp_path / "main.js").write_text('import { h } from "./dom.js";\nimport { a } from "./own.js";\n')
    (tmp_path / "own.js").write_text('import { t } from "./i18n.js";\n')
    (tmp_path / "own.css").write_text("a {}")
    (tmp_path / "secret.txt").write_text("no")
    return tmp_path


@pytest.fixture(autouse=True)
def _within_a_request() -> object:
    with Flask(__name__).test_request_context() as context:
        yield context


def test_a_page_has_its_own_files_and_the_shared_ones(folder: Path) -> None:
    files = PageFiles(folder)
    assert files.file("own.css").get_data() == b"a {}"
    assert b"export function h" in files.file("dom.js").get_data()
    assert {"own.css", "dom.js", "transcript.js"} <= {path.name for path in files.paths()}


def test_own_file_overrides_shared_file(folder: Path) -> None:
    (folder / "dom.js").write_text("// own")
    assert PageFiles(folder).file("dom.js").get_data() == b"// own"


@pytest.mark.parametrize("name", ["secret.txt", "none.js", "../index.html", "", ".", "/etc/passwd"])
def test_nothing_else_is_a_file_of_the_page(folder: Path, name: str) -> None:
    with pytest.raises(NotFound):
        PageFiles(folder).file(name)


def test_index_names_versioned_files_and_preloads_scripts(folder: Path) -> None:
    files = PageFiles(folder)
    text = files.index().get_data(as_text=True)
    begin = f"/page/{files.version}"
    assert f'href="{begin}/own.css"' in text
    assert f'src="{begin}/main.js"' in text
    for name in ("dom.js", "own.js", "i18n.js"):
        assert text.count(f'<link rel="modulepreload" href="{begin}/{name}" />') == 1
    assert '<a href="/page/">' in text


def test_another_content_is_another_version(folder: Path) -> None:
    before = PageFiles(folder).version
    assert PageFiles(folder).version == before
    (folder / "own.css").write_text("b {}")
    assert PageFiles(folder).version != before


def test_only_a_file_of_this_version_may_be_kept_for_ever(folder: Path) -> None:
    files = PageFiles(folder)
    assert "immutable" in files.versioned(files.version, "main.js").headers["Cache-Control"]
    assert files.versioned("0" * 16, "main.js").headers["Cache-Control"] == "no-cache"
    assert files.file("main.js").headers["Cache-Control"] == "no-cache"
