"""Who may publish, and who gets it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cometbot import Rejected
from cometbot.channels.simplex.client import SimplexClient
from cometbot.models import User
from cometbot.testing import BotClient
from examples import broadcast

PNG = b"\x89PNG\r\n\x1a\n"
WELCOME = "You get our news here. To end that, write: unsubscribe"


@pytest.fixture
def client() -> Iterator[BotClient]:
    """Paul, who publishes, where Maria and Tom are connected too. The first contact has the number 4."""
    with BotClient(broadcast.make_bot({"4"}), channel="simplex", user=User("paul", "Paul")) as client:
        assert client.start().text == WELCOME
        assert client.send("/whoami").text == "4"
        for name in ("maria", "tom"):
            client.as_user(name).start()
        yield client


def test_news_go_to_all_contacts(client: BotClient) -> None:
    assert client.send("We open on Monday").text == "On its way to 2."
    assert [client.as_user(name).said()[-1].text for name in ("maria", "tom")] == ["We open on Monday"] * 2


def test_who_unsubscribes_gets_no_news(client: BotClient) -> None:
    assert client.as_user("tom").send("Unsubscribe").text.endswith("write: subscribe")
    client.send("We open on Monday")
    assert client.as_user("tom").said()[-1].text.endswith("write: subscribe")
    client.as_user("tom").send("subscribe")
    client.send("We are open")
    assert client.as_user("tom").said()[-1].text == "We are open"


def test_a_picture_goes_to_all_contacts_with_its_words(client: BotClient) -> None:
    assert client.send_image(PNG, caption="Our new shop").text == "On its way to 2."
    for name in ("maria", "tom"):
        said = client.as_user(name).said()[-1]
        assert "Our new shop" in said.text
        assert client.as_user(name).download(said) == PNG


def test_a_file_that_is_not_to_be_had_goes_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise Rejected("the file is gone", code="file_gone")

    monkeypatch.setattr(SimplexClient, "receive", refuse)
    bot = broadcast.make_bot({"4"})
    with BotClient(bot, channel="simplex", user=User("paul", "Paul"), raise_errors=False) as client:
        client.start()
        client.as_user("maria").start()
        assert client.send_image(PNG).text == "That cannot be passed on: the file is gone"
        assert client.as_user("maria").said().texts == [WELCOME]


def test_others_publish_nothing(client: BotClient) -> None:
    assert client.as_user("tom").send("Buy my bike").text == "I only bring news."
    assert not client.as_user("tom").send("Cheap!")
    assert client.as_user("maria").said().texts == [WELCOME]


@pytest.mark.parametrize("channel", ["fake", "cometchat", "chat_api", "platform"])
def test_elsewhere_the_audience_is_given(channel: str) -> None:
    bot = broadcast.make_bot({"paul"}, lambda ctx: ["maria", "paul"])
    with BotClient(bot, user="paul", channel=channel) as client:
        client.as_user("maria").send("hello")
        assert "On its way to 1." in client.send("News").texts
        assert client.as_user("maria").said().texts[-1] == "News"
