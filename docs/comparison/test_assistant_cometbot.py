"""The assistant in cometbot, tested."""

import assistant_cometbot
import assistant_shop
from assistant_cometbot import bot

from cometbot import ToolCall
from cometbot.testing import BotClient, FakeModel


def test_order_is_looked_up(monkeypatch):
    monkeypatch.setattr(assistant_cometbot, "model", FakeModel(ToolCall("find_order", {"number": 17}), "On Monday."))
    assert BotClient(bot).send("Where is order 17?").text == "On Monday."


def test_refund_is_approved_by_a_manager(monkeypatch):
    model = FakeModel(ToolCall("refund", {"number": 17, "euros": 12.5}), "You get it back.")
    monkeypatch.setattr(assistant_cometbot, "model", model)
    monkeypatch.setattr(assistant_shop, "create_refund", lambda number, euros, key: "r1")
    maria = BotClient(bot)
    assert not maria.send("Please refund it.")
    maria.as_user("tom", group="managers").press("Approve")
    assert maria.said().text == "You get it back."
    assert model.requests[1].text == "r1"
