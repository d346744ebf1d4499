"""The whole channel contract, and the table of channels' capabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cometbot.channels.base import Channel
from cometbot.messages import MESSAGE_CLASSES, Capabilities, ClientCall
from cometbot.testing.client import BotClient
from cometbot.testing.contract.actions import ActionContract
from cometbot.testing.contract.approvals import ApprovalContract
from cometbot.testing.contract.client_tools import ClientToolContract
from cometbot.testing.contract.concurrency import ConcurrencyContract
from cometbot.testing.contract.dialogs import DialogContract
from cometbot.testing.contract.failures import FailureContract
from cometbot.testing.contract.files import FileContract
from cometbot.testing.contract.members import MemberContract
from cometbot.testing.contract.messaging import MessagingContract
from cometbot.testing.contract.outgoing import OutgoingContract
from cometbot.testing.contract.streams import StreamContract
from cometbot.testing.contract.turns import TurnContract
from cometbot.testing.plugin import CAPABILITIES_PROPERTY, format_table


class ChannelContract(
    MessagingContract,
    ActionContract,
    DialogContract,
    ApprovalContract,
    ConcurrencyContract,
    OutgoingContract,
    StreamContract,
    TurnContract,
    ClientToolContract,
    FileContract,
    MemberContract,
    FailureContract,
):
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
        assert capabilities.native <= {*MESSAGE_CLASSES, ClientCall}
        record_property(CAPABILITIES_PROPERTY, [self._title(client), capability_rows(capabilities)])

    def _title(self, client: BotClient) -> str:
        return type(self).__name__.removeprefix("Test").removesuffix("Contract") or client.channel.name


def capability_rows(capabilities: Capabilities) -> dict[str, str]:
    """Return one channel's column: how it shows each type of message, and its other capabilities."""
    rows = {kind.__name__: "shown" if kind in capabilities.native else "as text" for kind in MESSAGE_CLASSES}
    rows["text in one message"] = f"{capabilities.text_limit} bytes"
    rows["edit"] = "yes" if capabilities.edit else "sends it again"
    for name in ("delete", "react", "threads", "history", "groups", "members", "moderate", "ban", "status"):
        rows[name] = "yes" if getattr(capabilities, name) else "no"
    rows["tools of clients"] = "yes" if ClientCall in capabilities.native else "no"
    rows["tool calls"] = "shown" if capabilities.tool_calls else "no"
    rows["finds sent messages"] = "yes" if capabilities.look_up else "no"
    is_live = (capabilities.edit or capabilities.deltas) and capabilities.stream_interval is not None
    rows["stream"] = f"live, every {capabilities.stream_interval:g} s" if is_live else "when complete"
    return rows


def capability_table(channels: Iterable[Channel]) -> str:
    """Return the capabilities of ``channels`` as a Markdown table with one column for each channel."""
    return format_table({channel.name: capability_rows(channel.capabilities) for channel in channels})
