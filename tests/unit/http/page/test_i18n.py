"""The texts of the pages: each language says the same things, and nothing else is said."""

from __future__ import annotations

import re

import pytest

import cometbot.http.page.files
from cometbot.channels.platform.page.views import FILES

SHARED = cometbot.http.page.files.SHARED_FOLDER
SOURCE = (SHARED / "i18n.js").read_text()
LINE = re.compile(r'^    "?([\w.]+)"?:\s+(?:"((?:[^"\\]|\\.)*)"|\'([^\']*)\'),$', re.MULTILINE)
SCRIPTS = "\n".join(path.read_text() for path in FILES.paths() if path.suffix == ".js" and path.name != "i18n.js")


def tables() -> dict[str, dict[str, str]]:
    found = re.findall(r"^  (\w\w): \{\n(.*?)^  \},$", SOURCE, re.MULTILINE | re.DOTALL)
    return {name: {key: double or single for key, double, single in LINE.findall(body)} for name, body in found}


TABLES = tables()


def test_the_tables_are_read_whole() -> None:
    assert set(TABLES) >= {"en", "de"}
    lines = [line for line in SOURCE[: SOURCE.index("};")].splitlines() if line.startswith("    ")]
    assert sum(len(table) for table in TABLES.values()) == len(lines)


@pytest.mark.parametrize("language", [name for name in TABLES if name != "en"])
def test_every_language_has_all_texts_and_placeholders(language: str) -> None:
    def words(table: dict[str, str]) -> dict[str, set[str]]:
        return {name: set(re.findall(r"\{(\w+)\}", text)) for name, text in table.items() if not name.endswith(".one")}

    assert set(TABLES[language]) == set(TABLES["en"])
    assert words(TABLES[language]) == words(TABLES["en"])
    assert all(text.strip() for text in TABLES[language].values())


def test_scripts_use_exactly_the_texts_in_the_tables() -> None:
    literal = set(re.findall(r'\bt\(\s*"([\w.]+)"', SCRIPTS))
    known = {name.removesuffix(".one").removesuffix(".other") for name in TABLES["en"]}
    assert literal - known == set()
    # Some are said by a name that a table of kinds, states or fields holds.
    spoken = (
        literal
        | set(re.findall(r'"([\w.]+)"', SCRIPTS))
        | {f"appearance.{name}" for name in ("system", "light", "dark")}
    )
    assert known - spoken == set()
