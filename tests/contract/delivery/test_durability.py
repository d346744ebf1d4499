"""Each commit in the life of a message: on the disk where a promise depends on it, and only there."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from cometbot import Context
from cometbot.bot import Bot
from cometbot.channels.base import OutgoingRequest
from cometbot.delivery import Delivery
from cometbot.errors import Rejected, Unreachable
from cometbot.messages import Text
from tests.commit_recorder import Commit, CommitRecorder, SQLiteCommitRecorder, record_commits
from tests.contract.delivery.conftest import Harness, wait_until

DURABLE = {
    "mailbox: waiting": "an event is stored",
    "mailbox: running to done": "its handler ended",
    "mailbox: running to dead": "its handler failed for good",
    "mailbox: running to waiting": "its handler is tried again later",
    "mailbox: dead to waiting": "a dead letter is retried",
    "mailbox: dead to discarded": "a dead letter is discarded",
    "mailbox: done to waiting": "a message is replayed",
    "outbox: sending": "a reply is stored before it is sent",
    "outbox: ready": "a reply is stored that cannot be sent yet",
    "outbox: dead to unknown": "a dead reply is retried",
    "outbox: dead to discarded": "a dead reply is discarded",
    "state: insert": "a handler's state",
    "state: update": "a handler's state, changed",
    "state: delete": "a handler's state, removed",
}
"""The changes that a promise depends on."""

RELAXED = {
    "mailbox: waiting to running": "a lost claim leaves a message that waits",
    "outbox: ready to sending": "a lost begin leaves a reply that is ready",
    "outbox: unknown to sending": "the same for one that is tried again",
    "outbox: held to sending": "the same",
    "outbox: sending to sent": "a lost note has the reply looked for",
    "outbox: sending to dead": "a lost note has the reply refused once more",
    "outbox: sending to held": "a lost note has the reply sent at once",
    "outbox: sending to unknown": "the same",
    "pauses: insert": "a lost pause is refused once more",
    "pauses: update": "the same",
    "pauses: delete": "a lost end is one trial request more",
    "processes: insert": "a lease counts for seconds only",
    "processes: update": "the same",
    "processes: delete": "the same",
    "facts: insert": "the clock, which is set again at a start, and the lease of a purge, which runs out by itself",
    "facts: update": "the same",
    "facts: delete": "the same",
    "conversations: insert": "durable with the message that it announces",
    "conversations: update": "leases, and flags that are durable with what they announce",
}
"""The changes that may be lost in a power cut, each with the reason."""


def find_misplaced(commits: list[Commit]) -> list[Commit]:
    """The commits that are relaxed and must not be, or durable without need."""
    return [commit for commit in commits if commit.durable != any(change in DURABLE for change in commit.changes)]


@pytest.fixture
def recorder(harness: Harness) -> Iterator[CommitRecorder]:
    with record_commits(harness.url) as made:
        yield made


def make_handlers(bot: Bot) -> None:
    @bot.message("hi")
    def greet(ctx: Context) -> str:
        ctx.reply("one")
        ctx.state["count"] = ctx.state.get("count", 0) + 1
        return "two"

    @bot.message("forget")
    def forget(ctx: Context) -> None:
        del ctx.state["count"]

    @bot.message("quiet")
    def quiet(ctx: Context) -> None:
        pass

    @bot.message("word")
    def word(ctx: Context) -> str:
        return "a word"

    @bot.message("fail")
    def fail(ctx: Context) -> None:
        raise ValueError("no")

    @bot.message("again", retries=1)
    def again(ctx: Context) -> str:
        if not bot.state_of_test.pop():  # type: ignore[attr-defined]
            raise ValueError("not yet")
        return "at last"


def wait_until_idle(delivery: Delivery) -> None:
    wait_until(lambda: delivery.is_idle)


def run_all_states(harness: Harness, delivery: Delivery) -> None:
    """Take messages through every state that delivery knows of."""
    for text in ("hi", "hi", "forget", "quiet", "word", "fail", "again"):
        harness.enqueue(delivery, text)
        wait_until_idle(delivery)
    for refusal in range(2):
        harness.channel.faults.append(Rejected("no", code="ERR", status=400))
        delivery.send(harness.bot, Text(f"to {refusal}"), user="maria")
        wait_until_idle(delivery)
    harness.enqueue(delivery, "fail", user="john")
    wait_until_idle(delivery)
    letters = delivery.dead_letters.list()
    replies, messages = [x for x in letters if x.is_reply], [x for x in letters if not x.is_reply]
    assert len(replies) == len(messages) == 2
    for group in (replies, messages):
        assert delivery.retry(group[0].id)
        wait_until_idle(delivery)
        assert delivery.dead_letters.discard(group[1].id)
    delivery.replay("m4")
    wait_until_idle(delivery)


def test_commits_are_durable_exactly_where_promised(harness: Harness, recorder: CommitRecorder) -> None:
    make_handlers(harness.bot)
    harness.bot.state_of_test = [True, False]  # type: ignore[attr-defined]
    delivery = harness.start_process()
    run_all_states(harness, delivery)
    delivery.stop(60)

    assert find_misplaced(list(recorder.commits)) == []
    seen = {change for commit in recorder.commits for change in commit.changes}
    assert seen - DURABLE.keys() - RELAXED.keys() == set(), "a change that the tables above do not know"
    assert DURABLE.keys() - seen == set(), "a change that no message went through"


def test_a_message_costs_two_durable_commits(harness: Harness, recorder: CommitRecorder) -> None:
    make_handlers(harness.bot)
    delivery = harness.start_process()
    harness.enqueue(delivery, "word")
    wait_until_idle(delivery)
    delivery.stop(60)
    assert sum(commit.durable for commit in recorder.commits) == 2


def test_a_handlers_end_is_one_commit(harness: Harness, recorder: CommitRecorder) -> None:
    make_handlers(harness.bot)
    delivery = harness.start_process()
    harness.enqueue(delivery, "hi")
    wait_until_idle(delivery)
    (end,) = recorder.with_change("mailbox: running to done")
    assert {"outbox: sending", "state: insert"} <= set(end.changes)


def test_replies_are_durable_before_they_are_sent(
    harness: Harness, recorder: CommitRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_handlers(harness.bot)
    missing: list[Commit] = []
    send = harness.channel.send

    def look_and_send(sending: OutgoingRequest, *, timeout: float) -> str:
        missing.extend(commit for commit in recorder.with_change("outbox: sending") if not commit.durable)
        return send(sending, timeout=timeout)

    monkeypatch.setattr(harness.channel, "send", look_and_send)
    delivery = harness.start_process()
    harness.enqueue(delivery, "hi")
    wait_until_idle(delivery)
    assert harness.channel.texts() == ["one", "two"]
    assert missing == []


def test_enqueue_returns_after_the_shared_sync(harness: Harness, recorder: CommitRecorder) -> None:
    """No caller of a shared commit goes on before the log is on the disk."""
    delivery = harness.start_process(start=False)
    early: list[int] = []
    returned: list[str] = []
    if isinstance(recorder, SQLiteCommitRecorder):
        # A caller that returned too early has this long to show it.
        recorder.before_sync = lambda: early.append(_stored_and_not_synced(recorder, returned))  # type: ignore[method-assign]
    incoming = [harness.channel.incoming(harness.bot, "hi", user=f"user{nth}") for nth in range(24)]

    def enqueue(part: int) -> None:
        for nth in range(part, len(incoming), 6):
            delivery.enqueue(incoming[nth])
            returned.append(incoming[nth].key)

    threads = [threading.Thread(target=enqueue, args=(part,)) for part in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(returned) == len(incoming)
    assert find_misplaced(list(recorder.commits)) == []
    assert not any(early)


def _stored_and_not_synced(recorder: SQLiteCommitRecorder, returned: list[str]) -> int:
    """How many callers have returned beyond the messages whose commits are on the disk."""
    threading.Event().wait(0.02)
    durable = sum(commit.changes.count("mailbox: waiting") for commit in recorder.commits if commit.durable)
    return max(0, len(returned) - durable)


def test_bot_send_is_durable_on_return(harness: Harness, recorder: CommitRecorder) -> None:
    delivery = harness.start_process(start=False)
    delivery.send(harness.bot, Text("out"), user="maria")
    (commit,) = recorder.commits
    assert commit.durable
    assert {"outbox: ready", "conversations: insert"} <= set(commit.changes)


def test_a_message_past_its_deadline_is_a_durable_dead_letter(harness: Harness, recorder: CommitRecorder) -> None:
    gate = threading.Event()

    @harness.bot.message("slow", timeout=0.1)
    def slow(ctx: Context) -> None:
        gate.wait(60)

    delivery = harness.start_process()
    harness.enqueue(delivery, "slow")
    wait_until_idle(delivery)
    gate.set()
    delivery.stop(60)
    assert [commit.durable for commit in recorder.with_change("mailbox: running to dead")] == [True]


def test_a_failed_fetch_is_durable(harness: Harness, recorder: CommitRecorder, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(incoming: object) -> None:
        raise Unreachable("away")

    monkeypatch.setattr(harness.channel, "parse", fail)
    delivery = harness.start_process()
    harness.enqueue(delivery, "hello")
    wait_until(lambda: recorder.with_change("mailbox: running to waiting"))
    delivery.stop(60)
    assert recorder.with_change("mailbox: running to waiting")[0].durable
