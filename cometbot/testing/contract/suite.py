"""The whole channel contract."""

from __future__ import annotations

from collections.abc import Callable

from cometbot.messages import Capabilities
from cometbot.testing.client import BotClient
from cometbot.testing.contract.failures import FailureContract
from cometbot.testing.contract.messaging import MessagingContract
from cometbot.testing.contract.table import MESSAGE_TYPES, capability_rows
from cometbot.testing.contract.texts import TextContract
from cometbot.testing.plugin import CAPABILITIES_PROPERTY


class ChannelContract(MessagingContract, FailureContract, TextContract):
    """The tests that every channel passes. Subclass it with a name that pytest collects, and define ``make_fake``.

    ::

        class TestMyChannel(ChannelContract):
            def make_fake(self, bot):
                return MyFake(bot)

    Features that the channel's capabilities exclude need not work, but must fail in the documented way. The test run
    ends with a table of the tested channels' capabilities.
    """

    def test_capabilities_are_known_and_go_into_the_table(
        self, client: BotClient, capabilities: Capabilities, record_property: Callable[[str, object], None]
    ) -> None:
        assert capabilities.native <= set(MESSAGE_TYPES)
        record_property(CAPABILITIES_PROPERTY, [self._title(client), capability_rows(capabilities)])

    def _title(self, client: BotClient) -> str:
        return type(self).__name__.removeprefix("Test").removesuffix("Contract") or client.channel.name
