"""Offers that meet, at whose price, and what partners can say to each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cometbot.testing import BotClient
from examples.trading import Book, make_bot


@pytest.fixture(params=["fake", "simplex"])
def maria(request: pytest.FixtureRequest) -> Iterator[BotClient]:
    with BotClient(make_bot(Book()), channel=request.param) as client:
        yield client


def test_a_buyer_meets_the_cheapest_seller_and_both_are_told(maria: BotClient) -> None:
    tom = maria.as_user("tom")
    tom.send("/sell bike 90")
    maria.as_user("tina").send("/sell bike 80")

    assert maria.send("/buy Bike 100").text.startswith("Tina agrees: Bike for 80.")
    assert "Maria agrees: Bike for 80." in maria.as_user("tina").said().text
    assert tom.said().texts == ["Noted. I tell you when somebody fits."]


def test_a_seller_meets_the_best_buyer_at_that_buyers_price(maria: BotClient) -> None:
    maria.as_user("tom").send("/buy tent 30")
    maria.as_user("tina").send("/buy tent 40")

    assert "Tina agrees: tent for 40." in maria.send("/sell tent 25").text


def test_offers_that_do_not_meet_wait(maria: BotClient) -> None:
    maria.as_user("tom").send("/sell bike 90")

    for words in ("/buy bike 80", "/buy tent 200", "/sell bike 10"):
        assert "Noted" in maria.send(words).text


@pytest.mark.parametrize("price", ["-5", "0", "99999999999999999999"])
def test_a_price_that_is_none_is_refused(price: str) -> None:
    maria = BotClient(make_bot(Book()))
    maria.as_user("tom").send("/buy bike 80")

    assert maria.send(f"/sell bike {price}").text == "A price is a number from 1 to 999999999."
    assert "Noted" in maria.send("/sell bike 90").text


def test_in_a_group_nobody_trades_since_not_everybody_there_can_be_written_to(maria: BotClient) -> None:
    assert maria.in_group("ops").send("/sell bike 80").text == "Write to me alone."
    assert "Noted" in maria.as_user("tom").send("/buy bike 80").text


def test_nobody_trades_with_himself(maria: BotClient) -> None:
    maria.send("/sell bike 80")

    assert "Noted" in maria.send("/buy bike 90").text


def test_open_offers_are_listed_and_withdrawn(maria: BotClient) -> None:
    assert maria.send("/offers").text == "You offer nothing."
    maria.send("/sell bike 80")
    maria.send("/buy tent 40")

    assert maria.send("/offers").text == "/sell bike 80\n/buy tent 40"
    assert maria.send("/withdraw Bike").text == "Bike is withdrawn."
    assert maria.send("/withdraw bike").text == "You offer no bike."
    assert maria.send("/offers").text == "/buy tent 40"
    assert "Noted" in maria.as_user("tom").send("/buy bike 90").text
    assert maria.send("/tell hello").text == "You have no partner yet."


def test_an_offer_that_was_taken_cannot_be_withdrawn(maria: BotClient) -> None:
    maria.send("/sell bike 80")
    maria.as_user("tom").send("/buy bike 90")

    assert maria.send("/withdraw bike").text == "You offer no bike."
    assert maria.send("/tell When?").text == "Sent."


def test_plain_words_are_answered_with_what_one_can_write(maria: BotClient) -> None:
    assert maria.send("hello").text.startswith("Write /sell bike 80")


def test_partners_talk_through_the_bot(maria: BotClient) -> None:
    tom = maria.as_user("tom")
    assert maria.send("/tell hello").text == "You have no partner yet."
    tom.send("/sell bike 80")
    maria.send("/buy bike 80")

    assert maria.send("/tell Where do we meet?").text == "Sent."
    assert tom.said()[-1].text == "Maria: Where do we meet?"
    tom.send("/tell At the station.")
    assert maria.said()[-1].text == "Tom: At the station."


def test_an_offer_is_placed_once_however_often_its_message_is_handled(tmp_path: Path) -> None:
    book = Book(f"{tmp_path}/trades.db")
    sale = {"event": "m1", "side": "sell", "thing": "bike", "price": 80, "uid": "1", "name": "Tom"}
    purchase = {"event": "m2", "side": "buy", "thing": "bike", "price": 90, "uid": "2", "name": "Maria"}
    assert book.place(**sale) is None
    first = book.place(**purchase)

    assert first is not None
    assert first[1:] == ("Tom", 80)
    assert Book(f"{tmp_path}/trades.db").place(**purchase) == first
    assert book.place(**{**purchase, "event": "m3", "uid": "3"}) is None
