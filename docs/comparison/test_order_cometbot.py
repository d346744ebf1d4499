"""The order dialog in cometbot, tested."""

import order_cometbot

from cometbot.testing import BotClient


def test_order_is_created(monkeypatch):
    monkeypatch.setattr(order_cometbot, "create_order", lambda size, count, key: "o1")
    client = BotClient(order_cometbot.bot)
    assert client.send("/order").choices == ["S", "M", "L"]
    assert client.send("XL").choices == ["S", "M", "L"]
    assert client.choose("M").text == "How many?"
    assert client.send("many").text == "1 to 9, please."
    assert client.send("3").text == "3 of size M, order o1. Thank you."


def test_order_is_cancelled():
    client = BotClient(order_cometbot.bot)
    client.send("/order")
    assert client.send("/cancel").text == "All right, cancelled."
