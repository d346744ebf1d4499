"""The smallest bot: says what was said to it, files too."""

from __future__ import annotations

from cometbot import Bot, Context, Media, has_attachment

bot = Bot("echo")


@bot.message(has_attachment)
def files(ctx: Context) -> list[Media]:
    return [Media(file.url, name=file.name, mime_type=file.mime_type) for file in ctx.attachments]


@bot.message()
def echo(ctx: Context) -> str:
    return ctx.text
