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
from cometbot.context import StateChange
from cometbot.delivery import Delivery
from cometbot.delivery.chains import Chains, Turn
from cometbot.delivery.leases import Lease
from cometbot.delivery.mailbox import Mail
from cometbot.delivery.outbox import Draft, Note, Reply
from cometbot.errors import LeaseLost
from cometbot.store.tables import conversations, mailbox, outbox, pauses
from cometbot.testing.channel import FakeChannel

T = TypeVar("T")


class Desk:
    """One conversation on PostgreSQL, and the statements of its lane."""

    def __init__(self, url: str) -> None:
        self.bot, self.channel = Bot("helpdesk"), FakeChannel()
        self.delivery = Delivery([self.bot], [self.channel], url)
        self.database, self.store = self.delivery.database, self.delivery.store
        self.lane = str(self.channel.conversation(self.bot, user="maria").key)
        assert self.store.chains is not None
        self.chains: Chains = self.store.chains

    def put(self, text: str) -> None:
        self.delivery.put(self.channel.incoming(self.bot, text, id=text))

    def claim(self, token: str = "mine") -> tuple[Lease, Mail | None] | None:
        return self.database.single(lambda c: self.chains.claim(c, self.lane, "process", token))

    def claimed(self) -> tuple[Lease, Mail]:
        found = self.claim()
        assert found is not None
        lease, mail = found
        assert mail is not None
        return lease, mail

    def go_on(self, lease: Lease, mail: Mail | None = None, note: Note | None = None, begins: bool = True) -> Turn:
        return self.database.single(
            lambda c: self.chains.go_on(c, lease, mail=mail, handler="greet", note=note, begins=begins)
        )

    def say(self, lease: Lease, mail: Mail, text: str = "hello") -> Reply | None:
        draft = Draft(mail.event, mail.generation, 0, self.lane, [{"text": text}])
        return self.database.single(lambda c: self.chains.say(c, lease, mail, "greet", draft))

    def write(self, statement: Any) -> None:
        with self.database.write() as connection:
            connection.execute(statement)

    def rows(self, *columns: Any) -> list[tuple[Any, ...]]:
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(sa.select(*columns).order_by(columns[0]))]

    @property
    def mail(self) -> list[tuple[Any, ...]]:
        return [row[1:] for row in self.rows(mailbox.c.seq, mailbox.c.state, mailbox.c.attempts)]

    @property
    def token(self) -> str | None:
        [(token,)] = self.rows(conversations.c.token)
        return token

    def beside(self, change: Callable[[Connection], object], work: Callable[[], T]) -> T | Exception:
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
def desk(postgres_url: str) -> Iterator[Desk]:
    made = Desk(postgres_url)
    with closing(made.delivery):
        yield made


def test_a_claim_begins_the_first_message_and_brings_what_is_remembered(desk: Desk) -> None:
    desk.put("one")
    desk.put("two")
    with desk.database.write() as connection:
        desk.store.state.apply(connection, [StateChange("conversation", desk.lane, {"step": '"pay"'})])
    lease, mail = desk.claimed()
    assert (lease.token, lease.recovered, lease.conversation.target) == ("mine", False, "maria")
    assert (mail.attempts, mail.failures, mail.is_rerun, mail.remembered) == (0, 0, False, {"step": '"pay"'})
    assert desk.mail == [("running", 1), ("waiting", 0)]


def test_a_conversation_that_somebody_holds_is_not_claimed(desk: Desk) -> None:
    desk.put("one")
    desk.claimed()
    assert desk.claim("yours") is None
    assert (desk.token, desk.mail) == ("mine", [("running", 1)])


def test_going_on_ends_a_message_and_begins_the_next_and_gives_the_lease_back_at_last(desk: Desk) -> None:
    for text in ("one", "two"):
        desk.put(text)
    lease, first = desk.claimed()
    desk.write(sa.update(conversations).values(mail=False))
    turn = desk.go_on(lease, first)
    assert turn.mail is not None
    assert not turn.is_released
    assert desk.mail == [("done", 1), ("running", 1)]
    assert desk.go_on(lease, turn.mail) == Turn(None, True)
    assert (desk.token, desk.mail) == (None, [("done", 1), ("done", 1)])


def test_a_tired_lane_begins_nothing_and_keeps_the_lease_for_what_is_left(desk: Desk) -> None:
    for text in ("one", "two"):
        desk.put(text)
    lease, first = desk.claimed()
    assert desk.go_on(lease, first, begins=False) == Turn(None, False)
    assert (desk.token, desk.mail) == ("mine", [("done", 1), ("waiting", 0)])


@pytest.mark.parametrize(
    "obstacle",
    [
        sa.update(mailbox).where(mailbox.c.event_key == "message:two").values(attempts=1),
        sa.update(mailbox).where(mailbox.c.event_key == "message:two").values(due_at=9e9),
        sa.insert(outbox).values(
            event="m9", ordinal=0, part=0, lane="", payload="{}", client_id="c", state="held", created_at=0
        ),
    ],
    ids=["a process died on it", "it is not due", "a reply stands before it"],
)
def test_a_message_with_an_obstacle_is_left_to_the_long_form(desk: Desk, obstacle: Any) -> None:
    for text in ("one", "two"):
        desk.put(text)
    lease, first = desk.claimed()
    desk.write(obstacle)
    desk.write(sa.update(outbox).values(lane=desk.lane))
    desk.write(sa.update(conversations).values(mail=False))
    assert desk.go_on(lease, first) == Turn(None, False)
    assert desk.token == "mine"
    assert [state for state, _ in desk.mail] == ["done", "waiting"]


def test_new_mail_that_was_announced_keeps_the_lease(desk: Desk) -> None:
    desk.put("one")
    lease, first = desk.claimed()
    desk.write(sa.update(conversations).values(mail=True))
    assert desk.go_on(lease, first) == Turn(None, False)
    assert desk.token == "mine"


def test_mail_that_is_put_while_the_lease_would_be_given_back_is_not_lost(desk: Desk) -> None:
    desk.put("one")
    lease, first = desk.claimed()

    def put_two(connection: Connection) -> None:
        desk.delivery.put_within(connection, desk.channel.incoming(desk.bot, "two", id="two"))

    assert desk.beside(put_two, lambda: desk.go_on(lease, first)) == Turn(None, False)
    assert (desk.token, desk.mail) == ("mine", [("done", 1), ("waiting", 0)])


def test_a_lane_that_was_taken_over_ends_and_begins_nothing(desk: Desk) -> None:
    desk.put("one")
    desk.put("two")
    lease, first = desk.claimed()

    def take_over(connection: Connection) -> None:
        connection.execute(sa.update(conversations).values(token="theirs", process="another"))

    assert isinstance(desk.beside(take_over, lambda: desk.go_on(lease, first)), LeaseLost)
    assert desk.mail == [("running", 1), ("waiting", 0)]
    assert desk.say(lease, first) is None
    assert (desk.rows(outbox.c.id), desk.token) == ([], "theirs")


def test_a_message_that_another_ended_meanwhile_is_not_begun_by_a_claim(desk: Desk) -> None:
    desk.put("one")

    def finish(connection: Connection) -> None:
        connection.execute(sa.update(mailbox).values(state="done", attempts=1))
        connection.execute(sa.update(conversations).values(mail=False))

    found = desk.beside(finish, desk.claim)
    assert isinstance(found, tuple)
    assert found[1] is None
    assert desk.mail == [("done", 1)]


def test_a_reply_is_stored_with_the_end_of_its_message_and_noted_with_what_comes_next(desk: Desk) -> None:
    desk.put("one")
    lease, first = desk.claimed()
    desk.write(sa.update(conversations).values(mail=False))
    reply = desk.say(lease, first)
    assert reply is not None
    assert (reply.state, reply.body, reply.attempts) == ("sending", {"text": "hello"}, 0)
    assert desk.mail == [("done", 1)]
    assert desk.go_on(lease, note=Note(reply, "sent", "p1")) == Turn(None, True)
    assert desk.rows(outbox.c.state, outbox.c.platform_id) == [("sent", "p1")]


def test_the_first_words_stay_and_nothing_is_said_past_a_pause_or_a_reply_that_waits(desk: Desk) -> None:
    desk.put("one")
    lease, first = desk.claimed()
    desk.write(sa.insert(pauses).values(account="fake/test", until=9e9, reason="429", failures=1))
    assert desk.say(lease, first) is None
    desk.write(sa.delete(pauses))
    assert desk.say(lease, first, "hello") is not None
    assert desk.say(lease, first, "something else") is None
    desk.write(sa.update(outbox).values(state="sent"))
    assert desk.say(lease, first, "something else") is None
    assert desk.rows(outbox.c.payload) == [('{"text": "hello"}',)]


def test_a_lane_that_repeats_a_commit_whose_answer_it_missed_changes_nothing(desk: Desk) -> None:
    for text in ("one", "two"):
        desk.put(text)
    lease, first = desk.claimed()
    assert desk.go_on(lease, first).mail is not None
    assert desk.go_on(lease, first) == Turn(None, False)
    assert desk.mail == [("done", 1), ("running", 1)]


def test_a_reply_that_is_stored_while_a_lane_wants_to_say_or_to_give_back_is_not_lost(desk: Desk) -> None:
    desk.put("one")
    lease, first = desk.claimed()
    desk.write(sa.update(conversations).values(mail=False))

    def push(connection: Connection) -> None:
        conversation = desk.channel.conversation(desk.bot, user="maria")
        desk.delivery.say_within(connection, conversation, [{"text": "news"}])

    said = desk.beside(push, lambda: desk.say(lease, first))
    assert isinstance(said, Reply)
    assert desk.go_on(lease, note=Note(said, "sent", "p1")) == Turn(None, False)
    desk.write(sa.update(outbox).values(state="sent"))
    desk.write(sa.update(conversations).values(mail=False))
    assert desk.beside(push, lambda: desk.go_on(lease)) == Turn(None, False)
    assert (desk.token, len(desk.rows(outbox.c.id))) == ("mine", 3)


def test_a_dead_letter_that_is_retried_while_the_lease_would_be_given_back_is_not_lost(desk: Desk) -> None:
    desk.put("one")
    desk.put("two")
    desk.write(sa.update(mailbox).where(mailbox.c.event_key == "message:one").values(state="dead", attempts=1))
    lease, second = desk.claimed()
    assert second.key == "message:two"
    [(letter, _)] = desk.rows(mailbox.c.seq, mailbox.c.state)[:1]

    def retry(connection: Connection) -> None:
        desk.store.mailbox.revive(connection, letter)
        desk.store.leases.ring(connection, desk.lane)

    assert desk.beside(retry, lambda: desk.go_on(lease, second)) == Turn(None, False)
    assert (desk.token, desk.mail) == ("mine", [("waiting", 0), ("done", 1)])


def test_of_two_who_claim_at_once_one_gets_the_lease(desk: Desk) -> None:
    desk.put("one")

    def first(connection: Connection) -> None:
        assert desk.chains.claim(connection, desk.lane, "another", "theirs") is not None

    assert desk.beside(first, desk.claim) is None
    assert (desk.token, desk.mail) == ("theirs", [("running", 1)])


def test_mail_that_is_put_while_a_claim_waits_is_found_by_the_lane_that_claims(desk: Desk) -> None:
    desk.put("one")
    lease, first = desk.claimed()
    assert desk.go_on(lease, first) == Turn(None, True)

    def put_two(connection: Connection) -> None:
        desk.delivery.put_within(connection, desk.channel.incoming(desk.bot, "two", id="two"))

    desk.write(sa.update(conversations).values(mail=True))
    found = desk.beside(put_two, desk.claim)
    assert isinstance(found, tuple)
    lease, none = found
    assert none is None
    turn = desk.go_on(lease)
    assert turn.mail is not None
    assert turn.mail.key == "message:two"


def test_a_conversation_that_was_given_back_is_not_given_back_again(desk: Desk) -> None:
    desk.put("one")
    lease, first = desk.claimed()
    assert desk.go_on(lease, first) == Turn(None, True)
    with pytest.raises(LeaseLost):
        desk.go_on(lease, first)
    assert desk.mail == [("done", 1)]


def test_a_reply_whose_commit_was_not_answered_is_stored_once(desk: Desk) -> None:
    desk.put("one")
    lease, first = desk.claimed()
    reply = desk.say(lease, first)
    assert desk.say(lease, first) is None
    assert reply is not None
    assert desk.rows(outbox.c.id, outbox.c.client_id) == [(reply.id, reply.client_id)]
