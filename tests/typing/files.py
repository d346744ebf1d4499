"""What mypy must accept of files: contents of all kinds, and attachments that are read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image

from cometbot import Attachment, Bot, Context, Media

bot = Bot("files")


class Figure:
    """A figure with the signature of matplotlib's."""

    def savefig(self, fname: str | Path | io.IOBase, *, transparent: bool | None = None, **kwargs: Any) -> None:
        """Draw nothing."""


@bot.command("chart")
def chart(ctx: Context) -> list[Media]:
    return [
        Media(data=b"bytes", name="a.bin"),
        Media(data=bytearray(b"bytes")),
        Media(data=io.BytesIO(b"bytes")),
        Media(data=Image.new("RGB", (1, 1)), caption="A picture"),
        Media(data=Figure()),
        Media(path="report.pdf"),
        Media(path=Path("report.pdf"), kind="file"),
        Media("https://example.com/a.png"),
    ]


@bot.command("read")
def read(ctx: Context) -> str:
    file = ctx.ask("A file, please.", type=Attachment)
    content: bytes = file.read(limit=1000)
    return file.text(encoding="latin-1") + str(len(content))
