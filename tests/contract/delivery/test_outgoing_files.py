"""Messages with files in delivery: stored with their message, once, whatever happens to the handler."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cometbot.context import Context
from cometbot.delivery import Delivery
from cometbot.delivery.dry_run import dry_run
from cometbot.errors import StoreBusy, Unreachable
from cometbot.messages import Media, Message, Text
from cometbot.store.sent_files import Said, SentFiles
from cometbot.store.tables import sent_chunks, sent_contents, sent_files
from tests.contract.delivery.conftest import Harness


def count(delivery: Delivery, table: sa.Table) -> int:
    with delivery.database.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def read(delivery: Delivery, message: Message) -> bytes:
    assert isinstance(message, Media)
    found = delivery.store.files.open_url(message.url)
    assert found is not None
    with found[2] as content:
        return content.read()


def test_a_handler_that_runs_again_stores_its_file_once(harness: Harness) -> None:
    runs: list[int] = []

    @harness.bot.message(retries=1)
    def report(ctx: Context) -> Media:
        runs.append(1)
        ctx.reply(Media(data=b"run %d" % len(runs), name="report.txt"))
        if len(runs) == 1:
            raise RuntimeError("once")
        return Media(data=b"returned", name="more.txt")

    delivery = harness.start_process()
    harness.enqueue(delivery, "report")
    harness.channel.wait_for(lambda: len(harness.channel.said) == 2)

    first, second = harness.channel.said
    assert (read(delivery, first.message), read(delivery, second.message)) == (b"run 1", b"returned")
    assert len(runs) == 2
    assert count(delivery, sent_files) == 2


def test_a_reply_that_fails_is_sent_later_with_the_same_file(harness: Harness, tmp_path: Path) -> None:
    path = tmp_path / "once.bin"
    path.write_bytes(os.urandom(400_000))
    content = path.read_bytes()

    @harness.bot.fallback
    def answer(ctx: Context) -> None:
        ctx.reply(Media(path=path))
        path.unlink()

    harness.channel.faults += [Unreachable("lost"), None]
    delivery = harness.start_process()
    harness.enqueue(delivery, "file")
    harness.channel.wait_for(lambda: len(harness.channel.said) == 1)

    assert read(delivery, harness.channel.said[0].message) == content


def test_outgoing_middleware_sees_the_content_before_it_is_stored(harness: Harness) -> None:
    seen: list[Any] = []

    @harness.bot.outgoing
    def check(message: Message, outgoing: Any) -> Message | None:
        if isinstance(message, Media):
            seen.append((message.data, message.url, message.name))
            return None if message.name == "secret.txt" else message
        return message

    @harness.bot.fallback
    def answer(ctx: Context) -> list[Message]:
        ctx.reply(Media(data=b"secret", name="secret.txt"))
        return [Media(data=b"public", name="public.txt"), Text("done")]

    delivery = harness.start_process()
    harness.enqueue(delivery, "files")
    harness.channel.wait_for(lambda: len(harness.channel.said) == 2)

    assert seen == [(b"secret", "", "secret.txt"), (b"public", "", "public.txt")]
    assert count(delivery, sent_files) == 1
    assert read(delivery, harness.channel.said[0].message) == b"public"


def test_a_dry_run_stores_nothing(harness: Harness, tmp_path: Path) -> None:
    @harness.bot.fallback
    def answer(ctx: Context) -> list[Media]:
        ctx.reply(Media(path=tmp_path / "gone.pdf", caption="The report"))
        return [Media(data=b"returned")]

    delivery = harness.start_process(start=False)
    harness.enqueue(delivery, "files")
    found = dry_run(delivery, "m1")

    assert found.error is None
    assert [planned.text for planned in found.planned] == ["The report\n\ngone.pdf", ""]
    assert count(delivery, sent_files) == 0


def test_a_thousand_files_of_one_handler_arrive_in_order(harness: Harness) -> None:
    @harness.bot.fallback
    def answer(ctx: Context) -> list[Media]:
        return [Media(data=b"part %d" % (number % 10), name=f"{number}.txt") for number in range(1000)]

    delivery = harness.start_process()
    harness.enqueue(delivery, "all")
    harness.channel.wait_for(lambda: len(harness.channel.said) == 1000, 200)

    names = [said.message.name for said in harness.channel.said if isinstance(said.message, Media)]
    assert names == [f"{number}.txt" for number in range(1000)]
    assert (count(delivery, sent_files), count(delivery, sent_contents), count(delivery, sent_chunks)) == (1000, 10, 10)


@pytest.mark.parametrize("send", ["reply", "return"])
def test_a_file_that_cannot_be_stored_is_the_handlers_failure(harness: Harness, tmp_path: Path, send: str) -> None:
    @harness.bot.fallback
    def answer(ctx: Context) -> Media | None:
        media = Media(path=tmp_path / "gone.pdf")
        if send == "return":
            return media
        ctx.reply(media)
        return None

    delivery = harness.start_process()
    harness.enqueue(delivery, "report")
    harness.channel.wait_for(lambda: bool(harness.channel.said))

    assert harness.channel.texts() == [harness.bot.error_text]
    (letter,) = delivery.dead_letters.list()
    assert "gone.pdf: No such file" in str(letter.error)


def test_a_returned_file_waits_for_the_database(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [StoreBusy("away"), StoreBusy("away")]
    store = SentFiles.store

    def fail_first(files: SentFiles, media: Media, said: Said) -> Media:
        if failures:
            raise failures.pop()
        return store(files, media, said)

    monkeypatch.setattr(SentFiles, "store", fail_first)
    runs: list[int] = []

    @harness.bot.fallback
    def answer(ctx: Context) -> Media:
        runs.append(1)
        return Media(data=b"report", name="report.txt")

    delivery = harness.start_process()
    harness.enqueue(delivery, "report")
    harness.channel.wait_for(lambda: len(harness.channel.said) == 1)

    assert (failures, runs) == ([], [1])
    assert read(delivery, harness.channel.said[0].message) == b"report"
    assert delivery.dead_letters.list() == []
