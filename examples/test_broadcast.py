"""Who may publish, who gets it, and how fast."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cometbot import Custom, Rejected
from cometbot.channels.simplex.client import SimplexClient
from cometbot.models import User
from cometbot.testing import BotClient
from examples import broadcast

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the bot waits, which pass at once."""
    waited: list[float] = []
    monkeypatch.setattr(broadcast, "sleep", waited.append)
    return waited


@pytest.fixture
def client() -> Iterator[BotClient]:
    """Paul, who publishes, where Maria and Tom are connected too. The first contact has the number 4."""
    with BotClient(broadcast.make_bot({"4"}), channel="simplex", user=User("paul", "Paul")) as client:
        assert client.send("/whoami").text == "4"
        for name in ("maria", "tom"):
            client.as_user(name).send("/whoami")
        yield client


def publish(client: BotClient, text: str) -> str:
    """Return what the publisher hears when the readers have got the message."""
    assert not client.send(text)
    return client.advance(5).text


def test_news_go_to_all_contacts_and_what_arrived_is_counted(client: BotClient, pauses: list[float]) -> None:
    assert publish(client, "We open on Monday") == "Sent to 2."
    assert [client.as_user(name).said()[-1].text for name in ("maria", "tom")] == ["We open on Monday"] * 2
    assert pauses[:2] == [0.1, 0.1]


def test_another_publisher_hears_the_news(pauses: list[float]) -> None:
    bot = broadcast.make_bot({"paul", "petra"}, lambda ctx: ["paul", "petra", "maria"])
    client = BotClient(bot, user="paul")

    assert publish(client, "We open on Monday") == "Sent to 2."
    assert client.as_user("petra").said().texts == ["We open on Monday"]


def test_a_reader_who_cannot_be_reached_is_not_counted(pauses: list[float]) -> None:
    bot = broadcast.make_bot({"paul"}, lambda ctx: ["maria", "tom"])
    client = BotClient(bot, user="paul", raise_errors=False)
    client.fake.misbehave("refused")

    assert not client.send("We open on Monday")
    assert client.advance(120).text == "Sent to 1 of 2; the others could not be reached yet."


def test_a_picture_goes_to_all_contacts_as_one_with_its_words(client: BotClient) -> None:
    client.send_image(PNG, caption="Our new shop")
    assert client.advance(5).text == "Sent to 2."
    for name in ("maria", "tom"):
        told = client.as_user(name).said()[-1].message
        assert isinstance(told, Custom)
        assert (told.type, told.text) == ("image", "Our new shop")
        assert Path(told.data["path"]).read_bytes() == PNG


def test_what_has_neither_words_nor_a_file_goes_to_nobody() -> None:
    client = BotClient(broadcast.make_bot({"paul"}, lambda ctx: ["maria"]), user="paul")

    assert client.send("").text == "I pass on texts and files."
    assert not client.as_user("maria").said()


def test_a_file_goes_as_a_file(client: BotClient) -> None:
    client.send_file(b"Tea 3, coffee 4", name="prices.txt")
    client.advance(5)
    told = client.as_user("tom").said()[-1].message

    assert isinstance(told, Custom)
    assert (told.type, Path(told.data["path"]).read_bytes()) == ("file", b"Tea 3, coffee 4")


def test_a_file_that_is_not_to_be_had_goes_to_nobody_and_the_publisher_hears_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise Rejected("the file is too large", code="file_too_large")

    monkeypatch.setattr(SimplexClient, "receive", refuse)
    bot = broadcast.make_bot({"4"})
    with BotClient(bot, channel="simplex", user=User("paul", "Paul"), raise_errors=False) as client:
        maria = client.as_user("maria")
        client.send("/whoami")
        maria.send("/whoami")

        assert client.send_image(PNG).text == "That cannot be passed on: the file is too large"
        assert maria.said().texts == ["5"]


def test_others_publish_nothing(client: BotClient) -> None:
    assert client.as_user("tom").send("Buy my bike").text == "I only bring news."
    assert not client.as_user("tom").send("Cheap!")
    assert len(client.as_user("maria").said()) == 1


def test_elsewhere_the_audience_is_given() -> None:
    client = BotClient(broadcast.make_bot({"paul"}, lambda ctx: ["maria", "paul"]), user="paul", channel="cometchat")

    maria = client.as_user("maria")
    maria.send("hello")

    assert publish(client, "News") == "Sent to 1."
    assert maria.said().texts == ["I only bring news.", "News"]


@pytest.mark.parametrize("channel", ["fake", "cometchat"])
def test_elsewhere_a_picture_is_passed_on_by_its_address(channel: str) -> None:
    client = BotClient(broadcast.make_bot({"paul"}, lambda ctx: ["maria"]), user="paul", channel=channel)

    maria = client.as_user("maria")
    maria.send("hello")

    client.send_image("https://files.example.com/shop.png", caption="Our new shop")
    assert client.advance(5).text == "Sent to 1."
    told = maria.said().texts[-1]
    assert "Our new shop" in told
    assert "https://files.example.com/shop.png" in told
