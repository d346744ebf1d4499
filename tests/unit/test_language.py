"""The words of the code and of the documentation are those that developers search for."""

from __future__ import annotations

import ast
import functools
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = sorted((ROOT / "cometbot").rglob("*.py"))
SCRIPTS = sorted((ROOT / "cometbot").rglob("*.js"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

METAPHORS = "absolve bell bury crew door house mend neighbour nap rehearsal storm"
"""Pictures in the place of a term: language that a reader would have to learn first."""

PRIVATE = "desk duty glance heard keeper lets loan narrator outlet patience sketch suspect tell told"
"""Names that said less than the term: periodic task, dry run, reply sink, timeout, notify, and so on."""

ALLOWED = {
    "tell": "of Python's files",
}
"""Whole identifiers that are somebody else's."""


def words_of(identifier: str) -> list[str]:
    """Return the words of a name in any style: ``max_size``, ``MAX_SIZE``, ``MaxSize``, ``HTTPClient``."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", identifier)]


@functools.cache
def nodes_of(source: str) -> list[ast.AST]:
    return list(ast.walk(ast.parse(source)))


def identifiers(source: str) -> Iterator[str]:
    for node in nodes_of(source):
        for field in ("id", "name", "attr", "arg", "asname", "module"):
            if isinstance(value := getattr(node, field, None), str):
                yield value


def prose(source: str) -> Iterator[tuple[int, str]]:
    """Yield the comments and docstrings of a module, with their lines."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in nodes_of(source):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, text


def forbidden(words: list[str], banned: str) -> list[str]:
    words_that_are_banned = split_words(banned)
    return [word for word in words if word.removesuffix("s") in words_that_are_banned]


@functools.cache
def split_words(words: str) -> frozenset[str]:
    return frozenset(words.split())


def test_names_are_the_terms_of_the_field() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in CODE
        for name in set(identifiers(path.read_text())) - set(ALLOWED)
        if forbidden(words_of(name), f"{METAPHORS} {PRIVATE}")
    }
    assert found == set()


def test_docstrings_and_comments_have_no_metaphors() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {word}"
        for path in CODE
        for line, text in prose(path.read_text())
        for word in forbidden(re.findall(r"[a-z]+", re.sub(r"``.*?``", "", text.lower(), flags=re.DOTALL)), METAPHORS)
    ]
    assert found == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_in_scripts_are_the_terms_of_the_field(path: Path) -> None:
    code = re.sub(r'"[^"\n]*"|//[^\n]*|/\*.*?\*/', "", path.read_text(), flags=re.DOTALL)
    names = set(re.findall(r"[A-Za-z]\w*", code))
    assert {name for name in names if forbidden(words_of(name), f"{METAPHORS} {PRIVATE}")} == set()


def test_pages_have_no_metaphors() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in PAGES
        for word in forbidden(re.findall(r"[a-z]+", path.read_text().lower()), METAPHORS)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("identifier", "found"),
    [
        ("_keeper", ["keeper"]),
        ("HelpDesk", ["desk"]),
        ("SUSPECTS", ["suspects"]),
        ("helpdesk", []),
        ("_tell_user", ["tell"]),
        ("max_tokens", []),
    ],
)
def test_words_are_found_in_every_style(identifier: str, found: list[str]) -> None:
    assert forbidden(words_of(identifier), PRIVATE) == found
