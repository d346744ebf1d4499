from __future__ import annotations

from typing import Any

import pytest

from cometbot import Button, Card, Carousel, Choice, Choices, Custom, Field, Form, Location, Media, Text
from cometbot.errors import MessageError
from cometbot.messages import ClientCall, remove_answer_hint, to_messages


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Text(""), "needs some text"),
        (lambda: Text(5), "needs some text"),  # type: ignore[arg-type]
        (lambda: Media("ftp://x"), "http"),
        (lambda: Media("https://x", kind="gif"), "kind is image"),  # type: ignore[arg-type]
        (lambda: Button(" "), "needs a label"),
        (lambda: Button("x", action="a", url="https://x"), "not both"),
        (lambda: Card(), "title, a text or an image"),
        (lambda: Carousel([]), "at least one Card"),
        (lambda: Choice(""), "needs a label"),
        (lambda: Choices("?", [Choice("a", 1)]), "values are no texts needs an action, .*; 'a' has 1"),
        (lambda: Choices("?", [Choice("a", {1})], "x"), "the value of the Choice 'a': expected JSON .*, got set"),
        (lambda: Field("x", options=[Choice("a", [])]), "value of a Choice in a Field is a text, not list"),  # type: ignore[list-item]
        (lambda: Choices("", ["a"]), "needs a question"),
        (lambda: Choices("?", []), "at least one option"),
        (lambda: ClientCall(" "), "needs the name of a tool"),
        (lambda: ClientCall("show_map", ["Rome"]), "arguments are a mapping"),  # type: ignore[arg-type]
        (lambda: Location(91, 0), "latitude"),
        (lambda: Location(0, float("nan")), "longitude"),
        (lambda: Field(""), "needs a name"),
        (lambda: Field("x", kind="colour"), "a Field's kind is one of text, long_text"),  # type: ignore[arg-type]
        (lambda: Field("x", kind="select"), "needs options"),
        (lambda: Form("", [Field("x")], "a"), "needs a title"),
        (lambda: Form("t", [], "a"), "at least one Field"),
        (lambda: Form("t", [Field("x"), Field("x")], "a"), "different names"),
        (lambda: Custom("", {}), "needs a type"),
        (lambda: Custom("x", []), "mapping"),  # type: ignore[arg-type]
        (lambda: Card("x", image=True), "a Card's image is a text, not bool"),  # type: ignore[arg-type]
        (lambda: Card("x", buttons=["Yes"]), "a Card's buttons are a list of Button, and this is str"),  # type: ignore[list-item]
        (lambda: Card("x", buttons=Button("x")), "are a list of Button, not Button"),  # type: ignore[arg-type]
        (lambda: Carousel(["x"]), "a Carousel's cards are a list of Card"),  # type: ignore[list-item]
        (lambda: Button("x", value=object()), "the value of the Button 'x': expected JSON .*, got object"),
        (lambda: Choices("?", [1, 2]), "a Choices's options are a list of Choice"),  # type: ignore[list-item]
        (lambda: Choices("?", "ab"), "a list of Choice, not str"),  # type: ignore[arg-type]
        (lambda: Location("1", 2), "degrees are numbers, not str"),  # type: ignore[arg-type]
        (lambda: Form("t", ["x"], "a"), "a Form's fields are a list of Field"),  # type: ignore[list-item]
    ],
)
def test_incomplete_message_is_refused(make: Any, text: str) -> None:
    with pytest.raises(MessageError, match=text):
        make()


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({"by": []}, "by: expected at least one user, got an empty list; nobody could press"),
        ({"by": "tom"}, "by: expected a list of uids, such as .*, got 'tom'"),
        ({"by": ["tom", ""]}, "by: expected a list of uids"),
        ({"by": [5]}, "by: expected a list of uids"),
        ({"by": 5}, "by: expected a list of uids"),
        ({"expires": "soon"}, "expires: expected a duration such as .*; got 'soon'"),
        ({"expires": "-1d"}, "expires: expected a duration"),
        ({"expires": 0}, "expires: expected a duration .* above 0"),
        ({"expires": "400d"}, "expires: expected a duration .* at most a year"),
        ({"once": 1}, "once: expected True or False, got 1"),
    ],
)
@pytest.mark.parametrize("kind", ["Card", "Choices", "Form"])
def test_limits_that_make_no_sense_are_refused(kind: str, limits: dict[str, Any], text: str) -> None:
    make: dict[str, Any] = {
        "Card": lambda: Card("x", buttons=[Button("y")], **limits),
        "Choices": lambda: Choices("x", ["y"], **limits),
        "Form": lambda: Form("x", [Field("y")], "z", **limits),
    }
    with pytest.raises(MessageError, match=f"a {kind}'s {text}"):
        make[kind]()


def test_limits_without_a_button_are_refused() -> None:
    with pytest.raises(MessageError, match="a Card's by, expires and once are for its buttons, and it has none"):
        Card("x", buttons=[Button("y", url="https://x")], once=True)


def test_nothing_counts_as_an_empty_text() -> None:
    assert Card("Mug", None, None) == Card("Mug")  # type: ignore[arg-type]
    assert Button("Buy", value=None) == Button("Buy")  # type: ignore[arg-type]


def test_choices_as_text_are_numbered_with_hint() -> None:
    message = Choices("Tea?", ["Green", Choice("Black tea", "black")], action="tea")
    assert message.to_text() == "Tea?\n\n1. Green\n\n2. Black tea\n\nAnswer 2 for “Black tea”, or write it out."
    assert [(o.label, o.name, o.value, o.number) for o in message.offers()] == [
        ("Green", "tea", "Green", 1),
        ("Black tea", "tea", "black", 2),
    ]


def test_choices_without_an_action_are_named_by_their_values() -> None:
    offers = Choices("Tea?", ["Green", Choice("Black tea", "black")]).offers()
    assert [(o.name, o.value) for o in offers] == [("Green", "Green"), ("black", "black")]


def test_card_as_text_numbers_buttons_and_shows_links() -> None:
    card = Card("Cake", "Good.", "https://x/c.png", [Button("Site", url="https://x"), Button("Buy", "buy", "7")])
    assert card.to_text() == (
        "Cake\n\nGood.\n\nhttps://x/c.png\n\nSite: https://x\n\n1. Buy\n\nAnswer 1 for “Buy”, or write it out."
    )
    assert Card(text="only").to_text() == "only"


def test_buttons_are_named_by_action_value_or_label() -> None:
    offers = Card("x", buttons=[Button("A", "a", "1"), Button("B", value="2"), Button("C")]).offers()
    assert [(o.name, o.value) for o in offers] == [("a", "1"), ("2", "2"), ("C", "C")]


def test_carousel_numbers_through_all_its_cards() -> None:
    cards = [Card("One", buttons=[Button("A"), Button("L", url="https://x")]), Card("Two", buttons=[Button("B")])]
    message = Carousel(cards)
    assert message.to_text() == "One\n\n1. A\n\nL: https://x\n\nTwo\n\n2. B\n\nAnswer 2 for “B”, or write it out."
    assert [(o.label, o.number) for o in message.offers()] == [("A", 1), ("B", 2)]


def test_media_location_form_and_custom_have_a_text() -> None:
    assert Media("https://x/a.png", name="a.png", caption="See").to_text() == "See\n\na.png\n\nhttps://x/a.png"
    assert Location(50.1, -8, "Here").to_text().startswith("Here\n\n50.100000,-8.000000\n\nhttps://")
    form = Form("Order", [Field("name"), Field("size", "Size", "select", ["S", "L"], optional=True)], "order")
    assert form.to_text() == f"Order\n\nname:\n\nSize: (one of S / L, optional)\n\n{Form.HINT}"
    extras = Form("Order", [Field("with", "", "multi_select", ["milk", "sugar"])], "order")
    assert extras.to_text() == f"Order\n\nwith: (any of milk / sugar)\n\n{Form.HINT}"
    assert Custom("poll", {}).to_text() == "[poll]"
    assert Custom("poll", {}, "A poll").to_text() == "A poll"


def test_sequences_given_as_lists_are_kept_as_tuples() -> None:
    buttons = [Button("A")]
    card = Card("x", buttons=buttons)
    buttons.append(Button("B"))
    assert card.buttons == (Button("A"),)
    assert Choices("?", ["a"]).options == (Choice("a"),)
    assert Choices("?", [Choice("a", None)]).options == (Choice("a"),)  # type: ignore[list-item]
    assert Choice[int]("a", 1) == Choice("a", 1)
    assert Field("x", kind="select", options=["a"]).options == (Choice("a"),)


def test_answer_of_a_handler_becomes_messages() -> None:
    assert to_messages(None) == to_messages("  ") == to_messages([None, ""]) == []
    assert to_messages("a") == [Text("a")]
    assert to_messages(["a", (Card("b"), None), ["c"]]) == [Text("a"), Card("b"), Text("c")]


@pytest.mark.parametrize("answer", [5, {"text": "x"}, b"x", object(), iter(["x"]), ["a", 5]])
def test_answer_of_a_handler_is_unusable_its_type_is_named(answer: Any) -> None:
    with pytest.raises(MessageError, match=r"not (int|dict|bytes|object|list_iterator)"):
        to_messages(answer)


def test_client_call_is_readable_as_text() -> None:
    assert ClientCall("show_map", {"place": "Kraków"}, "m1.0.0").to_text() == '[show_map {"place": "Kraków"}]'


def test_client_call_is_not_sent_as_a_reply() -> None:
    with pytest.raises(MessageError, match="show_map is sent by"):
        to_messages(["a", ClientCall("show_map")])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (Choices("Tea?", ["yes", "no"]).to_text(), "Tea?\n\n1. yes\n\n2. no"),
        ("*Tea*\n1. Buy\n_Answer 1 for “Buy”, or write it out._\n", "*Tea*\n1. Buy"),
        (Form("Order", [Field("size")], action="order").to_text(), "Order\n\nsize:"),
        ("Answer me!", "Answer me!"),
        ("Question\nAnswer", "Question\nAnswer"),
        ("", ""),
    ],
)
def test_remove_answer_hint_leaves_the_message(text: str, expected: str) -> None:
    assert remove_answer_hint(text) == expected
