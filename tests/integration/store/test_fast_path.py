"""The ordinary course of a message in one statement a commit: nothing by halves, whatever happens beside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cometbot.bot import Bot
from cometbot.delivery import Delivery
from cometbot.errors import LeaseLost
from cometbot.state import StateChange
from cometbot.store.fast_path import AdvanceResult, FastPath
from cometbot.store.leases import Lease
from cometbot.store.mailbox import MailboxMessage
from cometbot.store.outbox import Draft, OutboxMessage, SendResult
from cometbot.store.tables import conversations, mailbox, outbox, pauses
from cometbot.testing.fake_channel import FakeChannel

T = TypeVar("T")


class FastPathHarness:
    """One conversation on PostgreSQL, and the statements of its runner."""

    def __init__(self, url: str) -> None:
        self.bot, self.channel = Bot("helpdesk"), FakeChannel()
        self.delivery = Delivery([self.bot], [self.channel], url)
        self.database, self.store = self.delivery.database, self.delivery.store
        self.conversation_key = str(self.channel.conversation(self.bot, user="maria").key)
        self.fast_path = FastPath(self.database)

    def enqueue(self, text: str) -> None:
        self.delivery.enqueue(self.channel.incoming(self.bot, text, id=text))

    def claim(self, token: str = "mine") -> tuple[Lease, MailboxMessage | None] | None:
        return self.database.autocommit(lambda c: self.fast_path.claim(c, self.conversation_key, "process", token))

    def claim_message(self) -> tuple[Lease, MailboxMessage]:
        found = self.claim()
        assert found is not None
        lease, message = found
        assert message is not None
        return lease, message

    def advance(
        self,
        lease: Lease,
        message: MailboxMessage | None = None,
        result: SendResult | None = None,
        begin_next: bool = True,
    ) -> AdvanceResult:
        return self.database.autocommit(
            lambda c: self.fast_path.advance(
                c, lease, message=message, handler="greet", result=result, begin_next=begin_next
            )
        )

    def finish_with_reply(self, lease: Lease, message: MailboxMessage, text: str = "hello") -> OutboxMessage | None:
        draft = Draft(message.event_id, message.generation, 0, lease.conversation, [{"text": text}])
        return self.database.autocommit(lambda c: self.fast_path.finish_with_reply(c, lease, message, "greet", draft))

    def write(self, statement: Any) -> None:
        with self.database.write() as connection:
            connection.execute(statement)

    def rows(self, *columns: Any) -> list[tuple[Any, ...]]:
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(sa.select(*columns).order_by(columns[0]))]

    @property
    def messages(self) -> list[tuple[Any, ...]]:
        return [row[1:] for row in self.rows(mailbox.c.seq, mailbox.c.state, mailbox.c.attempts)]

    @property
    def token(self) -> str | None:
        [(token,)] = self.rows(conversations.c.token)
        return token

    def run_during(self, change: Callable[[Connection], object], work: Callable[[], T]) -> T | Exception:
        """What ``work`` comes to, that begins before ``change`` is committed and has to wait for it."""
        came: list[T | Exception] = []

        def do() -> None:
            try:
                came.append(work())
            except Exception as error:
                came.append(error)

        thread = threading.Thread(target=do)
        with self.database.write() as connection:
            change(connection)
            thread.start()
            self._wait_blocked()
        thread.join(10)
        return came[0]

    def _wait_blocked(self) -> None:
        waiting = sa.text(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        end = time.monotonic() + 10
        while True:
            with self.database.read() as connection:
                if connection.execute(waiting).scalar_one():
                    return
            assert time.monotonic() < end, "nobody waits for the change"
            time.sleep(0.01)


@pytest.fixture
def harness(postgres_url: str) -> Iterator[FastPathHarness]:
    made = FastPathHarness(postgres_url)
    with closing(made.delivery):
        yield made


def test_claim_starts_a_message_and_loads_its_state(harness: FastPathHarness) -> None:
    harness.enqueue("one")
    harness.enqueue("two")
    with harness.database.write() as connection:
        harness.store.state.apply(
            connection, [StateChange("conversation", harness.conversation_key, {"step": '"pay"'})]
        )
    lease, message = harness.claim_message()
    assert (lease.token, lease.is_recovered, lease.conversation.target) == ("mine", False, "maria")
    assert (message.attempts, message.failures, message.is_rerun, message.conversation_state) == (
        0,
        0,
        False,
        {"step": '"pay"'},
    )
    assert harness.messages == [("running", 1), ("waiting", 0)]


def test_leased_conversation_is_not_claimed(harness: FastPathHarness) -> None:
    harness.enqueue("one")
    harness.claim_message()
    assert harness.claim("yours") is None
    assert (harness.token, harness.messages) == ("mine", [("running", 1)])


def test_advance_ends_starts_and_releases(harness: FastPathHarness) -> None:
    for text in ("one", "two"):
        harness.enqueue(text)
    lease, first = harness.claim_message()
    harness.write(sa.update(conversations).values(mail=False))
    turn = harness.advance(lease, first)
    assert turn.message is not None
    assert not turn.is_released
    assert harness.messages == [("done", 1), ("running", 1)]
    assert harness.advance(lease, turn.message) == AdvanceResult(None, True)
    assert (harness.token, harness.messages) == (None, [("done", 1), ("done", 1)])


def test_advance_without_begin_next_keeps_the_lease(harness: FastPathHarness) -> None:
    for text in ("one", "two"):
        harness.enqueue(text)
    lease, first = harness.claim_message()
    assert harness.advance(lease, first, begin_next=False) == AdvanceResult(None, False)
    assert (harness.token, harness.messages) == ("mine", [("done", 1), ("waiting", 0)])


@pytest.mark.parametrize(
    "obstacle",
    [
        sa.update(mailbox).where(mailbox.c.event_key == "message:two").values(attempts=1),
        sa.update(mailbox).where(mailbox.c.event_key == "message:two").values(due_at=9e9),
        sa.insert(outbox).values(
            event="m9", ordinal=0, part=0, conversation_key="", payload="{}", client_id="c", state="held", created_at=0
        ),
    ],
    ids=["a process died on it", "it is not due", "a reply stands before it"],
)
def test_blocked_message_is_left_to_the_slow_path(harness: FastPathHarness, obstacle: Any) -> None:
    for text in ("one", "two"):
        harness.enqueue(text)
    lease, first = harness.claim_message()
    harness.write(obstacle)
    harness.write(sa.update(outbox).values(conversation_key=harness.conversation_key))
    harness.write(sa.update(conversations).values(mail=False))
    assert harness.advance(lease, first) == AdvanceResult(None, False)
    assert harness.token == "mine"
    assert [state for state, _ in harness.messages] == ["done", "waiting"]


def test_pending_flag_keeps_the_lease(harness: FastPathHarness) -> None:
    harness.enqueue("one")
    lease, first = harness.claim_message()
    harness.write(sa.update(conversations).values(mail=True))
    assert harness.advance(lease, first) == AdvanceResult(None, False)
    assert harness.token == "mine"


def test_message_stored_during_advance_is_not_lost(harness: FastPathHarness) -> None:
    harness.enqueue("one")
    lease, first = harness.claim_message()

    def put_two(connection: Connection) -> None:
        harness.delivery.enqueue_in(connection, harness.channel.incoming(harness.bot, "two", id="two"))

    assert harness.run_during(put_two, lambda: harness.advance(lease, first)) == AdvanceResult(None, False)
    assert (harness.token, harness.messages) == ("mine", [("done", 1), ("waiting", 0)])


def test_advance_without_the_lease_changes_nothing(harness: FastPathHarness) -> None:
    harness.enqueue("one")
    harness.enqueue("two")
    lease, first = harness.claim_message()

    def take_over(connection: Connection) -> None:
        connection.execute(sa.update(conversations).values(token="theirs", process="another"))

    assert isinstance(harness.run_during(take_over, lambda: harness.advance(lease, first)), LeaseLost)
    assert harness.messages == [("running", 1), ("waiting", 0)]
    assert harness.finish_with_reply(lease, first) is None
    assert (harness.rows(outbox.c.id), harness.token) == ([], "theirs")


def test_claim_does_not_start_a_message_ended_meanwhile(harness: FastPathHarness) -> None:
    harness.enqueue("one")

    def finish(connection: Connection) -> None:
        connection.execute(sa.update(mailbox).values(state="done", attempts=1))
        connection.execute(sa.update(conversations).values(mail=False))

    found = harness.run_during(finish, harness.claim)
    assert isinstance(found, tuple)
    assert found[1] is None
    assert harness.messages == [("done", 1)]


def test_reply_is_stored_with_the_end_of_its_message(harness: FastPathHarness) -> None:
    harness.enqueue("one")
    lease, first = harness.claim_message()
    harness.write(sa.update(conversations).values(mail=False))
    reply = harness.finish_with_reply(lease, first)
    assert reply is not None
    assert (reply.state, reply.body, reply.attempts) == ("sending", {"text": "hello"}, 0)
    assert harness.messages == [("done", 1)]
    assert harness.advance(lease, result=SendResult(reply, "sent", "p1")) == AdvanceResult(None, True)
    assert harness.rows(outbox.c.state, outbox.c.platform_id) == [("sent", "p1")]


def test_reply_is_stored_once_and_not_while_throttled(harness: FastPathHarness) -> None:
    harness.enqueue("one")
    lease, first = harness.claim_message()
    harness.write(sa.insert(pauses).values(account="fake/test", until=9e9, reason="429", failures=1))
    assert harness.finish_with_reply(lease, first) is None
    harness.write(sa.delete(pauses))
    assert harness.finish_with_reply(lease, first, "hello") is not None
    assert harness.finish_with_reply(lease, first, "something else") is None
    harness.write(sa.update(outbox).values(state="sent"))
    assert harness.finish_with_reply(lease, first, "something else") is None
    assert harness.rows(outbox.c.payload) == [('{"text": "hello"}',)]


def test_repeated_advance_changes_nothing(harness: FastPathHarness) -> None:
    for text in ("one", "two"):
        harness.enqueue(text)
    lease, first = harness.claim_message()
    assert harness.advance(lease, first).message is not None
    assert harness.advance(lease, first) == AdvanceResult(None, False)
    assert harness.messages == [("done", 1), ("running", 1)]


def test_reply_stored_during_advance_is_not_lost(harness: FastPathHarness) -> None:
    harness.enqueue("one")
    lease, first = harness.claim_message()
    harness.write(sa.update(conversations).values(mail=False))

    def push(connection: Connection) -> None:
        conversation = harness.channel.conversation(harness.bot, user="maria")
        harness.delivery.enqueue_outgoing_in(connection, conversation, [{"text": "news"}])

    said = harness.run_during(push, lambda: harness.finish_with_reply(lease, first))
    assert isinstance(said, OutboxMessage)
    assert harness.advance(lease, result=SendResult(said, "sent", "p1")) == AdvanceResult(None, False)
    harness.write(sa.update(outbox).values(state="sent"))
    harness.write(sa.update(conversations).values(mail=False))
    assert harness.run_during(push, lambda: harness.advance(lease)) == AdvanceResult(None, False)
    assert (harness.token, len(harness.rows(outbox.c.id))) == ("mine", 3)


def test_dead_letter_requeued_during_advance_is_not_lost(harness: FastPathHarness) -> None:
    harness.enqueue("one")
    harness.enqueue("two")
    harness.write(sa.update(mailbox).where(mailbox.c.event_key == "message:one").values(state="dead", attempts=1))
    lease, second = harness.claim_message()
    assert second.key == "message:two"
    [(letter, _)] = harness.rows(mailbox.c.seq, mailbox.c.state)[:1]

    def retry(connection: Connection) -> None:
        harness.store.mailbox.requeue(connection, letter)
        harness.store.leases.mark_pending_by_key(connection, harness.conversation_key)

    assert harness.run_during(retry, lambda: harness.advance(lease, second)) == AdvanceResult(None, False)
    assert (harness.token, harness.messages) == ("mine", [("waiting", 0), ("done", 1)])


def test_concurrent_claims_give_one_lease(harness: FastPathHarness) -> None:
    harness.enqueue("one")

    def first(connection: Connection) -> None:
        assert harness.fast_path.claim(connection, harness.conversation_key, "another", "theirs") is not None

    assert harness.run_during(first, harness.claim) is None
    assert (harness.token, harness.messages) == ("theirs", [("running", 1)])


def test_message_stored_during_a_claim_is_found(harness: FastPathHarness) -> None:
    harness.enqueue("one")
    lease, first = harness.claim_message()
    assert harness.advance(lease, first) == AdvanceResult(None, True)

    def put_two(connection: Connection) -> None:
        harness.delivery.enqueue_in(connection, harness.channel.incoming(harness.bot, "two", id="two"))

    harness.write(sa.update(conversations).values(mail=True))
    found = harness.run_during(put_two, harness.claim)
    assert isinstance(found, tuple)
    lease, none = found
    assert none is None
    turn = harness.advance(lease)
    assert turn.message is not None
    assert turn.message.key == "message:two"


def test_released_lease_is_not_released_again(harness: FastPathHarness) -> None:
    harness.enqueue("one")
    lease, first = harness.claim_message()
    assert harness.advance(lease, first) == AdvanceResult(None, True)
    with pytest.raises(LeaseLost):
        harness.advance(lease, first)
    assert harness.messages == [("done", 1)]


def test_repeated_finish_with_reply_stores_once(harness: FastPathHarness) -> None:
    harness.enqueue("one")
    lease, first = harness.claim_message()
    reply = harness.finish_with_reply(lease, first)
    assert harness.finish_with_reply(lease, first) is None
    assert reply is not None
    assert harness.rows(outbox.c.id, outbox.c.client_id) == [(reply.id, reply.client_id)]
