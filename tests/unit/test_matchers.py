from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from cometbot import Attachment, matchers
from cometbot.errors import RegistrationError
from cometbot.matchers import any_of, contains, direct, in_group, of_type, pattern, sent_by, tagged, text, to_matcher
from cometbot.models import Mention


@pytest.mark.parametrize("said", ["hi", "HI", "  hi ", "Good   Morning", "<@uid:helpdesk> hi", "STRASSE"])
def test_text_differs_only_in_case_and_spaces_it_matches(context: Any, said: str) -> None:
    assert text("hi", "good morning", "straße").matches(context(said))


@pytest.mark.parametrize("said", ["hi!", "hi there", "", "goodmorning"])
def test_text_is_not_the_whole_text_it_does_not_match(context: Any, said: str) -> None:
    assert text("hi", "good morning").matches(context(said)) is None


def test_contains_text_stands_inside_it_matches(context: Any) -> None:
    assert contains("order  status", "refund").matches(context("My Order status?"))
    assert contains("order status").matches(context("status of my order")) is None


def test_pattern_is_found_inside_its_groups_and_match_are_kept(context: Any) -> None:
    found = pattern(r"order (?P<number>\d+)").matches(context("my order 4711 please"))
    assert found is not None
    assert found.regex is not None
    assert found.groups == {"number": "4711"}
    assert found.regex[0] == "order 4711"


def test_pattern_flags_given_they_count(context: Any) -> None:
    assert pattern("hi", re.IGNORECASE).matches(context("HI"))
    assert pattern("hi").matches(context("HI")) is None


@pytest.mark.parametrize("wrong", ["(", b"x", 5, re.compile(b"x")])
def test_invalid_pattern_is_refused_at_once(wrong: Any) -> None:
    with pytest.raises(RegistrationError):
        pattern(wrong)


@pytest.mark.parametrize("make", [text, contains, of_type, sent_by, tagged, in_group])
@pytest.mark.parametrize("values", [(), ("",), (5,)])
def test_matcher_without_text_is_refused_at_once(make: Any, values: Any) -> None:
    if make is in_group and not values:
        values = (" ",)
    with pytest.raises(RegistrationError, match="one or more texts"):
        make(*values)


def test_of_type_message_has_the_type_it_matches(context: Any) -> None:
    assert of_type("image", "video").matches(context(type="video"))
    assert of_type("image").matches(context("image")) is None


def test_direct_and_in_group_match_their_conversations(context: Any, group: Any) -> None:
    one, many = context("x"), context("x", conversation=group)
    assert direct.matches(one)
    assert not direct.matches(many)
    assert in_group.matches(many)
    assert not in_group.matches(one)
    assert in_group("lobby", "ops-room").matches(many)
    assert in_group("lobby").matches(many) is None
    assert in_group("maria").matches(one) is None


def test_sent_by_and_tagged_match_sender_and_tags(context: Any) -> None:
    ctx = context("x", tags=("urgent", "vip"))
    assert sent_by("maria").matches(ctx)
    assert not sent_by("john").matches(ctx)
    assert tagged("vip", "other").matches(ctx)
    assert not tagged("other").matches(ctx)


@pytest.mark.parametrize(
    ("matcher", "parts"),
    [
        (matchers.mentioned, {"text": "ask <@uid:helpdesk>"}),
        (matchers.mentioned, {"mentions": (Mention("HelpDesk"),)}),
        (matchers.in_thread, {"thread_id": "5"}),
        (matchers.has_attachment, {"attachments": (Attachment("https://x/y.png"),)}),
    ],
)
def test_bare_matcher_fits_only_what_it_names(context: Any, matcher: Any, parts: Any) -> None:
    assert matcher.matches(context(**parts))
    assert matcher.matches(context("x")) is None


def test_and_or_not_combine_as_in_logic(context: Any) -> None:
    both, either, none = text("hi") & direct, text("hi") | of_type("image"), ~text("hi")
    assert both.matches(context("hi"))
    assert not both.matches(context("ho"))
    assert either.matches(context(type="image"))
    assert either.matches(context("hi"))
    assert not either.matches(context("ho"))
    assert none.matches(context("ho"))
    assert not none.matches(context("hi"))
    assert (~none).matches(context("hi"))


def test_matchers_combine_with_str_pattern_and_function(context: Any) -> None:
    long = lambda ctx: len(ctx.text) > 3  # noqa: E731
    assert ("hi" | contains("ho")).matches(context("hi"))
    assert (contains("h") & re.compile("o$")).matches(context("ho"))
    assert (long & direct).matches(context("hello"))
    assert not (direct & long).matches(context("hi"))


def test_and_of_two_patterns_carries_the_groups_of_both(context: Any) -> None:
    found = (pattern(r"(?P<a>\d+)") & pattern(r"(?P<b>[a-z]+)") & direct).matches(context("12 ab"))
    assert found is not None
    assert found.groups == {"a": "12", "b": "ab"}


def test_and_of_patterns_keeps_the_filled_group(context: Any) -> None:
    found = (pattern(r"(?P<a>\d+)") & pattern(r"x(?P<a>y)?")).matches(context("12 x"))
    assert found is not None
    assert found.groups == {"a": "12"}


def test_certain_and_possible_groups_of_combinations() -> None:
    one, two = pattern("(?P<a>x)(?P<b>y)"), pattern("(?P<b>z)")
    assert (one & two).groups == {"a", "b"}
    assert (one | two).groups == {"b"}
    assert (one | two).possible == {"a", "b"}
    assert (~one).groups == frozenset()


@pytest.mark.parametrize("use", [lambda: bool(direct), lambda: direct and text("hi"), lambda: not direct])
def test_matcher_with_and_or_not_is_refused(use: Any) -> None:
    with pytest.raises(RegistrationError, match=r"& \| ~"):
        use()


@pytest.mark.parametrize("wrong", [None, 5, int, ["hi"], lambda: True])
def test_invalid_matcher_error_lists_valid_kinds(wrong: Any) -> None:
    with pytest.raises(RegistrationError, match="matcher"):
        to_matcher(wrong)


def test_matcher_is_async_it_is_refused() -> None:
    async def later(ctx: Any) -> bool:
        return True

    with pytest.raises(RegistrationError, match="async"):
        to_matcher(later)


def test_any_of_nothing_every_message_matches(context: Any) -> None:
    assert any_of(()).matches(context(type="image"))
    assert any_of((re.compile("a"), "b")).matches(context("b"))


def test_matcher_of_an_event_without_text_does_not_fail(context: Any) -> None:
    ctx = context("x")
    ctx.event = replace(ctx.event, text="")
    assert (text("x") | contains("x") | matchers.mentioned).matches(ctx) is None


def test_in_group_called_with_context_is_refused(context: Any) -> None:
    with pytest.raises(RegistrationError, match=r"ctx\.conversation\.is_group"):
        in_group(context("hello"))
