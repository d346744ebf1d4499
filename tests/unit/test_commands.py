from __future__ import annotations

import enum
import functools
from collections.abc import Callable
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Annotated, Any, Literal, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometbot.commands import Command, help_text, inspect_signature, normalize_command_name, parse_call, split_words
from cometbot.errors import RegistrationError
from cometbot.handlers import with_usage


class Size(enum.Enum):
    SMALL = "s"
    LARGE = 2


def read(function: Callable[..., Any], line: str) -> Any:
    return inspect_signature(function, "bot.handler").parse(line)


def remind(ctx: Any, minutes: int, *, what: str = "stretch") -> None: ...


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("  a  b\tc\nd ", ["a", "b", "c", "d"]),
        ('"New York" x', ["New York", "x"]),
        ("“New York” „old town“ x", ["New York", "old town", "x"]),
        ('"" x', ["", "x"]),
        ('"open quote', ['"open', "quote"]),
        ('5" pipe', ['5"', "pipe"]),
        ('"a"b c', ['"a"b', "c"]),
    ],
)
def test_words_are_split_at_spaces_and_grouped_by_quotes(line: str, words: list[str]) -> None:
    assert split_words(line) == words


@given(st.text(alphabet=st.sampled_from('ab "“”„\n\t\\')))
def test_any_line_is_split_without_new_characters(line: str) -> None:
    words = split_words(line)
    quotes = '"“”„'
    assert "".join("".join(words).split()).translate({ord(c): None for c in quotes}) == "".join(line.split()).translate(
        {ord(c): None for c in quotes}
    )


@given(st.lists(st.text(alphabet=st.characters(exclude_characters='"“”„'))))
def test_quoted_words_survive_join_and_split(words: list[str]) -> None:
    assert split_words(" ".join(f'"{word}"' for word in words)) == words


@given(st.text())
def test_any_text_is_read_as_a_call_or_not_without_failing(text: str) -> None:
    call = parse_call(text)
    assert call is None or (call.name and call.name == call.name.casefold())


@pytest.mark.parametrize(
    ("text", "name", "line", "slash"),
    [("/Track 4711", "track", "4711", True), ("track\na\nb", "track", "a\nb", False), ("/x", "x", "", True)],
)
def test_parse_call_splits_slash_name_and_line(text: str, name: str, line: str, slash: bool) -> None:
    call = parse_call(text)
    assert call is not None
    assert (call.name, call.line, call.has_slash) == (name, line, slash)


def test_rest_of_the_line_keeps_its_line_breaks_and_quotes() -> None:
    assert read(remind, '10 call "mother"\n  and father ') == ([10], {"what": 'call "mother"\n  and father'})


def test_rest_of_the_line_is_absent_the_default_counts() -> None:
    assert read(remind, "10") == ([10], {"what": "stretch"})


def test_every_type_is_converted() -> None:
    def order(
        ctx: Any,
        text,  # type: ignore[no-untyped-def]
        number: float,
        price: Decimal,
        gift: bool,
        day: date,
        at: datetime,
        colour: Literal["red", "blue"],
        size: Size,
        extra: Annotated[int, "note"],
    ) -> None: ...

    values, _ = read(order, "tea 1.5 2.50 YES 2031-12-24 2031-12-24T18:30Z RED large 7")
    moment = datetime(2031, 12, 24, 18, 30, tzinfo=timezone.utc)
    assert values == ["tea", 1.5, Decimal("2.50"), True, date(2031, 12, 24), moment, "red", Size.LARGE, 7]


@pytest.mark.parametrize(("word", "member"), [("s", Size.SMALL), ("Small", Size.SMALL), ("2", Size.LARGE)])
def test_enum_is_written_by_name_or_value_it_converts(word: str, member: Size) -> None:
    def order(ctx: Any, size: Size) -> None: ...

    assert read(order, word) == ([member], {})


def test_optional_without_default_is_absent_it_is_none() -> None:
    def old(ctx: Any, count: Optional[int]) -> None: ...  # noqa: UP045
    def new(ctx: Any, count: int | None) -> None: ...

    assert read(old, "") == read(new, "") == ([None], {})
    assert read(old, "3") == read(new, "3") == ([3], {})


def test_union_tries_its_types_in_their_order() -> None:
    def show(ctx: Any, what: int | date) -> None: ...

    assert read(show, "5") == ([5], {})
    assert read(show, "2031-12-24") == ([date(2031, 12, 24)], {})
    with pytest.raises(ValueError, match="a whole number or a date"):
        read(show, "x")


def test_many_words_are_converted_one_by_one() -> None:
    def add(ctx: Any, first: int, *more: int) -> None: ...

    assert read(add, '1 2 "3"') == ([1, 2, 3], {})
    assert read(add, "1") == ([1], {})
    with pytest.raises(ValueError, match="more must be a whole number, not “x”"):
        read(add, "1 x")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("", "minutes is missing."),
        ("soon", "minutes must be a whole number, not “soon”."),
        ("9" * 5000, "minutes must be a whole number, not “" + "9" * 40 + "…”."),
    ],
)
def test_words_do_not_fit_the_sentence_says_what_is_wrong(line: str, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        read(remind, line)
    assert str(caught.value) == sentence


def test_words_are_too_many_the_first_of_them_is_shown() -> None:
    def track(ctx: Any, number: int) -> None: ...

    with pytest.raises(ValueError, match="Unexpected argument: “now please”"):
        read(track, "4711 now please")


@pytest.mark.parametrize("word", ["nan", "inf", "-Infinity", "1e999"])
def test_number_is_not_finite_it_does_not_convert(word: str) -> None:
    def pay(ctx: Any, amount: float) -> None: ...

    with pytest.raises(ValueError, match="a number"):
        read(pay, word)


@pytest.mark.parametrize("word", ["NaN", "Infinity", "x"])
def test_decimal_is_not_finite_it_does_not_convert(word: str) -> None:
    def pay(ctx: Any, amount: Decimal) -> None: ...

    with pytest.raises(ValueError, match="a number"):
        read(pay, word)


def test_bool_is_neither_yes_nor_no_it_does_not_convert() -> None:
    def pay(ctx: Any, now: bool) -> None: ...

    assert read(pay, "off") == ([False], {})
    with pytest.raises(ValueError, match="now must be yes or no, not “perhaps”"):
        read(pay, "perhaps")


def test_usage_shows_required_optional_many_and_options() -> None:
    def order(
        ctx: Any, order_number: int, size: Size, colour: Literal["red", "blue"] = "red", *, note: str
    ) -> None: ...
    def tag(ctx: Any, *names: str) -> None: ...

    assert inspect_signature(order, "x").usage("order") == "/order order-number small|large [red|blue] note …"
    assert inspect_signature(tag, "x").usage("tag") == "/tag [names …]"


def test_prefixed_command_has_usage_and_parameters() -> None:
    command = with_usage(Command("remind", ("r",)), inspect_signature(remind, "x"), "Work-")
    assert command.names == ("work-remind", "work-r")
    assert command.usage == "/work-remind minutes [what …]"
    assert [item.name for item in command.parameters] == ["minutes", "what"]


def test_help_lists_description_and_a_line_for_each_command() -> None:
    commands = [Command("a", usage="/a x", description="Does a."), Command("b", usage="/b")]
    assert help_text("A bot.", commands) == "A bot.\n\n/a x: Does a.\n/b"
    assert help_text("", commands) == "/a x: Does a.\n/b"


@pytest.mark.parametrize("wrong", ["", "/track", "two words", " x", 5, None])
def test_command_name_nobody_could_write_it_is_refused(wrong: Any) -> None:
    with pytest.raises(RegistrationError, match="one word without its slash"):
        normalize_command_name(wrong)


def test_signature_without_context_is_refused_with_the_fix() -> None:
    def nothing() -> None: ...
    def keyword(*, ctx: Any) -> None: ...
    def hidden(*args: Any) -> None: ...

    for function in (nothing, keyword, hidden):
        with pytest.raises(RegistrationError, match=r"must take the context first.*functools.wraps"):
            inspect_signature(function, "bot.greet")


def test_signature_has_double_star_it_is_refused() -> None:
    def track(ctx: Any, **rest: str) -> None: ...

    with pytest.raises(RegistrationError, match=r"nothing fills \*\*rest of bot.track"):
        inspect_signature(track, "bot.track")


@pytest.mark.parametrize("annotation", [list[str], dict, bytes, Callable, 5, type(None), object()])
def test_unsupported_annotation_is_refused_with_supported_ones(annotation: Any) -> None:
    def track(ctx, number): ...  # type: ignore[no-untyped-def]

    track.__annotations__["number"] = annotation
    with pytest.raises(RegistrationError, match=r"number: .* of bot.track is not made from text; use str, int"):
        inspect_signature(track, "bot.track")


def test_unresolvable_annotation_is_refused_with_its_name() -> None:
    def track(ctx: Unknown, number: Missing) -> None: ...  # type: ignore[name-defined] # noqa: F821

    with pytest.raises(RegistrationError, match=r"annotation 'Missing' of number in bot.track cannot be resolved"):
        inspect_signature(track, "bot.track")


def test_annotation_of_context_is_ignored() -> None:
    def track(ctx: Unknown, number: int) -> None: ...  # type: ignore[name-defined] # noqa: F821

    assert read(track, "4") == ([4], {})


def test_signature_of_wrapped_partial_and_bound_functions() -> None:
    class Shop:
        def track(self, ctx: Any, number: int) -> None: ...

    @functools.wraps(remind)
    def wrapped(*args: Any, **kwargs: Any) -> None: ...

    def shop(name: str, ctx: Any, number: int) -> None: ...

    assert read(wrapped, "5") == ([5], {"what": "stretch"})
    assert read(Shop().track, "5") == ([5], {})
    assert read(functools.partial(shop, "tea"), "5") == ([5], {})
