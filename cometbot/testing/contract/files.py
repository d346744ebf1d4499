"""Tests for files that a bot has, and for reading the files of users."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from cometbot.bot import Bot
from cometbot.context import Context
from cometbot.errors import BotError, MessageError, Rejected
from cometbot.messages import Capabilities, Media, Text
from cometbot.models import Attachment
from cometbot.testing.client import BotClient
from cometbot.testing.contract.base import ContractBase, reply_with

_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c63f8cfc0f01f00050001ff56c7"
    "2f0d0000000049454e44ae426082"
)
"""A whole picture of one pixel."""


_DIGITS = bytes(range(256)) * 300


class FileContract(ContractBase):
    """Tests that users get what the bot has, byte by byte."""

    def test_a_picture_from_bytes_arrives_as_it_is(self, bot: Bot, client: BotClient) -> None:
        reply_with(bot, Media(data=_PNG, name="chart.png", caption="Sales"))

        (said,) = client.send("chart")

        assert "Sales" in said.text
        assert client.download(said) == _PNG

    def test_a_file_from_a_path_arrives_as_it_is(self, bot: Bot, client: BotClient, tmp_path: Path) -> None:
        path = tmp_path / "Bericht März.pdf"
        path.write_bytes(b"%PDF-1.4\n" + os.urandom(700_000))

        @bot.fallback
        def answer(ctx: Context) -> None:
            ctx.reply(Media(path=path))

        (said,) = client.send("report")

        assert client.download(said) == path.read_bytes()

    def test_what_is_said_stays_when_the_file_changes(self, bot: Bot, client: BotClient, tmp_path: Path) -> None:
        path = tmp_path / "today.txt"
        reply_with(bot, lambda ctx: Media(path=path))

        path.write_bytes(b"rain")
        client.send("weather")
        first = client.said()[-1]
        path.write_bytes(b"sun")
        client.send("weather")
        second = client.said()[-1]

        assert (client.download(first), client.download(second)) == (b"rain", b"sun")

    def test_a_file_of_a_user_is_read_byte_by_byte(self, bot: Bot, client: BotClient) -> None:
        read: list[bytes] = []

        @bot.message()
        def answer(ctx: Context) -> str:
            read.append(ctx.attachments[0].read())
            return str(len(read[-1]))

        assert client.send_file(_DIGITS, name="digits.bin").texts == [str(len(_DIGITS))]
        assert read == [_DIGITS]

    def test_an_async_handler_reads_a_file_alike(self, bot: Bot, client: BotClient) -> None:
        @bot.message()
        async def answer(ctx: Context) -> str:
            return ctx.attachments[0].text().upper()

        assert client.send_file("grüße".encode(), name="words.txt").texts == ["GRÜSSE"]

    def test_a_file_over_the_limit_is_not_read(self, bot: Bot, client: BotClient) -> None:
        @bot.message()
        def answer(ctx: Context) -> str:
            with pytest.raises(Rejected) as raised:
                ctx.attachments[0].read(limit=len(_DIGITS) - 1)
            return raised.value.code

        assert client.send_file(_DIGITS, name="digits.bin").texts == ["file_too_large"]

    def test_a_file_that_answers_a_question_is_read(self, bot: Bot, client: BotClient) -> None:
        @bot.command("upload")
        def upload(ctx: Context) -> str:
            file = ctx.ask("The list, please.", type=Attachment)
            more = ctx.ask("What is it?")
            return f"{more}: {file.text()}"

        client.send("/upload")
        client.send_file(b"tea, milk", name="list.txt")
        assert client.send("shopping").texts == ["shopping: tea, milk"]

    def test_files_in_the_history_can_be_read(self, bot: Bot, client: BotClient, capabilities: Capabilities) -> None:
        if not capabilities.history or Media not in capabilities.native:
            pytest.skip("this platform has no history of files")

        @bot.fallback
        def answer(ctx: Context) -> str:
            files = [file for message in ctx.history() for file in message.attachments]
            return ", ".join(file.text() for file in files)

        client.send_file(b"one", name="one.txt")
        client.send_file(b"two", name="two.txt")
        assert client.send("which files?").texts == ["one, two"]

    def test_several_files_arrive_in_their_order(self, bot: Bot, client: BotClient) -> None:
        reply_with(bot, [Media(data=io.BytesIO(b"part %d\n" % number), name=f"{number}.txt") for number in range(5)])

        parts = client.send("parts")

        assert [client.download(said) for said in parts] == [b"part %d\n" % number for number in range(5)]

    def test_a_path_that_is_gone_is_an_error(self, bot: Bot, client: BotClient, tmp_path: Path) -> None:
        errors: list[str] = []

        @bot.fallback
        def answer(ctx: Context) -> str:
            for path in (tmp_path / "gone.pdf", tmp_path):
                with pytest.raises(MessageError) as raised:
                    ctx.reply(Media(path=path))
                errors.append(str(raised.value))
            return "sorry"

        assert client.send("report").texts == ["sorry"]
        assert ["gone.pdf: No such file" in errors[0], "which is none" in errors[1]] == [True, True]

    def test_a_deleted_message_takes_its_file_along(
        self, bot: Bot, client: BotClient, capabilities: Capabilities
    ) -> None:
        if not capabilities.delete:
            pytest.skip("this platform does not delete messages")

        @bot.fallback
        def answer(ctx: Context) -> None:
            sent = ctx.reply(Media(data=b"secret", name="secret.txt"))
            ctx.reply(Media(data=b"public", name="public.txt"))
            sent.delete()

        (said,) = client.send("files")

        assert client.download(said) == b"public"
        assert [listed.file.name for listed in client._harness.delivery.store.files.list()] == ["public.txt"]

    def test_a_message_without_a_file_has_nothing_to_download(self, bot: Bot, client: BotClient) -> None:
        reply_with(bot, Text("nothing here"))
        client.send("hello")

        with pytest.raises(BotError, match="has no file"):
            client.download()
