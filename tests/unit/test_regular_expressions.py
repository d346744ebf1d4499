"""Every regular expression of the package takes linear time: no text makes one of them slow."""

from __future__ import annotations

import ast
import importlib
import itertools
import re
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import cometbot
from cometbot.channels.chat_api.routes import ROUTES

if sys.version_info >= (3, 11):
    from re import _constants as constants
    from re import _parser as parser
else:  # pragma: no cover - the names of older versions
    import sre_constants as constants
    import sre_parse as parser

PACKAGE = Path(cometbot.__file__).parent
CALLS = ("compile", "match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer")
ONCE = ("match", "fullmatch", "search")
NO_CONSTANTS = {
    "matchers.py": "expression",
    "testing/simplex/command_grammar.py": "named",
    "field_values.py": "field",
    "pattern_cost.py": "pattern",
}
"""Variables in patterns that no test can know: an author's own patterns, and the stand-in's, made from its commands."""
SAMPLES = {
    "name": "maria",
    "MAX_UID_LENGTH": 100,
    "listed": "maria|tom",
    "id_pattern": ".+",
    "route": next(route for route in ROUTES if route.is_stream),
}
"""Values for names that only a function knows; a pattern with another one needs an entry here."""

SCREENED = 8 * 1024
SUSPICIOUS = 0.002
FLOOR = 0.02
LARGEST = 64 * 1024
TOO_LONG = 2.0


@dataclass(frozen=True)
class Use:
    """A pattern, where it is, and the method of :mod:`re` that applies it."""

    place: str
    pattern: re.Pattern[Any]
    method: str

    def __str__(self) -> str:
        return f"{self.place}:{self.method}"

    def seconds(self, text: str) -> float:
        """Processor time for one application to ``text``."""
        given = text.encode("utf-8", "replace") if isinstance(self.pattern.pattern, bytes) else text
        begun = time.thread_time()
        if self.method in ONCE:
            getattr(self.pattern, self.method)(given)
        else:
            for _ in self.pattern.finditer(given):
                pass
        return time.thread_time() - begun


def find_uses() -> Iterator[Use]:
    """Every pattern in the package with each method that is called on it."""
    sources = {path: path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}
    methods = {path: methods_by_name(source) for path, source in sources.items()}
    for path, source in sources.items():
        tree = ast.parse(source) if re.search(r"\bre\.", source) else ast.Module([], [])
        names = {
            id(node.value): target.id if isinstance(target, ast.Name) else ""
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            for target in node.targets
        }
        for node in ast.walk(tree):
            if is_call_of_re(node):
                yield from uses_of(path, node, names.get(id(node), ""), methods)


def methods_by_name(source: str) -> dict[str, set[str]]:
    """The methods of :mod:`re` that are called in a source, by the name of what they are called on."""
    found: dict[str, set[str]] = {}
    for name, method in re.findall(rf"\b(\w+)\.({'|'.join(CALLS)})\b", source):
        found.setdefault(name, set()).add(method)
    return found


def is_call_of_re(node: ast.AST) -> bool:
    called = node.func if isinstance(node, ast.Call) else None
    return (
        isinstance(called, ast.Attribute)
        and isinstance(called.value, ast.Name)
        and called.value.id == "re"
        and called.attr in CALLS
    )


def uses_of(path: Path, call: Any, name: str, methods_of: dict[Path, dict[str, set[str]]]) -> Iterator[Use]:
    where = path.relative_to(PACKAGE).as_posix()
    given, method = call.args[0], call.func.attr
    if where in NO_CONSTANTS and NO_CONSTANTS[where] in {n.id for n in ast.walk(given) if isinstance(n, ast.Name)}:
        return
    pattern = compiled(path, call)
    places = methods_of.values() if not name.startswith("_") else [methods_of[path]]
    methods = {method for found in places for method in found.get(name, ())}
    for used in sorted((methods or {"search"}) if method == "compile" else {method}):
        yield Use(f"{where}:{call.lineno}", pattern, used)


def compiled(path: Path, call: Any) -> re.Pattern[Any]:
    """The pattern of a call, with what is only known at run time replaced by a sample."""
    dotted = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    module = importlib.import_module(dotted.removesuffix(".__init__"))
    scope = {**SAMPLES, **vars(module)}
    flags = [argument for argument in call.args[1:] if re.fullmatch(r"(re\.[A-Z]+( \| )?)+", ast.unparse(argument))]
    flags += [keyword.value for keyword in call.keywords if keyword.arg == "flags"]
    pattern = eval(ast.unparse(call.args[0]), scope)
    return re.compile(pattern, *(eval(ast.unparse(flag), scope) for flag in flags[:1]))


def parsed(pattern: re.Pattern[Any]) -> Any:
    return parser.parse(pattern.pattern, pattern.flags & ~re.DEBUG)


def sample(item: Any) -> str:
    """A short text that one part of a parsed pattern takes."""
    kind, value = item
    if kind is constants.LITERAL:
        return chr(value)
    if kind is constants.NOT_LITERAL:
        return next(character for character in "a<\n" if ord(character) != value)
    if kind is constants.ANY:
        return "a"
    if kind is constants.IN:
        return member(value)
    if kind in (constants.MAX_REPEAT, constants.MIN_REPEAT):
        least, _, body = value
        return joined(body) * max(least, 1)
    if kind is constants.SUBPATTERN:
        return joined(value[-1])
    if kind is constants.BRANCH:
        return joined(value[1][0])
    return joined(value[1]) if kind is constants.ASSERT else ""


def member(choices: Any) -> str:
    """A character that a class takes."""
    is_negated = choices[0][0] is constants.NEGATE
    taken = {sample_of_choice(choice) for choice in choices if choice[0] is not constants.NEGATE}
    if not is_negated:
        return sorted(taken)[-1]
    refused = {chr(code) for choice in choices for code in codes_of(choice)}
    return next(character for character in "a0 <\"'!~" if character not in refused)


def codes_of(choice: Any) -> range | list[int]:
    kind, value = choice
    if kind is constants.LITERAL:
        return [value]
    if kind is constants.RANGE:
        return range(value[0], value[1] + 1)
    if kind is constants.CATEGORY:
        return [code for code in range(128) if re.match(CATEGORIES.get(value, "a^"), chr(code))]
    return []


CATEGORIES = {
    constants.CATEGORY_SPACE: r"\s",
    constants.CATEGORY_DIGIT: r"\d",
    constants.CATEGORY_WORD: r"\w",
    constants.CATEGORY_NOT_SPACE: r"\S",
    constants.CATEGORY_NOT_WORD: r"\W",
}


def sample_of_choice(choice: Any) -> str:
    codes = codes_of(choice)
    return chr(codes[-1]) if codes else "a"


def joined(items: Any) -> str:
    return "".join(map(sample, items))


def pieces_of(items: Any) -> Iterator[tuple[str, str]]:
    """Return beginnings and repeated parts of hostile texts: each part with all that stands before it."""
    for place, item in enumerate(items):
        before = joined(items[:place])
        yield before, sample(item)
        yield "", joined(items[: place + 1])
        for inner in bodies_of(item):
            yield from ((before + start, piece) for start, piece in pieces_of(inner))
            yield before, joined(inner)


def bodies_of(item: Any) -> list[Any]:
    kind, value = item
    if kind in (constants.MAX_REPEAT, constants.MIN_REPEAT):
        return [value[2]]
    if kind is constants.SUBPATTERN:
        return [value[-1]]
    if kind is constants.BRANCH:
        return list(value[1])
    return [value[1]] if kind in (constants.ASSERT, constants.ASSERT_NOT) else []


def shapes_of(pattern: re.Pattern[Any]) -> list[tuple[str, str, str]]:
    """Hostile texts, each as what it begins with, repeats, and ends with."""
    found = list(dict.fromkeys(pieces_of(parsed(pattern))))
    pieces = list(dict.fromkeys(piece for _, piece in found if piece))
    begun = [(start, piece) for start, piece in found if piece]
    pairs = [("", one + other) for one, other in itertools.islice(itertools.permutations(pieces, 2), 30)]
    blanks = [("", " "), ("", "\n"), ("", "a"), ("", "a ")]
    shapes = itertools.product(dict.fromkeys(begun + pairs + blanks), ("", "\0", "!a"))
    return [(start, piece, tail) for (start, piece), tail in shapes]


def grown(shape: tuple[str, str, str], size: int) -> str:
    """The hostile text of this shape with about ``size`` characters."""
    start, piece, tail = shape
    return start + piece * (size // len(piece)) + tail


def is_slow(use: Use, shape: tuple[str, str, str]) -> bool:
    """Return whether doubling a text from 1 to 64 KB ever more than triples the processor time."""
    size, before = 1024, fastest(use, shape, 1024)
    while size < LARGEST:
        size *= 2
        now = fastest(use, shape, size)
        if now > FLOOR and now > 3 * before and fastest(use, shape, size, 5) > 3 * fastest(use, shape, size // 2, 5):
            return True
        before = now
    return False


def fastest(use: Use, shape: tuple[str, str, str], size: int, rounds: int = 3) -> float:
    return min(use.seconds(grown(shape, size)) for _ in range(rounds))


def slow_shape(use: Use) -> str:
    """The first hostile text that takes more than linear time, empty for none."""
    for shape in shapes_of(use.pattern):
        for repetitions in (24, SCREENED):
            signal.setitimer(signal.ITIMER_VIRTUAL, TOO_LONG)
            try:
                screened = grown(shape, min(repetitions * len(shape[1]), SCREENED))
                if use.seconds(screened) > SUSPICIOUS and is_slow(use, shape):
                    return repr(shape)
            except TimeoutError:
                return repr(shape)
            finally:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return ""


@pytest.fixture(autouse=True)
def _alarm() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGVTALRM, stop)
    yield
    signal.signal(signal.SIGVTALRM, before)


USES = list(find_uses())


@pytest.mark.parametrize("use", USES, ids=str)
def test_pattern_takes_linear_time(use: Use) -> None:
    assert slow_shape(use) == ""


def test_every_pattern_of_the_package_is_found() -> None:
    assert len({use.place for use in USES}) > 60
    assert any(use.method == "finditer" for use in USES)


@pytest.mark.parametrize(
    ("pattern", "method"),
    [
        (r"(a+)+b", "match"),
        (r"\s*(<!--.*?-->\s*)*<svg", "match"),
        (r"<@uid:([^>\s]+)>", "search"),
        (r'"[^"\\]*(?:\\.[^"\\]*)*"', "finditer"),
        (r"a\s*;?\s*", "fullmatch"),
        (r"\s+$", "search"),
    ],
)
def test_slow_pattern_is_recognised(pattern: str, method: str) -> None:
    assert slow_shape(Use("here", re.compile(pattern, re.DOTALL), method)) != ""
