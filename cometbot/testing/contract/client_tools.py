"""The part of the contract about tools of clients: a handler that calls one goes on with what the client returns."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cometbot.bot import Bot
from cometbot.context import Context
from cometbot.errors import BotError
from cometbot.messages import Capabilities, ClientCall
from cometbot.models import ClientTool
from cometbot.testing.client import BotClient
from cometbot.testing.contract.base import ContractBase
from cometbot.testing.fake_model import FakeModel
from cometbot.turns import ToolCall, Turn

_SCHEMA = {"type": "object", "properties": {"near": {"type": "string"}}, "required": ["near"]}
_PICK = ClientTool("pick_place", "Let the user pick a place.", _SCHEMA)
_DONE = "To Ostia, then."


def _add_trip(bot: Bot) -> None:
    @bot.command
    def trip(ctx: Context) -> str:
        return f"To {ctx.call('pick_place', near='Rome')['name']}, then."

    @bot.fallback
    def other(ctx: Context) -> str:
        return f"Re: {ctx.text}"


class ClientToolContract(ContractBase):
    """Calls of the tools of clients, and channels whose clients have none."""

    @pytest.fixture
    def offering_client(self, bot: Bot, capabilities: Capabilities) -> Iterator[BotClient]:
        """Yield a client that offers a tool. Skip the test if the channel's clients have none."""
        if ClientCall not in capabilities.native:
            pytest.skip("clients of this channel have no tools")
        with BotClient(bot, channel=self.make_fake, client_tools=[_PICK]) as client:
            yield client

    def test_handler_goes_on_with_what_the_client_returns(self, bot: Bot, offering_client: BotClient) -> None:
        _add_trip(bot)
        [asked] = offering_client.send("/trip")
        assert isinstance(asked.message, ClientCall)
        assert (asked.message.name, asked.message.arguments) == ("pick_place", {"near": "Rome"})
        assert offering_client.answer_call({"name": "Ostia"}).texts == [_DONE]

    def test_other_messages_and_second_results_are_no_result(self, bot: Bot, offering_client: BotClient) -> None:
        _add_trip(bot)
        [asked] = offering_client.send("/trip")
        assert offering_client.send("Tivoli").texts == ["Re: Tivoli"]
        assert offering_client.answer_call({"name": "Ostia"}).texts == [_DONE]
        assert offering_client.answer_call({"name": "Tivoli"}, call=asked).texts == []
        assert offering_client.dead_letters == []

    def test_model_calls_tools_of_the_client(self, bot: Bot, offering_client: BotClient) -> None:
        model = FakeModel(["One moment.", ToolCall("pick_place", {"near": "Rome"})], "Done.")
        seen: list[tuple[ClientTool, ...]] = []

        @bot.fallback
        def answer(ctx: Context) -> None:
            seen.append(ctx.client_tools)
            ctx.run_agent(model, ctx.client_tools, turns=[Turn("user", ctx.text)])

        texts = offering_client.send("Where?").texts
        assert texts[0] == "One moment."
        assert offering_client.answer_call("=Ostia").texts == ["Done."]
        assert [turn.text for turn in model.requests[-1].turns if turn.role == "tool"] == ["=Ostia"]
        assert seen[0] == (_PICK,)

    def test_call_where_clients_have_no_tools_is_an_error(
        self, bot: Bot, client: BotClient, capabilities: Capabilities
    ) -> None:
        if ClientCall in capabilities.native:
            pytest.skip("clients of this channel may have tools")
        _add_trip(bot)
        with pytest.raises(BotError, match="have no tools"):
            client.send("/trip")
