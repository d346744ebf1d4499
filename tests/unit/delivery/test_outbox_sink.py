"""The reply sink of a running handler, without a database."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from cometbot.delivery.outbox_sink import OutboxReplySink
from cometbot.delivery.running_handlers import HandlerRegistry
from cometbot.messages import Operation, Text
from cometbot.models import Conversation
from cometbot.store.leases import Lease
from cometbot.store.mailbox import MailboxMessage

MARIA = Conversation("fake", "a", "shop", "1", "maria")
RERUN = MailboxMessage(1, "message:1", "maria", b"{}", 0.0, attempts=1, failures=1, generation=0, due_at=None)


def make_sink(stored_ordinals: tuple[int, ...]) -> OutboxReplySink:
    replies = [
        SimpleNamespace(ordinal=ordinal, part=0, platform_id=f"p{ordinal}", target=None, target_event=None)
        for ordinal in stored_ordinals
    ]
    transactions: Any = SimpleNamespace(list_replies=lambda message: replies, load_state=lambda scope, owner: {})
    unused: Any = None
    return OutboxReplySink(
        transactions,
        HandlerRegistry(300.0),
        unused,
        unused,
        Lease("fake/a/shop/1", "token", MARIA),
        RERUN,
        send_all=lambda lease, attempts: [],
        count_usage=lambda reported: None,
    )


def test_posts_at_the_same_time_return_their_own_stored_ordinals() -> None:
    sink = make_sink((0, 1))
    operation = Operation(conversation=MARIA, message=Text("hello"))
    others: list[int] = []

    class Interleaved(set[int]):
        """Another thread posts between the assignment of an ordinal and its use."""

        def __contains__(self, ordinal: object) -> bool:
            if ordinal == 0 and not others:
                others.append(sink.post(operation))
            return super().__contains__(ordinal)

    sink._stored_ordinals = Interleaved({0, 1})
    assert (sink.post(operation), others) == (0, [1])
    assert (sink.platform_id(0), sink.platform_id(1)) == ("p0", "p1")
