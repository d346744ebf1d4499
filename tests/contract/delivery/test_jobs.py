"""Jobs run once at their time, over every database and with every engine."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import datetime, timezone
from typing import Any

import pytest
import sqlalchemy as sa

from cometbot import Bot, Context
from cometbot.delivery import Delivery
from cometbot.jobs import ScheduledJob
from cometbot.schedules import At, Every, make_cron
from cometbot.store.erasure import Erasure
from cometbot.store.tables import conversations, jobs, mailbox
from tests.contract.delivery.conftest import Harness, wait_until


class Clock:
    """A wall clock that tests set, in place of that of all deliveries."""

    def __init__(self, *deliveries: Delivery, now: float) -> None:
        self.now = now
        for delivery in deliveries:
            delivery.database.wall_clock = lambda connection: self.now  # type: ignore[method-assign]


def count_jobs(delivery: Delivery) -> int:
    with delivery.database.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(jobs)).scalar_one())


def due_times(delivery: Delivery) -> dict[str, float]:
    return {job.name: job.due_at for job in delivery.jobs.list()}


def job_keys(delivery: Delivery) -> list[str]:
    """Return the event keys of the jobs that have begun, in their order."""
    query = sa.select(mailbox.c.event_key).where(mailbox.c.channel == "jobs").order_by(mailbox.c.seq)
    with delivery.database.read() as connection:
        return list(connection.execute(query).scalars())


def add_nothing(bot: Bot) -> Any:
    @bot.job
    def tick(ctx: Context) -> None: ...

    return tick


def test_interval_runs_in_all_processes_together_once(harness: Harness) -> None:
    runs = Counter[float]()

    @harness.bot.job
    def tick(ctx: Context) -> None:
        runs[ctx.event.due_at] += 1  # type: ignore[attr-defined]
        ctx.send("tick", to=ctx.conversation_with(user="maria"))

    harness.bot.every("1s", tick)
    first, second = harness.start_process(), harness.start_process()
    harness.channel.wait_for(lambda: len(harness.channel.said) >= 3)
    assert set(runs.values()) == {1}
    assert all(due % 1 == 0 for due in runs)
    assert count_jobs(first) == count_jobs(second) == 1
    assert {said.conversation.target for said in harness.channel.said} == {"maria"}


def test_later_runs_a_job_with_its_arguments(harness: Harness) -> None:
    @harness.bot.job
    def ring(ctx: Context, what: str) -> None:
        ctx.send(f"Time for {what}, {ctx.sender.name}!")

    @harness.bot.command("remind")
    def remind(ctx: Context, *, what: str) -> str:
        job = ctx.later(0.1, ring, what=what)
        return f"{job.job.rpartition('.')[2]} {job.arguments}"

    delivery = harness.start_process()
    harness.enqueue(delivery, "/remind tea")
    harness.channel.wait_for(lambda: len(harness.channel.said) == 2)
    assert harness.channel.texts() == ["ring {'what': 'tea'}", "Time for tea, Maria!"]
    wait_until(lambda: delivery.is_idle)
    assert count_jobs(delivery) == 0


def test_message_is_sent_at_its_time(harness: Harness) -> None:
    @harness.bot.command("tea")
    def tea(ctx: Context) -> str:
        ctx.send("Your tea is ready.", at=0.1)
        return "Wait."

    delivery = harness.start_process()
    harness.enqueue(delivery, "/tea")
    harness.channel.wait_for(lambda: len(harness.channel.said) == 2)
    assert harness.channel.texts() == ["Wait.", "Your tea is ready."]
    wait_until(lambda: delivery.is_idle)
    assert count_jobs(delivery) == 0


def test_retried_handler_schedules_once(harness: Harness) -> None:
    runs, rings = [], []

    @harness.bot.job
    def ring(ctx: Context) -> None:
        rings.append(ctx.event.key)

    @harness.bot.command("remind", retries=1)
    def remind(ctx: Context) -> str:
        ctx.later(0.05, ring)
        runs.append(1)
        if len(runs) == 1:
            wait_until(lambda: rings)
            raise RuntimeError
        return "Done."

    delivery = harness.start_process()
    harness.enqueue(delivery, "/remind")
    harness.channel.wait_for(lambda: "Done." in harness.channel.texts())
    wait_until(lambda: delivery.is_idle)
    delivery.store.fire_jobs()
    assert (len(runs), len(rings), count_jobs(delivery)) == (2, 1, 0)


def test_job_is_run_again_after_a_failure(harness: Harness) -> None:
    runs = []

    @harness.bot.job(retries=1)
    def ring(ctx: Context) -> None:
        runs.append(1)
        ctx.send("ring", to=ctx.conversation_with(user="maria"))
        if len(runs) == 1:
            raise RuntimeError

    delivery = harness.start_process()
    harness.bot.connect(delivery)
    harness.bot.at(datetime(2020, 1, 1, tzinfo=timezone.utc), ring)
    wait_until(lambda: len(runs) == 2)
    wait_until(lambda: delivery.is_idle)
    assert harness.channel.texts() == ["ring"]


def test_job_that_fails_is_a_dead_letter_without_an_apology(harness: Harness) -> None:
    @harness.bot.job
    def ring(ctx: Context) -> str:
        return "nobody gets this"

    delivery = harness.start_process()
    harness.bot.connect(delivery)
    harness.bot.at(datetime(2020, 1, 1, tzinfo=timezone.utc), ring, name="new year")
    wait_until(lambda: delivery.dead_letters.list())
    [letter] = delivery.dead_letters.list()
    assert "the job new year answers no message" in letter.error
    assert "ctx.send(…, to=…)" in letter.error
    assert harness.channel.said == []
    assert delivery.retry(letter.id)


def test_overdue_job_is_a_dead_letter(harness: Harness) -> None:
    go_on = threading.Event()

    @harness.bot.job(timeout=0.2)
    def ring(ctx: Context) -> None:
        go_on.wait(20)

    delivery = harness.start_process()
    harness.bot.connect(delivery)
    harness.bot.at(datetime(2020, 1, 1, tzinfo=timezone.utc), ring)
    wait_until(lambda: delivery.dead_letters.list())
    go_on.set()
    assert harness.channel.said == []


def test_job_without_its_function_waits_and_is_a_dead_letter_then(harness: Harness) -> None:
    tick = add_nothing(harness.bot)
    delivery = harness.start_process(start=False)
    delivery.database.open()
    harness.bot.connect(delivery)
    harness.bot.at(datetime(2020, 1, 1, tzinfo=timezone.utc), tick)
    harness.bot = Bot("helpdesk")
    other = harness.start_process()
    wait_until(lambda: any(row["error"] for row in mailbox_rows(other)))
    [row] = mailbox_rows(other)
    assert "there is no job" in row["error"]
    assert row["state"] == "waiting"
    with other.database.write() as connection:
        connection.execute(sa.update(mailbox).values(failures=20, due_at=None))
        connection.execute(sa.update(conversations).values(due_at=None))
        other.store.leases.mark_pending_by_key(connection, row["conversation_key"])
    wait_until(lambda: other.dead_letters.list())


def mailbox_rows(delivery: Delivery) -> list[sa.RowMapping]:
    with delivery.database.read() as connection:
        return list(connection.execute(sa.select(mailbox)).mappings())


def test_first_sight_of_a_schedule_runs_at_its_next_time(harness: Harness) -> None:
    delivery = harness.start_process(start=False)
    delivery.database.open()
    Clock(delivery, now=1_000_000_001.5)
    sync(delivery, ScheduledJob("a", "m.a", Every(10)))
    assert due_times(delivery) == {"a": 1_000_000_010.0}
    assert delivery.store.fire_jobs() == []


def sync(delivery: Delivery, *scheduled: ScheduledJob, bot: str = "helpdesk") -> None:
    with delivery.database.write() as connection:
        delivery.store.jobs.sync(connection, bot, scheduled)


def test_changed_schedule_forgets_its_old_time(harness: Harness) -> None:
    delivery = harness.start_process(start=False)
    delivery.database.open()
    clock = Clock(delivery, now=1_000_000_001.0)
    sync(delivery, ScheduledJob("a", "m.a", Every(10)), ScheduledJob("b", "m.b", Every(10)))
    clock.now += 100
    sync(delivery, ScheduledJob("a", "m.a", Every(3600)), ScheduledJob("b", "m.other", Every(10)))
    assert due_times(delivery) == {"b": 1_000_000_010.0, "a": 1_000_000_800.0}
    assert [job.job for job in delivery.jobs.list()] == ["m.other", "m.a"]
    sync(delivery, bot="other")
    assert count_jobs(delivery) == 2
    sync(delivery)
    assert count_jobs(delivery) == 0


def test_missed_times_run_once_or_are_skipped(harness: Harness) -> None:
    delivery = harness.start_process(start=False)
    delivery.database.open()
    clock = Clock(delivery, now=1_000_000_001.0)
    sync(
        delivery,
        ScheduledJob("once", "m.a", Every(100)),
        ScheduledJob("skip", "m.a", Every(100), "skip"),
    )
    clock.now += 1000
    assert [begun.conversation_key for begun in delivery.store.fire_jobs()] == ["jobs/cometbot/helpdesk/once"]
    assert job_keys(delivery) == ["cometbot:job:once:1000000100"]
    assert due_times(delivery) == {"once": 1_000_001_100.0, "skip": 1_000_001_100.0}
    clock.now = 1_000_001_101.0
    delivery.store.fire_jobs()
    # The first one of "once" still waits.
    assert job_keys(delivery) == ["cometbot:job:once:1000000100", "cometbot:job:skip:1000001100"]


def test_clock_that_jumps_repeats_nothing(harness: Harness) -> None:
    delivery = harness.start_process(start=False)
    delivery.database.open()
    clock = Clock(delivery, now=1_000_000_001.0)
    scheduled = ScheduledJob("a", "m.a", Every(600))
    sync(delivery, scheduled)
    begun = []
    for jump in (600, 3600, -3600, 600, -1200, 600, 600, 600, 1800, 1800):
        clock.now += jump
        sync(delivery, scheduled)  # as a process that starts
        begun += delivery.store.fire_jobs()
        with delivery.database.write() as connection:
            connection.execute(sa.update(mailbox).values(state="done", ended_at=0.0))
    keys = job_keys(delivery)
    assert len(keys) == len(set(keys))
    assert keys[0] == "cometbot:job:a:1000000200"


MINUTE, HOUR = 60.0, 3600.0


def to_utc(*parts: int) -> float:
    return datetime(*parts, tzinfo=timezone.utc).timestamp()  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("midnight", "runs_at"),
    [(to_utc(2026, 3, 29), 1 * HOUR), (to_utc(2026, 10, 25), 0.5 * HOUR)],
    ids=["spring", "autumn"],
)
def test_days_when_clocks_change_run_each_occurrence_once(harness: Harness, midnight: float, runs_at: float) -> None:
    deliveries = [harness.start_process(start=False) for _ in range(2)]
    deliveries[0].database.open()
    deliveries[1].database.open()
    clock = Clock(*deliveries, now=midnight - 5 * MINUTE)
    scheduled = [
        ScheduledJob("night", "m.a", make_cron("30 2 * * *", "Europe/Berlin")),
        ScheduledJob("often", "m.a", make_cron("*/20 * * * *", "Europe/Berlin")),
    ]
    sync(deliveries[0], *scheduled)
    for step in range(34):
        jump = {5: HOUR, 6: -HOUR, 11: -HOUR, 12: HOUR, 20: HOUR, 21: -HOUR}.get(step, 0.0)
        clock.now += 10 * MINUTE + jump
        delivery = deliveries[step % 2]
        sync(delivery, *scheduled)  # as a process that starts
        delivery.store.fire_jobs()
        with delivery.database.write() as connection:
            connection.execute(sa.update(mailbox).values(state="done", ended_at=0.0))
    keys = [key.removeprefix("cometbot:job:").split(":") for key in job_keys(deliveries[0])]
    assert len({tuple(key) for key in keys}) == len(keys)
    assert [float(at) - midnight for name, at in keys if name == "night"] == [runs_at]
    often = sorted((float(at) - midnight) / MINUTE for name, at in keys if name == "often")
    assert often == [20.0 * number for number in range(len(often))]
    assert len(often) == 17


def test_clock_years_ahead_for_a_moment_stops_no_job(harness: Harness) -> None:
    delivery = harness.start_process(start=False)
    delivery.database.open()
    clock = Clock(delivery, now=1_000_000_001.0)
    scheduled = ScheduledJob("a", "m.a", Every(600))
    sync(delivery, scheduled)
    clock.now += 50 * 365 * 86400
    delivery.store.fire_jobs()
    clock.now = 1_000_000_301.0
    delivery.store.fire_jobs()
    assert due_times(delivery) == {"a": 1_000_000_800.0}


def test_duration_does_not_follow_the_wall_clock(harness: Harness) -> None:
    @harness.bot.command("tea")
    def tea(ctx: Context) -> str:
        ctx.send("ready", at="1h")
        ctx.send("new year", at=datetime(2027, 1, 1, tzinfo=timezone.utc))
        return "Wait."

    delivery = harness.start_process()
    harness.enqueue(delivery, "/tea")
    harness.channel.wait_for(lambda: harness.channel.texts() == ["Wait."])
    Clock(delivery, now=datetime(2028, 1, 1, tzinfo=timezone.utc).timestamp())
    harness.channel.wait_for(lambda: len(harness.channel.said) == 2)
    assert harness.channel.texts() == ["Wait.", "new year"]
    assert [job.text for job in delivery.jobs.list()] == ["ready"]


def test_thousands_that_are_due_at_once_begin_once_each(harness: Harness) -> None:
    first = harness.start_process(start=False)
    second = harness.start_process(start=False)
    first.database.open()
    second.database.open()
    Clock(first, second, now=1_000_000_001.0)
    count = 1200
    sync(first, *(ScheduledJob(f"job {number}", "m.a", At(1_000_000_002.0)) for number in range(count)))
    Clock(first, second, now=1_000_000_003.0)
    begun: list[list[str]] = []

    def fire(delivery: Delivery) -> None:
        begun.append([each.conversation_key for each in delivery.store.fire_jobs()])

    threads = [threading.Thread(target=fire, args=(delivery,)) for delivery in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(Counter(key for keys in begun for key in keys).values()) == [1] * count
    assert len(set(job_keys(first))) == count
    assert count_jobs(first) == 0


def test_processes_that_start_together_store_a_schedule_once(harness: Harness) -> None:
    tick = add_nothing(harness.bot)
    for number in range(20):
        harness.bot.every("1h", tick, name=f"job {number}")
    deliveries = [harness.start_process(start=False) for _ in range(4)]
    deliveries[0].database.open()
    threads = [threading.Thread(target=delivery.start) for delivery in deliveries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(delivery.is_running for delivery in deliveries)
    assert count_jobs(deliveries[0]) == 20


def test_operator_runs_and_cancels_jobs(harness: Harness) -> None:
    runs = []

    @harness.bot.job
    def tick(ctx: Context, what: str = "") -> None:
        runs.append(what)

    @harness.bot.command("remind")
    def remind(ctx: Context) -> None:
        ctx.later("1h", tick, what="tea")
        ctx.later("2h", tick, what="coffee", name="second")
        ctx.send("hello", at="3h")

    harness.bot.every("1h", tick)
    delivery = harness.start_process()
    harness.enqueue(delivery, "/remind")
    wait_until(lambda: count_jobs(delivery) == 4)
    by_name = {job.name if not job.name.startswith("#") else job.text or "tea": job.id for job in delivery.jobs.list()}
    delivery.run_job(by_name["tick"])
    wait_until(lambda: runs == [""])
    delivery.run_job(by_name["tick"])
    delivery.run_job(by_name["tea"])
    wait_until(lambda: sorted(runs) == ["", "", "tea"])
    delivery.run_job(by_name["hello"])
    harness.channel.wait_for(lambda: harness.channel.texts() == ["hello"])
    delivery.jobs.cancel(by_name["second"])
    assert [job.name for job in delivery.jobs.list()] == ["tick"]
    with pytest.raises(Exception, match="scheduled by the code of helpdesk"):
        delivery.jobs.cancel(by_name["tick"])
    with pytest.raises(Exception, match="there is no job"):
        delivery.run_job(by_name["second"])


def test_erasing_a_conversation_erases_what_was_scheduled_there(harness: Harness) -> None:
    @harness.bot.job
    def ring(ctx: Context, what: str) -> None: ...

    @harness.bot.command("remind")
    def remind(ctx: Context, *, what: str) -> None:
        ctx.later("1h", ring, what=what)
        ctx.send(what, at="1h")
        ctx.send(what, to=ctx.conversation_with(user="maria"), at="1h")

    delivery = harness.start_process()
    for user in ("maria", "tom"):
        harness.enqueue(delivery, "/remind secret", user=user)
    wait_until(lambda: count_jobs(delivery) == 6)
    wait_until(lambda: delivery.is_idle)
    by_user = [job for job in delivery.jobs.list() if job.job]
    tom = next(job for job in by_user if "tom" in job.scheduled_in)
    with delivery.database.write() as connection:
        row = delivery.store.jobs.get(connection, int(tom.id[1:]))
        assert row is not None
        delivery.store.jobs.run_now(connection, row)  # it waits in the mailbox
        Erasure(delivery.database).erase(connection, [tom.scheduled_in])
    maria = next(job for job in by_user if job is not tom)
    assert {job.scheduled_in for job in delivery.jobs.list()} == {maria.scheduled_in}
    assert all(not bytes(row["body"]) for row in mailbox_rows(delivery) if row["channel"] == "jobs")
    with delivery.database.write() as connection:
        Erasure(delivery.database).erase_and_delete(connection, [maria.scheduled_in])
    assert count_jobs(delivery) == 0
