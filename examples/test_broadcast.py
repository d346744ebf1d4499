"""Who may publish, who gets it, and how fast."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cometbot.models import User
from cometbot.testing import BotClient
from examples import broadcast


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


def test_news_of_a_publisher_go_to_all_contacts_and_are_counted(client: BotClient, pauses: list[float]) -> None:
    assert client.send("We open on Monday").text == "Sent to 2."
    assert [client.as_user(name).said()[-1].text for name in ("maria", "tom")] == ["We open on Monday"] * 2
    assert pauses == [0.1, 0.1]


def test_others_publish_nothing(client: BotClient) -> None:
    assert client.as_user("tom").send("Buy my bike").text == "I only bring news."
    assert not client.as_user("tom").send("Cheap!")
    assert len(client.as_user("maria").said()) == 1


def test_elsewhere_the_audience_is_given() -> None:
    client = BotClient(broadcast.make_bot({"paul"}, lambda ctx: ["maria", "paul"]), user="paul", channel="cometchat")

    maria = client.as_user("maria")
    maria.send("hello")

    assert client.send("News").text == "Sent to 1."
    assert maria.said().texts == ["I only bring news.", "News"]
