"""The smallest bot: says what was said to it, files too, where they have an address."""

from __future__ import annotations

from cometbot import Bot, Context, Media, has_attachment

bot = Bot("echo")


@bot.message(has_attachment)
def files(ctx: Context) -> list[Media | str]:
    # On SimpleX a file is with its sender and has no address; the example broadcast.py shows how to send it anew.
    return [
        Media(file.url, name=file.name, mime_type=file.mime_type) if file.url.startswith("http") else file.name
        for file in ctx.attachments
    ]


@bot.message()
def echo(ctx: Context) -> str:
    return ctx.text
